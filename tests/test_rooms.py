"""The rooms of pipeline/: arrows point down, and nothing has grown too long to read."""

import ast
from pathlib import Path

import pytest
from conftest import PROJECT

PIPELINE = PROJECT / "pipeline"
ORDER = (  # a module imports from its own room and those after it
    *("doors", "nights", "comparing", "work", "report", "answers", "steps", "tracking", "training"),
    *("uncertainty", "data", "parameters", "comparisons", "base"),
)
MODULES = {
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PIPELINE.rglob("*.py"))
}


def room(module: str) -> str:
    """The room of a module, such as `work`; of those at the top `doors`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ORDER else "doors"


def imported(module: str) -> set[str]:
    """The modules of the pipeline that a module imports, at its top, in functions, for types."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        found |= {name for name in names if name in MODULES and name not in (module, "pipeline")}
    return found


def test_every_folder_is_a_room_whose_docstring_says_what_it_is_for() -> None:
    folders = {path.parent.name for path in PIPELINE.glob("*/__init__.py")}
    assert folders == set(ORDER) - {"doors"}
    for name in folders:
        tree = ast.parse((PIPELINE / name / "__init__.py").read_text("utf-8"))
        assert len((ast.get_docstring(tree) or "").splitlines()) >= 3, name


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_down(module: str) -> None:
    above = ORDER[: ORDER.index(room(module))]
    assert [other for other in sorted(imported(module)) if room(other) in above] == []


def test_there_is_no_circle() -> None:
    left = {module: imported(module) for module in MODULES}
    while ends := [module for module, needed in left.items() if not needed & left.keys()]:
        for module in ends:
            del left[module]
    assert left == {}


def test_no_module_and_no_function_is_longer_than_can_be_read_at_once() -> None:
    long = [name for name, path in MODULES.items() if path.read_text("utf-8").count("\n") > 300]
    functions = [
        f"{name}.{node.name}"
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 50
    ]
    assert (long, functions) == ([], [])


def test_tests_mirror_the_rooms() -> None:
    folders = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir()}
    assert set(ORDER) - {"doors"} <= folders
