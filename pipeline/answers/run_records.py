"""What runs say of themselves, and which of them did not finish and so are not compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run says of itself; `record["epochs"]` is a setting as it was used."""

    run_id: str
    name: str
    status: str = "FINISHED"
    start_time: int = 0  # in milliseconds
    variant: str = ""  # of another step than a search or a training it has none
    seed: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)  # the last value of each
    settings: Mapping[str, str] = field(default_factory=dict)  # its parameters, resolved
    # All settings of its variant as used, and those that its command line gave instead of the
    # variant's own; empty where it did not record them.
    declared: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)  # hashes, by module
    versions: Mapping[str, str] = field(default_factory=dict)  # by package
    # The runs that it was made from; None where they are gone.
    search: "RunRecord | None" = None
    prepare: "RunRecord | None" = None

    def __getitem__(self, setting: str) -> str:
        """Raises KeyError where the run did not record it."""
        if setting in self.declared:
            value = self.declared[setting]
            return "none" if value in (None, "") else str(value)
        chosen = self.settings.get(f"chosen_{setting}")
        return self.settings[setting] if chosen is None else chosen

    @property
    def widened(self) -> str:
        """Of a search, whether it went beyond the range that it was asked for."""
        return ", range widened" if "widened_range" in self.tags else ""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A training run that did not finish and so is not compared."""

    run_id: str
    name: str
    reason: str  # `diverged`, `failed` or `interrupted`, with what is known about it
    replaced: bool  # whether an earlier, finished run of its variant and seed is compared instead

    def __str__(self) -> str:
        instead = "; an earlier run of it is compared" if self.replaced else ""
        return f"{self.name}: {self.reason}{instead}"


def left_out(chosen: Sequence[RunRecord], unfinished: Sequence[RunRecord]) -> list[LeftOut]:
    """The newest failed or interrupted run of each variant and seed, if not made up for since.

    `chosen` are compared, `unfinished` the other trainings on the same data, the newest first.
    """
    compared = {(run.variant, run.seed): run.start_time for run in chosen}
    ended = [run for run in reversed(unfinished) if run.status in ("FAILED", "KILLED")]
    newest = {(run.variant, run.seed): run for run in ended}  # the last of each
    return [
        LeftOut(run_id=run.run_id, name=run.name, reason=_reason(run), replaced=key in compared)
        for key, run in sorted(newest.items())
        if run.start_time > compared.get(key, 0)
    ]


def _reason(run: RunRecord) -> str:
    reason = run.tags.get("failure_reason", "")
    kind, _, text = reason.partition(": ")
    if kind == "DivergenceError":
        return f"diverged ({text})"
    word = "interrupted" if run.status == "KILLED" else "failed"
    return f"{word} ({reason})" if reason not in ("", "interrupted") else word


def is_capped(run: RunRecord) -> bool:
    """Whether a finished run ended at its last epoch although it was to stop early."""
    ended = run.metrics["stopped_early"] or run.metrics.get("diverged")
    return run["patience"] != "none" and not ended and run.metrics.get("epochs_run") != 0
