"""What is written from the declarations: MLproject, and docs/parameters.md."""

from pathlib import Path

from pipeline.parameters.entry_points import ENTRY_POINTS
from pipeline.parameters.parameter import REQUIRED

PROJECT = Path(__file__).parents[2]
# Where no `python` is found, as under cron, that of `make .venv`. It finds `pipeline` in the folder
# that MLflow starts it in, which PYTHONSAFEPATH would hide.
PYTHON = 'PATH="$PATH:$PWD/.venv/bin" PYTHONSAFEPATH= python'


def mlproject() -> str:
    """MLproject, as the entry points declare it."""
    lines = ["name: twenty-layers", "conda_env: conda.yaml", "entry_points:"]
    for entry_point, parameters in ENTRY_POINTS.items():
        lines += [f"  {entry_point}:", "    parameters:"]
        command = ["    command: >-", f"      {PYTHON} -m pipeline.{entry_point}"]
        for _, name, default, parameter in parameters.options():
            # MLproject has no type for integers.
            kind = "string" if parameter.plain is str else "float"
            full = f"{{type: {kind}, default: {_yaml(default)}}}"
            lines.append(f"      {name}: {kind if default is REQUIRED else full}")
            command.append(f"      --{name.replace('_', '-')} {{{name}}}")
        lines += command
    return "\n".join(lines) + "\n"


def _yaml(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else plain(default)


def plain(default: object) -> str:
    """A default as a person writes it."""
    return f"{default:.10f}".rstrip("0").rstrip(".") if isinstance(default, float) else str(default)


def parameters_page() -> str:
    """The parameters in a Markdown table: of which entry points, by default what, and what for."""
    of: dict[str, list[str]] = {}
    about: dict[str, tuple[str, str]] = {}
    for entry_point, parameters in ENTRY_POINTS.items():
        for field, name, default, parameter in parameters.options():
            renamed = f" (as `{name}`)" if name != field else ""
            of.setdefault(field, []).append(f"{entry_point}{renamed}")
            shown = "" if default is REQUIRED else plain(default)
            known = about.setdefault(field, (shown, parameter.help))
            if shown != known[0]:
                about[field] = f"{known[0]} ({entry_point}: {shown})", parameter.help
            elif parameter.help not in known[1]:
                about[field] = shown, f"{known[1]} ({entry_point}: {parameter.help})"
    given = "`mlflow run . -e train -P variant=bn`, or `python -m pipeline.train --variant bn`"
    rows = ["# Parameters", "", f"Given as {given}, whose `--help` has the same.", ""]
    rows += ["| parameter | default | of | meaning |", "| --- | --- | --- | --- |"]
    for field, (shown, meaning) in about.items():
        rows.append(f"| `{field}` | {shown} | {', '.join(of[field])} | {meaning} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    (PROJECT / "MLproject").write_text(mlproject(), "utf-8")
    (PROJECT / "docs" / "parameters.md").write_text(parameters_page(), "utf-8")
