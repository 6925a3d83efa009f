"""The names of runs, where one that a person gave stays, and of tags that the UI does not show."""

from collections.abc import Mapping

from mlflow.utils.name_utils import _GENERATOR_NOUNS, _GENERATOR_PREDICATES

from pipeline.tracking.store import get_run

HIDDEN = "mlflow.twenty_layers."  # begins the names of tags that the UI is not to show


def hidden(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags by the names under which the UI does not show them."""
    return {HIDDEN + name: value for name, value in tags.items()}


def revealed(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags by the names that they had before `hidden`; in older stores they have them still."""
    found = {name: value for name, value in tags.items() if name.startswith(HIDDEN)}
    return {**tags, **{name.removeprefix(HIDDEN): value for name, value in found.items()}}


def named(run_id: str, name: str, *, instead_of: str | None = "") -> dict[str, str]:
    """The tag that gives a run a name, unless it has one of its own."""
    given = get_run(run_id).info.run_name or ""
    first, _, rest = given.partition("-")
    random = first in _GENERATOR_PREDICATES and rest.partition("-")[0] in _GENERATOR_NOUNS
    return {"mlflow.runName": name} if random or given in ("", instead_of) else {}
