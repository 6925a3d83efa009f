"""MLproject, conda.yaml and the page of parameters say what the code declares."""

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PROJECT, copy_database

from pipeline.parameters import ENTRY_POINTS
from pipeline.parameters.generated import PYTHON, mlproject, parameters_page
from pipeline.uncertainty import served_model

PIPELINE = PROJECT / "pipeline"
OTHER_COMMANDS = {
    "pipeline/ui.py",
    "pipeline/tracking/views.py",
    "pipeline/parameters/generated.py",
}


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    """Pinned version per distribution, in conda.yaml's order."""
    environment = yaml.safe_load((PROJECT / "conda.yaml").read_text("utf-8"))
    lines = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    assert all(line.count("==") == 1 for line in lines)
    return dict(line.split("==") for line in lines)


def test_mlproject_is_what_the_entry_points_declare() -> None:
    assert (PROJECT / "MLproject").read_text("utf-8") == mlproject(), "Run `make MLproject`."


def test_mlproject_has_the_types_defaults_and_command_of_every_entry_point() -> None:
    project = yaml.safe_load(mlproject())
    assert (PROJECT / project["conda_env"]).is_file()
    assert list(project["entry_points"]) == list(ENTRY_POINTS)
    for name, entry_point in project["entry_points"].items():
        options = list(ENTRY_POINTS[name].options())
        assert list(entry_point["parameters"]) == [option for _, option, _, _ in options]
        for _, option, default, parameter in options:
            declared = entry_point["parameters"][option]
            if isinstance(declared, str):
                assert declared == "string"  # required
                continue
            # MLproject has no type for integers; YAML reads 1e-3 as a string and 1 as no string.
            expected = ("string", str) if parameter.plain is str else ("float", (int, float))
            assert declared["type"] == expected[0]
            assert isinstance(declared["default"], expected[1])
            assert declared["default"] == default
        given = [f"--{option.replace('_', '-')} {{{option}}}" for _, option, _, _ in options]
        assert entry_point["command"] == " ".join([f"{PYTHON} -m pipeline.{name}", *given])


@pytest.mark.slow
def test_mlflow_runs_it_where_no_python_is_found_and_python_takes_no_module_from_a_folder(
    tmp_path: Path, empty_database: Path
) -> None:
    copy_database(empty_database, tmp_path / "mlflow.db", artifacts=str(tmp_path / "mlruns"))
    for name in ("MLproject", "conda.yaml", "pipeline"):
        (tmp_path / name).symlink_to(PROJECT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    command = [".venv/bin/mlflow", "run", ".", "--env-manager", "local", "-P", "seeds=x"]
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONSAFEPATH": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert "Error: seeds: expected an integer" in ran.stdout


def test_the_page_of_parameters_is_what_is_declared() -> None:
    page = PROJECT / "docs" / "parameters.md"
    assert page.read_text("utf-8") == parameters_page(), "Run `make MLproject`."


def test_every_entry_point_is_a_door_that_is_a_command() -> None:
    runnable = {
        str(path.relative_to(PROJECT))
        for path in PIPELINE.rglob("*.py")
        if 'if __name__ == "__main__":' in path.read_text("utf-8") or path.name == "__main__.py"
    }
    assert runnable == {f"pipeline/{name}.py" for name in ENTRY_POINTS} | OTHER_COMMANDS


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_every_option_and_entry_point_is_explained(name: str) -> None:
    door = getattr(import_module(f"pipeline.{name}"), name)
    assert inspect.getdoc(door)
    assert inspect.get_annotations(door)["asked"] is ENTRY_POINTS[name]
    for _, option, _, parameter in ENTRY_POINTS[name].options():
        assert parameter.help.endswith("."), option


@pytest.mark.slow
def test_no_entry_point_imports_tensorflow_before_its_parameters_are_checked() -> None:
    modules = ", ".join(f"pipeline.{name}" for name in ENTRY_POINTS)
    program = f"import sys, {modules}; print('tensorflow' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert ran.stdout == "False\n", ran.stderr


def imports() -> Iterator[tuple[Path, ast.Import | ast.ImportFrom]]:
    for path in PIPELINE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield path, node


def test_only_what_is_served_with_a_model_imports_relatively() -> None:
    relative = {
        path.relative_to(PIPELINE).as_posix()
        for path, node in imports()
        if isinstance(node, ast.ImportFrom) and node.level
    }
    assert relative == {"uncertainty/sampling.py", "uncertainty/served_model.py"}
    assert Path(str(served_model.__file__)).parent == PIPELINE / "uncertainty"


def third_party() -> set[str]:
    """The top-level names of everything that pipeline/ imports from elsewhere."""
    names: set[str] = set()
    for _, node in imports():
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif not node.level:
            names.add(str(node.module).split(".")[0])
    return names - set(sys.stdlib_module_names) - {"pipeline"}


def test_exactly_what_the_pipeline_imports_is_pinned(pins: dict[str, str]) -> None:
    assert {"psutil", "distributed", "sqlalchemy", "tensorflow"} <= third_party()
    distributions = metadata.packages_distributions()
    pinned = {
        module: {name.lower().replace("_", "-") for name in distributions[module]} & set(pins)
        for module in third_party()
    }
    assert [module for module, names in pinned.items() if len(names) != 1] == []
    assert sorted(set().union(*pinned.values())) == list(pins)


def test_the_pins_are_what_is_installed(pins: dict[str, str]) -> None:
    assert {name: metadata.version(name) for name in pins} == pins


def test_the_pinned_python_is_the_one_that_is_supported() -> None:
    environment: dict[str, Any] = yaml.safe_load((PROJECT / "conda.yaml").read_text("utf-8"))
    assert environment["dependencies"][:2] == ["python=3.11", "pip"]
    assert "PYTHON ?= python3.11\n" in (PROJECT / "Makefile").read_text("utf-8")
