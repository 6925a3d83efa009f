"""What decides the results of a variant, and what of it is another since a good night."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.base.phrases import listed
from pipeline.nights.other_data import DATA, OtherData
from pipeline.nights.record import Trained
from pipeline.steps.differences import differences, from_to, named_modules
from pipeline.steps.step import recorded_inputs
from pipeline.tracking import client

SEARCH_SEED = "parameter search_seed"  # in the search, it is called `seed`, as that of a training
SEEDS = "parameter seed"
SHORT = 7  # characters of a commit


@dataclass(frozen=True, kw_only=True)
class Factor:
    """Something that decides results, and is another since.

    Args:
        kind: by which it is known whether it can be taken back.
        text: in words, with what it was and is.
    """

    kind: Literal["code", "data", "version", "setting", "processor"]
    text: str


def trained_of(runs: Sequence[client.Run]) -> Trained:
    """The trainings of a variant, from their runs, which differ in their seed alone.

    The inputs are those of the first, with what decided the learning rate that it was given. Runs
    of earlier versions lack some.
    """
    tags = runs[0].data.tags
    inputs = recorded_inputs(tags)
    inputs.pop(SEEDS, None)
    if search := client.find_run(tags.get("search_run")):
        of_search = recorded_inputs(search.data.tags)
        if SEEDS in of_search:
            of_search[SEARCH_SEED] = of_search.pop(SEEDS)
        if of_search:
            inputs.pop("search", None)  # the key of what these are the inputs of
        inputs = {**of_search, **inputs}
    processors = {one.data.tags.get("processor", "") for one in runs}
    return Trained(
        replicates_key=tags.get("replicates_key", ""),
        run_ids=[one.info.run_id for one in runs],
        inputs=inputs,
        processors=sorted(processors - {""}),
        prepare_run=tags.get("prepare_run", ""),
    )


def factors(
    then: Trained,
    now: Trained,
    *,
    commits: tuple[str, str] = ("", ""),
    data: OtherData | None = None,
) -> list[Factor]:
    """What is another since; nothing where the inputs of either were not recorded.

    Args:
        then, now: the trainings of a variant on the good night, and now.
        commits: of git, then and now; empty where they are not known.
        data: what is another in the data, where that is known.
    """
    found = []
    if then.inputs and now.inputs:
        changed = differences(then.inputs, now.inputs)
        if changed.modules:
            modules = named_modules([one.removeprefix("pipeline.") for one in changed.modules])
            found.append(Factor(kind="code", text=f"the code of {modules}{_commits(*commits)}"))
        if DATA in changed.others:
            text = f"the data ({data})" if data else "the data"
            found.append(Factor(kind="data", text=text))
        others = (name for name in changed.others if name != DATA)
        found += [_factor(name, then.inputs, now.inputs) for name in others]
    if new := [one for one in now.processors if then.processors and one not in then.processors]:
        text = f"the processor, from {listed(then.processors)} to {listed(new)}"
        found.append(Factor(kind="processor", text=text))
    return found


def cause(found: Sequence[Factor]) -> str:
    """What may be the cause of a change, in a sentence."""
    if not found:
        return "Nothing that decides results is known to differ since."
    texts = [one.text for one in found]
    if len(texts) == 1:
        return f"All that differs since: {texts[0]}."
    return f"What differs since: {listed(texts)}."


def _factor(name: str, then: Mapping[str, str], now: Mapping[str, str]) -> Factor:
    """An input that is neither code nor data."""
    kind, _, what = name.partition(" ")
    match kind:
        case "version":
            package = what.removeprefix("of ")
            return Factor(kind="version", text=f"{package}{from_to(name, then, now)}")
        case "parameter" | "variant":
            return Factor(kind="setting", text=f"{what}{from_to(name, then, now)}")
    return Factor(kind="setting", text=f"the {name}")


def _commits(then: str, now: str) -> str:
    if not then or not now:
        return ""
    if then == now:  # of a tree that was changed, git knows no more
        return f" (not committed: both nights are at {now[:SHORT]})"
    return f" (commit {then[:SHORT]} to {now[:SHORT]})"
