"""What became allowed and what became denied: in words, and against the compiled tables themselves."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conduitfw.policy.changes import Effect, Left, changes, difference
from conduitfw.policy.compile import TCP, compile_policy
from conduitfw.policy.load import load_policy
from conduitfw.policy.model import Policy, Rule
from conduitfw.policy.reach import Dimensions, reaches
from conduitfw.policy.regions import Dimension, Region, spans, subtract_all
from conduitfw.protocols import Item, Kind, Unit
from conduitfw.protocols.modbus.catalogue import HOLDING_REGISTERS
from tests.policy.text import GOOD, changed, load, told

EXAMPLES = sorted((Path(__file__).parents[2] / "policies").iterdir())
TAGS = """tags:
  LIC-1.setpoint: {asset: plc-b, table: holding_registers, address: 20, type: uint16, min: 0, max: %s, max_step: 5}
"""


def policy(tmp_path: Path, text: str) -> Policy:
    loaded = load(tmp_path, text)
    assert loaded.policy is not None, told(loaded)
    return loaded.policy


def rules(*lines: str) -> str:
    text = GOOD[: GOOD.index("      - {name: reads")] + "".join(f"      - {{{line}}}\n" for line in lines)
    return text if lines else text.replace("rules:\n", "rules: []\n")


def lines(tmp_path: Path, old: str, new: str) -> list[str]:
    return [str(each) for each in changes(policy(tmp_path, old), policy(tmp_path, new))]


READS = "name: reads, allow: modbus, clients: hmi-1, servers: plc-b, functions: read"
WRITES = "name: writes, allow: modbus, clients: hmi-1, servers: plc-b, functions: 6, registers: {holding_registers: %s}"
OPERATES = "name: opens, allow: dnp3, clients: hmi-1, servers: rtu-7, functions: [select, operate], objects: g12v1"
PAIRS = [
    (
        "one function more",
        [READS],
        [READS.replace("functions: read", "functions: [read, 6]")],
        ["allowed  line: hmi-1 -> plc-b: Modbus/TCP write_single_register (6), unit 1 (rule 'reads')"],
    ),
    (
        "fewer registers",
        [WRITES % "0-99"],
        [WRITES % "0-49"],
        [
            "denied   line: hmi-1 -> plc-b: Modbus/TCP write_single_register (6), unit 1, holding_registers 50-99 "
            "(rule 'writes')"
        ],
    ),
    (
        "another client",
        [READS],
        [READS.replace("hmi-1", "[hmi-1, ews-a]")],
        [
            "allowed  line: ews-a -> plc-b: Modbus/TCP read_coils (1), read_discrete_inputs (2), "
            "read_holding_registers (3), read_input_registers (4), read_file_record (20), read_fifo_queue (24), unit 1 "
            "(rule 'reads')"
        ],
    ),
    (
        "a limit of values and of their number",
        [f"{WRITES % '0-9'}, values: 0-100, at_most: 30/min"],
        [f"{WRITES % '0-9'}, values: 0-50, at_most: 30/min"],
        [
            "denied   line: hmi-1 -> plc-b: Modbus/TCP write_single_register (6), unit 1, holding_registers 0-9, "
            "values (uint16) 51-100, writes in 60 s 1-30 (rule 'writes')"
        ],
    ),
    (
        "what has to be selected first",
        [OPERATES],
        [f"{OPERATES}, select_before_operate: required"],
        [
            "denied   line: hmi-1 -> rtu-7: DNP3 operate (4), master 1, outstation 10, objects g12v1, "
            "without a SELECT just before (rule 'opens')"
        ],
    ),
    (
        "control codes",
        [f"{OPERATES}, controls: [close, trip]"],
        [f"{OPERATES}, controls: trip"],
        [
            "denied   line: hmi-1 -> rtu-7: DNP3 select (3), operate (4), master 1, outstation 10, objects g12v1, "
            "control codes close (rule 'opens')"
        ],
    ),
    (
        "sub-functions",
        ["name: ids, allow: modbus, clients: hmi-1, servers: plc-b, functions: 8, sub_functions: {8: 0}"],
        ["name: ids, allow: modbus, clients: hmi-1, servers: plc-b, functions: 8, sub_functions: {8: [0, 1]}"],
        [
            "allowed  line: hmi-1 -> plc-b: Modbus/TCP diagnostics (8), unit 1, sub-functions "
            "restart_communications_option (rule 'ids')"
        ],
    ),
    (
        "ports of the kernel's rules",
        ["name: web, allow: tcp, clients: scada, servers: plc-b, port: 80-90"],
        ["name: web, allow: tcp, clients: scada, servers: plc-b, port: 80"],
        ["denied   line: scada -> plc-b: tcp port 81-90 (rule 'web')"],
    ),
    ("a rule under another name", [READS], [READS.replace("name: reads", "name: polls")], []),
    (
        "a rule in two parts",
        [WRITES % "0-99"],
        [WRITES % "0-49", (WRITES % "50-99").replace("name: writes", "name: more")],
        [],
    ),
    ("a rule that another one covers", [READS, WRITES % "0-9", WRITES % "5-6"], [READS, WRITES % "0-9"], []),
]


@pytest.mark.parametrize(("old", "new", "expected"), [pair[1:] for pair in PAIRS], ids=[pair[0] for pair in PAIRS])
def test_in_words(tmp_path: Path, old: list[str], new: list[str], expected: list[str]) -> None:
    assert lines(tmp_path, rules(*old), rules(*new)) == expected
    # And back: what one way denies, the other allows.
    turned = {"denied ": "allowed", "allowed": "denied "}
    assert lines(tmp_path, rules(*new), rules(*old)) == [turned[line[:7]] + line[7:] for line in expected]


def test_a_conduit_that_is_only_monitored_allows_everything(tmp_path: Path) -> None:
    monitored = changed("    to: cell\n", "    to: cell\n    mode: monitor\n")
    everything = "line: everything between scada and cell that no rule names"
    assert lines(tmp_path, GOOD, monitored) == [f"allowed  {everything} (mode enforce -> monitor)"]
    assert lines(tmp_path, monitored, GOOD) == [f"denied   {everything} (mode monitor -> enforce)"]


def test_how_it_is_done_is_told_apart_from_what_is_allowed(tmp_path: Path) -> None:
    new = changed("    to: cell\n", "    to: cell\n    fail: static\n").replace(
        "[right0]", "[right1]\n    vlans: 10-11"
    )
    assert lines(tmp_path, GOOD, new) == [
        "changed  line: fail closed -> static",
        "changed  line: midstream reset -> resync",
        "changed  zone cell: interfaces right0 -> right1",
        "changed  zone cell: VLANs untagged -> 10, 11",
    ]


def test_a_tags_limits_hold_for_every_rule(tmp_path: Path) -> None:
    old, new = GOOD + TAGS % 80, GOOD + TAGS % 90
    said = "writes of LIC-1.setpoint above 80 up to 90, whatever rule allows the write"
    assert lines(tmp_path, old, new) == [f"allowed  {said}"]
    assert lines(tmp_path, new, old) == [f"denied   {said}"]
    assert [line[:7] for line in lines(tmp_path, GOOD, old)] == ["denied "] * 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_differs_from_itself_in_nothing_and_from_nothing_in_all(tmp_path: Path, path: Path) -> None:
    found = load_policy([path]).policy
    assert found is not None
    assert changes(found, found) == []
    empty = policy(tmp_path, rules())
    told_of = {change.rule for change in changes(empty, found) if change.effect is Effect.ALLOWED and change.rule}
    assert told_of == {rule.name for rule in found.rules}


def test_beyond_the_budget_it_says_that_it_did_not_look(tmp_path: Path) -> None:
    old, new = policy(tmp_path, rules(WRITES % "0-9")), policy(tmp_path, rules(WRITES % "0-4"))
    (change,) = changes(old, new, budget=0)[:1]
    assert change.text.endswith("too many changes to say whether another rule allows it as well")


# --- against the compiled tables ----------------------------------------------------------------------------------

POOL = [
    "clients: hmi-1, servers: plc-b, functions: [3, 6, 16]",
    "clients: [hmi-1, ews-a], servers: plc-b, functions: 3, registers: {holding_registers: 0-4}",
    "clients: ews-a, servers: [plc-b, gateway], functions: [6, 16], registers: {holding_registers: [0-2, 5-7]}",
    "clients: hmi-1, servers: gateway, functions: [3, 6], units: 11-12",
    "clients: hmi-1, servers: gateway, functions: [3, 6], registers: {coils: 0-9}",
    "clients: 10.10.0.0/24, servers: plc-b, functions: 6, values: 0-5",
    "clients: ews-a, servers: 10.20.0.0/24, functions: [3, 16], quantity: 1-3",
    "clients: hmi-1, servers: plc-b, functions: 6, registers: {holding_registers: 3-6}, values: [0-2, 5-9]",
]
CLIENTS, SERVERS = ("10.10.0.11", "10.10.0.20", "10.10.0.99"), ("10.20.0.5", "10.20.0.6", "10.20.0.77")


class Write(Unit):
    """A Modbus request of one holding register."""

    __slots__ = ()

    def __init__(self, function: int, unit: int, register: int, value: int) -> None:
        super().__init__(Kind.REQUEST, function, (unit,), 12)
        writes = function != 3
        values = (float(value),) if writes else ()
        self._items = [Item(HOLDING_REGISTERS, register, register, writes=writes, values=values)]


Asked = tuple[str, str, int, int, int, int]
requests = st.tuples(
    st.sampled_from(CLIENTS), st.sampled_from(SERVERS), st.sampled_from([3, 6, 16]), st.sampled_from([1, 10, 11, 13]),
    st.integers(0, 9), st.integers(0, 10),
)  # fmt: skip


def holds(found: list[Left], asked: Asked) -> bool:
    """Whether any of these regions holds the request."""
    client, server, function, unit, register, value = asked
    for left in found:
        named = Dimensions(left.kind)
        assert named.protocol is not None
        numbers = {
            named.client: int(ip_address(client)),
            named.server: int(ip_address(server)),
            named.port: 502,
            named.addresses[0]: unit,
            named.function: function,
            named.points: HOLDING_REGISTERS * (named.protocol.last_point + 1) + register,
            named.quantity: 1,
            named.values("uint16"): value,
        }
        for region in left.regions:
            assert region.keys() <= numbers.keys(), "a dimension that this test does not know"
            if all(low_high_holds(region, dimension, number) for dimension, number in numbers.items()):
                return True
    return False


def low_high_holds(region: Region, dimension: Dimension, number: int) -> bool:
    return any(low <= number <= high for low, high in region.get(dimension, dimension.all))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(POOL), unique=True, max_size=4),
    st.lists(st.sampled_from(POOL), unique=True, max_size=4),
    st.lists(requests, min_size=1, max_size=40),
)
def test_what_is_told_is_what_the_tables_decide(
    tmp_path_factory: pytest.TempPathFactory, old: list[str], new: list[str], asked: list[Asked]
) -> None:
    """A request becomes allowed exactly where a region that became allowed holds it, and the other way round."""
    folder = tmp_path_factory.mktemp("policies")
    policies = [policy(folder, rules(*(f"allow: modbus, {line}" for line in pool))) for pool in (old, new)]
    before, after = (reaches(each.rules) for each in policies)
    opened, shut = difference(after, before), difference(before, after)
    for each in asked:
        client, server, function, unit, register, value = each
        answers = []
        for tables in (compile_policy(found) for found in policies):
            channel = tables.channel(TCP, ip_address(client).packed, ip_address(server).packed, 502)
            write = Write(function, unit, register, value)
            answers.append(channel is not None and isinstance(channel.decide(write, None, 0.0), Rule))
        assert holds(opened, each) == (answers[1] and not answers[0]), each
        assert holds(shut, each) == (answers[0] and not answers[1]), each


LINE = Dimension(0, "line", 0, 30)
PLANE = Dimension(1, "plane", 0, 30)
some = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda e: (min(e), max(e))), min_size=1, max_size=3
)
regions = st.fixed_dictionaries({}, optional={d: some.map(lambda r, d=d: spans(d, r)) for d in (LINE, PLANE)})


@given(regions, st.lists(regions, max_size=3))
def test_subtraction_leaves_exactly_the_rest(ours: Region, theirs: list[Region]) -> None:
    def inside(region: Region, x: int, y: int) -> bool:
        return low_high_holds(region, LINE, x) and low_high_holds(region, PLANE, y)

    left = subtract_all(ours, theirs)
    for x in range(0, 31, 2):
        for y in range(31):
            expected = inside(ours, x, y) and not any(inside(each, x, y) for each in theirs)
            assert sum(inside(part, x, y) for part in left) == expected
