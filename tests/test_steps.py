from pathlib import Path
from typing import Any

import numpy as np
import pytest
from step_runs import make_step

from pipeline import steps


def test_step_key_is_the_same_for_the_same_inputs_in_any_order_and_type() -> None:
    key = make_step().key
    assert len(key) == 64
    assert make_step(parameters={"epochs": "2", "variant": "bn"}).key == key
    assert make_step(sources=("npz", "errors")).key == key


@pytest.mark.parametrize(
    "changes",
    [
        {"entry_point": "search"},
        {"parameters": {"variant": "bn", "epochs": 3}},
        {"parameters": {"variant": "bn", "epochs": 2, "seed": 1}},
        {"parameters": {"variant": "bn"}},
        {"upstream": {"search": "another-key"}},
        {"upstream": {}},
        {"sources": ("errors",)},
        {"sources": ("errors", "data")},
        {"packages": ("numpy", "keras")},
        {"packages": ()},
    ],
)
def test_step_key_changes_with_every_input(changes: dict[str, Any]) -> None:
    assert make_step(**changes).key != make_step().key


def test_step_inputs_can_be_read_by_a_person() -> None:
    inputs = make_step().inputs
    assert list(inputs) == [
        "parameter variant",
        "parameter epochs",
        "code of pipeline.errors",
        "code of pipeline.npz",
        "version of numpy",
        "search",
    ]
    assert inputs["parameter epochs"] == "2"
    assert inputs["version of numpy"] == np.__version__
    assert inputs["search"] == "a-key"
    assert len(inputs["code of pipeline.errors"]) == 16


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
    assert (steps._source_hash(before) == steps._source_hash(after)) is same


def test_of_a_file_that_is_no_module_every_byte_counts(tmp_path: Path) -> None:
    assert "code of pipeline.report.html.jinja" in make_step(sources=("report.html.jinja",)).inputs
    before, after = tmp_path / "before.jinja", tmp_path / "after.jinja"
    before.write_text('"""Text."""\n', "utf-8")
    after.write_text('"""Another."""\n', "utf-8")
    assert steps._source_hash(before) != steps._source_hash(after)
