"""The commands as people and scripts call them: what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from conduitfw.cli.main import main
from tests.pipeline.modbus_units import forbidden, read
from tests.policy.text import GOOD


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    return str(path)


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_check_is_good(policy: str) -> None:
    result = run("check", policy)
    assert (result.exit_code, result.stdout) == (0, "good: 2 zones, 1 conduit, 2 rules; 0 errors, 0 warnings\n")
    found = json.loads(run("check", policy, "--json").stdout)
    assert (found["ok"], found["policy"]["rules"], found["problems"]) == (True, 2, [])


def test_queue_numbers_end_somewhere(policy: str) -> None:
    result = run("run", policy, "--queue-base", "65530", "--workers", "4")
    assert (result.exit_code, "more than 65535" in result.output) == (2, True)
    assert "queue num 65535 bypass" in run("nft", policy, "--queue-base", "65528", "--workers", "4").stdout


def test_check_refuses_with_every_place(policy: str) -> None:
    Path(policy).write_text(GOOD.replace("functions: read}", "functions: reed}"))
    result = run("check", policy)
    assert result.exit_code == 1
    assert result.stderr.count(f"{policy}:") == 2
    assert "refused: 2 errors" in result.stdout
    found = json.loads(run("check", policy, "--json").stdout)
    assert [(each["line"], each["severity"]) for each in found["problems"]] == [(29, "error"), (30, "error")]


EXPLAIN = [
    (["--from", "hmi-1", "--to", "plc-b", "--modbus", "3"], 0, "by 'reads' of line"),
    (["--from", "10.10.0.11", "--to", "10.20.0.5", "--modbus", "read_coils", "--unit", "1"], 0, "by 'reads'"),
    (["--from", "hmi-1", "--to", "plc-b", "--modbus", "diagnostics"], 1, "No rule of the conduit"),
    (["--from", "hmi-1", "--to", "plc-b", "--modbus", "3", "--unit", "9"], 1, "No rule allows this unit"),
    (["--from", "hmi-1", "--to", "rtu-7", "--dnp3", "read", "--master", "1", "--outstation", "10"], 0, "by 'poll'"),
    (["--from", "hmi-1", "--to", "rtu-7", "--dnp3", "cold_restart"], 1, "deny"),
    (["--from", "ews-a", "--to", "plc-b", "--tcp", "80"], 1, "deny"),
    (["--from", "10.99.0.1", "--to", "plc-b", "--modbus", "3"], 1, "No conduit names"),
    (["--from", "hmi-2", "--to", "plc-b", "--modbus", "3"], 2, "did you mean hmi-1?"),
    (["--from", "hmi-1", "--to", "plc-b", "--modbus", "reed_coils"], 2, "did you mean read_coils (1)?"),
    (["--from", "hmi-1", "--to", "plc-b"], 2, "asks one thing"),
    (["--from", "hmi-1", "--to", "plc-b", "--modbus", "3", "--tcp", "80"], 2, "asks one thing"),
    (["--from", "hmi-1", "--to", "plc-b", "--modbus", "3", "--master", "1"], 2, "`master` means nothing"),
]


@pytest.mark.parametrize(("words", "code", "said"), EXPLAIN)
def test_explain(policy: str, words: list[str], code: int, said: str) -> None:
    result = run("explain", policy, *words)
    assert result.exit_code == code
    assert said in result.output
    if code < 2:
        found = json.loads(run("explain", policy, *words, "--json").stdout)
        assert found["verdict"] == ("allow" if code == 0 else "deny")


def test_commands_refuse_a_bad_policy(policy: str, tmp_path: Path) -> None:
    Path(policy).write_text("zones: 3\n")
    for words in (["nft", policy], ["explain", policy, "--from", "a", "--to", "b", "--icmp"]):
        result = run(*words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"{policy}:1:8: error: `zones` is a mapping" in result.stderr


def test_nft_prints_the_ruleset(policy: str) -> None:
    result = run("nft", policy)
    assert result.exit_code == 0
    assert "10.20.0.5 . 10.10.0.11 . tcp . 502 : goto inspect_closed" in result.stdout
    assert "queue num 6200" in result.stdout
    assert json.loads(run("nft", policy, "--json").stdout)["ruleset"] == result.stdout
    assert "table inet conduitfw" in run("nft", policy, "--router").stdout


def test_schema_is_one(policy: str) -> None:
    schema = json.loads(run("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "read_holding_registers" in json.dumps(schema)


@pytest.mark.parametrize("words", [["check"], ["check", "--wrong"], ["unknown"], ["replay", "--any"], ["explain"]])
def test_wrong_usage(words: list[str]) -> None:
    assert run(*words).exit_code == 2


@pytest.mark.parametrize("command", ["status", "reload", "stop"])
def test_nothing_runs(tmp_path: Path, command: str) -> None:
    result = run(command, "--socket", str(tmp_path / "none.sock"))
    assert result.exit_code == 1
    assert "nothing runs" in result.stderr


class TestReplay:
    @pytest.fixture
    def capture(self, tmp_path: Path) -> str:
        def segment(payload: bytes, sequence: int) -> Ether:
            ends = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.10.0.11", dst="10.20.0.5")
            return ends / TCP(sport=40000, dport=502, flags="PA", seq=sequence, ack=1) / payload

        packets = [segment(read(), 1), segment(forbidden(), 1 + len(read()))]
        packets.append(Ether() / IP(src="10.99.0.1", dst="10.20.0.5") / TCP(dport=22, flags="S"))
        path = tmp_path / "some.pcap"
        wrpcap(str(path), packets)
        return str(path)

    def test_a_line_for_each_packet(self, policy: str, capture: str) -> None:
        result = run("replay", policy, capture, "--json")
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert result.exit_code == 1
        assert [(line["packet"], line["verdict"], line["rule"], line["reason"]) for line in lines[:-1]] == [
            (1, "accept", "reads", None),
            (2, "deny", None, "no-rule"),
            (3, "deny", None, "no-conduit"),
        ]
        assert lines[0]["units"] == [
            {
                "protocol": "modbus", "kind": "request", "function": 3, "name": "read_holding_registers", "unit": 1,
                "items": [{"table": "holding_registers", "address": 0, "quantity": 2, "writes": False}],
            }
        ]  # fmt: skip
        assert (lines[0]["src"], lines[0]["dst"], lines[0]["src_port"], lines[0]["dst_port"]) == (
            "10.10.0.11", "10.20.0.5", 40000, 502,
        )  # fmt: skip
        assert lines[-1]["summary"]["verdicts"] == {"accept": 1, "deny": 2}

    def test_any_lists_units_and_denies_nothing_well_formed(self, capture: str) -> None:
        result = run("replay", "--any", capture, "--json")
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert result.exit_code == 0
        assert [len(line["units"]) for line in lines[:-1]] == [1, 1, 0]
        assert lines[-1]["summary"]["functions"] == {"modbus": {"3": 1, "6": 1}}
        assert run("replay", "--any", capture, "--port", "modbus=5020").exit_code == 0

    def test_a_damaged_capture_says_where(self, policy: str, capture: str) -> None:
        data = Path(capture).read_bytes()
        Path(capture).write_bytes(data[:-5])
        result = run("replay", policy, capture, "--json")
        assert result.exit_code == 1
        assert "the file ends within a frame" in result.stderr
        assert len(result.stdout.splitlines()) == 3  # what came before the damage, and the summary

    def test_wrong_ports(self, capture: str) -> None:
        assert run("replay", "--any", capture, "--port", "modbus=x").exit_code == 2
