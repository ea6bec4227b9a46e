"""The worked examples under policies/ hold what they say, in the engine, the kernel's rules and the schema."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from conduitfw.kernel.ruleset import Shape, render
from conduitfw.policy.load import load_policy
from conduitfw.policy.schema import json_schema
from tests.policy.text import GOOD

POLICIES = Path(__file__).parents[2] / "policies"
EXAMPLES = sorted(POLICIES.iterdir())
FILES = sorted(POLICIES.rglob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_is_good_and_tests_itself(example: Path) -> None:
    loaded = load_policy([example])
    assert [str(problem) for problem in loaded.problems] == []
    assert loaded.policy is not None
    assert "tests:" in "".join(path.read_text() for path in FILES if example in (path, path.parent))
    assert render(loaded.policy, Shape())


def test_the_sentence_of_the_mission_stands_in_an_example() -> None:
    assert "engineering workstation a may use function 16 on plc b" in (POLICIES / "two-zones.yaml").read_text().lower()


def test_a_failing_test_refuses_an_example(tmp_path: Path) -> None:
    text = (POLICIES / "two-zones.yaml").read_text()
    path = tmp_path / "policy.yaml"
    path.write_text(text.replace("functions: [read, write_multiple_registers]", "functions: all"))
    assert load_policy([path]).policy is None


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_the_schema_takes_what_the_loader_takes(file: Path) -> None:
    jsonschema.validate(yaml.load(file.read_text(), _Dates), json_schema())


BAD = [
    ("unknown key", lambda policy: policy["conduits"]["line"].update(ownr="us")),
    ("wrong word", lambda policy: policy["conduits"]["line"].update(mode="enforced")),
    ("unknown function", lambda policy: policy["conduits"]["line"]["rules"][0].update(functions="reed")),
    ("missing key", lambda policy: policy["conduits"]["line"].pop("to")),
    ("security level", lambda policy: policy["zones"]["cell"].update(security_level=7)),
]


@pytest.mark.parametrize("spoil", [case[1] for case in BAD], ids=[case[0] for case in BAD])
def test_the_schema_refuses_what_the_loader_refuses(spoil: object) -> None:
    assert callable(spoil)
    policy = yaml.load(GOOD, _Dates)
    jsonschema.validate(policy, json_schema())
    spoil(policy)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(policy, json_schema())


class _Dates(yaml.SafeLoader):
    """Dates stay texts, as editors read them."""


_Dates.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
