"""What a night leaves for the nights after it: `night.json` among the artifacts of its run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

FILE = "night.json"
REPLAY = "replay"  # what an alarm for other digits is about; the tag `step` of such runs


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The trainings of a variant that a night compared.

    Args:
        replicates_key: the same as long as nothing that decides their results changes.
        run_ids: of all that were compared.
        inputs: what decides their results, by names that a person can read, as in `Step.inputs`;
            those of the search among them, without the seed.
        processors: what they were trained on.
        prepare_run: the run that logged their data.
    """

    replicates_key: str
    run_ids: Sequence[str]
    inputs: Mapping[str, str]
    processors: Sequence[str] = ()
    prepare_run: str = ""


@dataclass(frozen=True, kw_only=True)
class Night:
    """What a night came to.

    Args:
        run_id: of its run.
        began: seconds since 1970.
        comparison, dataset: names of what was compared.
        compared: the run of the comparison.
        commit: of git; empty where it is not known.
        trained: by variant.
        against: by variant, the run of the earlier night that it is still to be judged against:
            what has changed since is undecided, or it was not compared since.
        decided: by the ids of questions, the run of the comparison that decided them last.
        digits_since: when it was accepted that a replay comes to other digits, seconds since 1970:
            of what was trained before, it rings no more.
        alarms: what it rang for, a sentence each; none: a good night.
        about: what each of these is about, as in `Finding`.
    """

    run_id: str
    began: float
    comparison: str
    dataset: str
    compared: str
    commit: str = ""
    trained: Mapping[str, Trained] = field(default_factory=dict)
    against: Mapping[str, str] = field(default_factory=dict)
    decided: Mapping[str, str] = field(default_factory=dict)
    digits_since: float = 0.0
    alarms: Sequence[str] = ()
    about: Sequence[str] = ()

    def text(self) -> str:
        """It as JSON."""
        return json.dumps(asdict(self), indent=1)


def parsed(content: bytes | str) -> Night:
    """A night from its JSON, as far as this version knows it; whatever a damaged one raises."""
    found: dict[str, Any] = json.loads(content)
    trained = {name: Trained(**of) for name, of in found.pop("trained").items()}
    known = {one.name: found[one.name] for one in fields(Night) if one.name in found}
    return Night(**known, trained=trained)
