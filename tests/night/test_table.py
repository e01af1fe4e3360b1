"""docs/nights.md says what is tested, and only that."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "nights.md"
ROW = re.compile(r"^\| .* \| `(?P<test>test_\w+)(?:\[[\w-]+\])?` \|$", re.MULTILINE)


def nights() -> set[str]:
    """The tests of this folder that let a night go wrong."""
    return {
        node.name
        for file in HERE.glob("test_*.py")
        if file != Path(__file__)
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_night_stands_in_the_table() -> None:
    assert set(ROW.findall(TABLE.read_text())) == nights()
