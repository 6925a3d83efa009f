from pathlib import Path

import pytest

from pipeline.steps import code

CODE = '''"""A module."""
import math


class Circle:
    """A circle."""

    async def area(self, radius: float) -> float:
        """Its area."""
        return math.pi * radius**2  # in square metres


def empty() -> None:
    """Only a docstring."""
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"""A module."""', '"""Another text,\n\nof two paragraphs."""', True),
        ('    """A circle."""\n\n', "", True),
        ('"""Its area."""', "'''The area.'''", True),
        ("  # in square metres", "", True),
        ("math.pi * radius**2", "(\n            math.pi * radius ** 2\n        )", True),
        ("radius**2", "radius**3", False),
        ("radius", "diameter", False),
        ("return math", "'an expression'\n        return math", False),
        ("def empty() -> None:", "def empty(argument=1) -> None:", False),
        ("class Circle:", "class Circle(object):", False),
    ],
)
def test_code_counts_but_docstrings_comments_and_formatting_do_not(
    tmp_path: Path, old: str, new: str, same: bool
) -> None:
    before, after = tmp_path / "before.py", tmp_path / "after.py"
    before.write_text(CODE, "utf-8")
    after.write_text(CODE.replace(old, new), "utf-8")
    assert after.read_text("utf-8") != CODE
    assert (code._syntax(before) == code._syntax(after)) is same
