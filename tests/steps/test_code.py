"""Which code decides what a step comes to."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.steps import step as code

PIPELINE = code.PACKAGE
WORK = {name: f"pipeline.work.{name}" for name in ("prepare", "search", "train")}
WORK["compare"] = "pipeline.comparing.compare"
KEYS = """
import json, sys
from pipeline.steps.step import code_hash, modules_of
print(json.dumps({
    name: {module: code_hash(module) for module in modules_of(name)} for name in sys.argv[1:]
}))
"""


def importers(module: str) -> set[str]:
    """The steps whose work imports a module, by a search of its own over import statements."""
    found = set()
    for step in WORK:
        reached, waiting = set(), [WORK[step]]
        while waiting:
            name = waiting.pop()
            if name in reached or name.split(".")[1] in code.CARRIERS:
                continue
            reached.add(name)
            text = PIPELINE.parent.joinpath(*name.split(".")).with_suffix(".py").read_text("utf-8")
            waiting += [other for other in MODULES if imports(text, name, other)]
        if module in reached:
            found.add(step)
    return found


MODULES = sorted(
    ".".join(path.relative_to(PIPELINE.parent).with_suffix("").parts)
    for path in PIPELINE.rglob("*.py")
    if path.name != "__init__.py"
)


def imports(text: str, name: str, other: str) -> bool:
    """Whether the text of a module imports another, by the words of its lines."""
    room, _, last = other.rpartition(".")
    own = name.rpartition(".")[0]
    origins = [f"from {other} import", f"import {other}"]
    if room == own:
        origins += [f"from .{last} import"]
    origins += [f"from ..{other.removeprefix('pipeline.')} import"]
    listed = re.findall(rf"from {re.escape(room)} import (\([^)]*\)|[^\n]*)", text)
    return any(origin in text for origin in origins) or any(
        last in re.findall(r"\w+", names.partition("#")[0]) for names in listed
    )


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tree")
    shutil.copytree(PIPELINE, directory / "pipeline")
    return directory


def hashes(directory: Path) -> dict[str, dict[str, str]]:
    """By step, the hash of every module that decides its result, as a tree elsewhere says."""
    ran = subprocess.run(
        [sys.executable, "-c", KEYS, *WORK.values()], cwd=directory, capture_output=True, check=True
    )
    found = json.loads(ran.stdout)
    return {step: found[module] for step, module in WORK.items()}


def test_a_change_in_any_module_changes_the_keys_of_exactly_the_steps_that_import_it(
    copied: Path,
) -> None:
    before = hashes(copied)
    for module in MODULES:
        path = copied.joinpath(*module.split(".")).with_suffix(".py")
        original = path.read_text("utf-8")
        path.write_text(f"{original}\n_CHANGED = True\n", "utf-8")
        code._syntax.cache_clear()
        changed = {
            step
            for step, modules in before.items()
            if module in modules and code_hash_in(copied, module) != modules[module]
        }
        path.write_text(original, "utf-8")
        assert changed == importers(module), module


def code_hash_in(directory: Path, module: str) -> str:
    """The hash of a module in a copy of the tree."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "PACKAGE", directory / "pipeline")
        return code.code_hash(module)


def test_every_step_counts_what_its_results_came_to_depend_on_unnoticed() -> None:
    counted = {step: set(code.modules_of(module)) for step, module in WORK.items()}
    assert "pipeline.uncertainty.calibration" in counted["compare"]
    for step in ("search", "train"):
        assert "pipeline.training.checkpoints" in counted[step]
        assert "pipeline.training.runtime" in counted[step]
    assert {
        "pipeline.uncertainty.logged_models",
        "pipeline.uncertainty.served_model",
        "pipeline.uncertainty.sampling",
    } <= counted["train"]
    # A training reads its data by their fingerprint, and is no comparison.
    assert not {"pipeline.data.npz", "pipeline.report.comparison_figures"} & counted["train"]


def test_a_file_of_a_modules_name_beside_it_counts(copied: Path) -> None:
    before = code_hash_in(copied, "pipeline.report.page")
    template = copied / "pipeline" / "report" / "page.html.jinja"
    template.write_text(template.read_text("utf-8") + " ", "utf-8")
    assert code_hash_in(copied, "pipeline.report.page") != before


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
