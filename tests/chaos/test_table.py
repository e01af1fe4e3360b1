"""docs/chaos.md says what is tested, and only that."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "chaos.md"
ROW = re.compile(r"^\| .* \| (?P<tier>[^|]+) \| `(?P<test>test_\w+)` \|$", re.MULTILINE)


def marked(mark: str) -> set[str]:
    """The chaos tests that carry this mark, by themselves or with all of their file."""
    found = set()
    for file in HERE.glob("test_*.py"):
        tree = ast.parse(file.read_text())
        of_all = " ".join(ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and file != Path(__file__):
                marks = of_all + " ".join(map(ast.unparse, node.decorator_list))
                if f"mark.{mark}" in marks:
                    found.add(node.name)
    return found


def rows() -> dict[str, str]:
    """The tier of each test in the table."""
    return {row["test"]: row["tier"] for row in ROW.finditer(TABLE.read_text())}


def test_every_fault_stands_in_the_table() -> None:
    assert set(rows()) == marked("chaos")


def test_the_table_tells_which_faults_are_quick() -> None:
    assert {test for test, tier in rows().items() if "quick" in tier} == marked("quick")


def test_the_table_tells_which_faults_need_machines() -> None:
    assert {test for test, tier in rows().items() if "machines" in tier} == marked("machines")
