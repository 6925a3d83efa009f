import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml

PROJECT = Path(__file__).parent.parent
ENTRY_POINTS = ("main", "prepare", "search", "train", "mc_dropout", "compare")
OTHER_COMMANDS = ("ui",)  # of the Makefile and of the terminal: they make no run
# MLproject has no type for integers.
TYPES = {str: "string", int: "float", float: "float"}


@pytest.fixture(scope="module")
def mlproject() -> dict[str, Any]:
    return yaml.safe_load((PROJECT / "MLproject").read_text("utf-8"))


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    """Pinned version per distribution, in conda.yaml's order."""
    environment = yaml.safe_load((PROJECT / "conda.yaml").read_text("utf-8"))
    lines = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    assert all(line.count("==") == 1 for line in lines)
    return dict(line.split("==") for line in lines)


def entry_point(name: str) -> Callable[..., Any]:
    return getattr(importlib.import_module(f"pipeline.{name}"), name)


def test_the_project_has_exactly_the_entry_points_that_are_modules(
    mlproject: dict[str, Any],
) -> None:
    assert tuple(mlproject["entry_points"]) == ENTRY_POINTS
    runnable = {
        path.stem
        for path in (PROJECT / "pipeline").glob("*.py")
        if 'if __name__ == "__main__":' in path.read_text("utf-8")
    }
    assert runnable == {*ENTRY_POINTS, *OTHER_COMMANDS}
    assert (PROJECT / mlproject["conda_env"]).is_file()


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_signature_and_mlproject_agree(mlproject: dict[str, Any], name: str) -> None:
    function = entry_point(name)
    types = get_type_hints(function)
    from_code = [
        {"name": parameter.name, "type": TYPES[types[parameter.name]], "default": parameter.default}
        for parameter in inspect.signature(function).parameters.values()
    ]
    from_project = [
        {
            "name": parameter,
            "type": declared if isinstance(declared, str) else declared["type"],
            "default": inspect.Parameter.empty
            if isinstance(declared, str)
            else declared["default"],
        }
        for parameter, declared in mlproject["entry_points"][name]["parameters"].items()
    ]
    assert from_code == from_project
    for parameter in from_project:  # YAML reads 1e-3 as a string and 1 as no string
        expected = str if parameter["type"] == "string" else (int, float)
        assert parameter["default"] is inspect.Parameter.empty or isinstance(
            parameter["default"], expected
        )


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_the_command_passes_every_parameter_to_the_module(
    mlproject: dict[str, Any], name: str
) -> None:
    declared = mlproject["entry_points"][name]
    options = [f"--{key.replace('_', '-')} {{{key}}}" for key in declared["parameters"]]
    assert declared["command"] == " ".join([f"python -m pipeline.{name}", *options])


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_every_option_and_entry_point_is_explained(name: str) -> None:
    function = entry_point(name)
    assert inspect.getdoc(function)
    hints = get_type_hints(function, include_extras=True)
    for parameter, declared in inspect.signature(function).parameters.items():
        assert declared.kind is inspect.Parameter.KEYWORD_ONLY
        _, option = get_args(hints[parameter])
        assert option.help.endswith("."), parameter


def test_help_lists_every_option(mlproject: dict[str, Any]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pipeline.prepare", "--help"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Prepare a data set" in ran.stdout
    shown = set(re.findall(r"--[a-z][a-z-]*", ran.stdout))
    names = mlproject["entry_points"]["prepare"]["parameters"]
    assert shown == {"--help"} | {f"--{name.replace('_', '-')}" for name in names}


@pytest.mark.slow
def test_no_entry_point_imports_tensorflow_before_its_parameters_are_checked() -> None:
    modules = ", ".join(f"pipeline.{name}" for name in ENTRY_POINTS)
    program = f"import sys, {modules}; print('tensorflow' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert ran.stdout == "False\n", ran.stderr


def imported_modules() -> Iterator[str]:
    """The top-level name of everything that pipeline/ imports."""
    for path in (PROJECT / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"relative import in {path.name}"
                assert node.module
                yield node.module.split(".")[0]


def test_exactly_what_the_pipeline_imports_is_pinned(pins: dict[str, str]) -> None:
    third_party = set(imported_modules()) - set(sys.stdlib_module_names) - {"pipeline"}
    assert {"psutil", "distributed", "sqlalchemy", "tensorflow"} <= third_party
    distributions = metadata.packages_distributions()
    pinned = {
        module: {name.lower().replace("_", "-") for name in distributions[module]} & set(pins)
        for module in third_party
    }
    assert [module for module, names in pinned.items() if len(names) != 1] == []
    assert sorted(set().union(*pinned.values())) == list(pins)


def test_the_pins_are_what_is_installed(pins: dict[str, str]) -> None:
    assert {name: metadata.version(name) for name in pins} == pins


def test_the_pinned_python_is_the_one_that_is_supported() -> None:
    environment = yaml.safe_load((PROJECT / "conda.yaml").read_text("utf-8"))
    assert environment["dependencies"][:2] == ["python=3.11", "pip"]
    assert "PYTHON ?= python3.11\n" in (PROJECT / "Makefile").read_text("utf-8")
