"""What is compiled when the package is built, and what a compiler would read otherwise than Python does."""

from __future__ import annotations

import ast
from pathlib import Path

import conduitfw
from conduitfw import build

PACKAGE = Path(conduitfw.__file__).parent
SOURCES = [PACKAGE / f"{name.replace('.', '/')}.py" for name in build.MODULES]


def test_every_compiled_module_is_here_as_plain_python_too() -> None:
    """Without a compiler, and to read a traceback by."""
    assert [str(path) for path in SOURCES if not path.exists()] == []


def test_it_says_how_it_runs() -> None:
    """All of it or nothing of it is compiled; a tree where something failed to build would say which."""
    compiled = [path for path in SOURCES if list(path.parent.glob(f"{path.stem}.*.so"))]
    assert build.how() == (build.COMPILED if compiled else build.PLAIN)


def _chains(source: str) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.Not)
        and isinstance(node.operand, ast.Compare)
        and len(node.operand.ops) > 1
        and isinstance(node.operand.ops[0], ast.Is | ast.IsNot | ast.In | ast.NotIn)
    ]


def test_no_chain_that_cython_turns_round() -> None:
    """Cython 3.3 compiles `not a is b is c` as `a is not b is c`: another question."""
    assert _chains("x = not a is b is c") == [1]
    assert {path.name: lines for path in SOURCES if (lines := _chains(path.read_text()))} == {}
