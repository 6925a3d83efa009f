"""The names of runs: one that a person gave stays, MLflow's random one is replaced."""

from mlflow.utils.name_utils import _GENERATOR_NOUNS, _GENERATOR_PREDICATES

from pipeline.tracking.store import get_run


def named(run_id: str, name: str) -> dict[str, str]:
    """The tag that gives a run a name, unless it has one of its own."""
    first, _, rest = (get_run(run_id).info.run_name or "").partition("-")
    random = first in _GENERATOR_PREDICATES and rest.partition("-")[0] in _GENERATOR_NOUNS
    return {"mlflow.runName": name} if random or not first else {}
