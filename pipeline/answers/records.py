"""A run of a step as it was recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run says of itself; `record["epochs"]` is a setting as it was used.

    Args:
        run_id, name, status: the run's.
        start_time: when it was started, in milliseconds.
        variant, seed: what was trained; of a run of another step "" and 0.
        metrics: the last value of each.
        settings: its parameters, resolved.
        declared: all settings of its variant as used; none where the run did not record them.
        given: those that its command line gave instead of the variant's own.
        tags: as recorded.
        inputs: what decided its result, by name, such as ``version of keras``.
        search, prepare: the runs that it was made from; None where they are gone.
    """

    run_id: str
    name: str
    status: str = "FINISHED"
    start_time: int = 0
    variant: str = ""
    seed: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    declared: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    search: "RunRecord | None" = None
    prepare: "RunRecord | None" = None

    def __getitem__(self, setting: str) -> str:
        """Raises KeyError where the run did not record it."""
        if setting in self.declared:
            value = self.declared[setting]
            return "none" if value is None else str(value)
        chosen = self.settings.get(f"chosen_{setting}")
        return self.settings[setting] if chosen is None else chosen

    def inputs_of(self, kind: str) -> dict[str, str]:
        """The inputs whose names begin with a kind, such as ``version of``; it is left out."""
        return {
            name.removeprefix(kind): text
            for name, text in self.inputs.items()
            if name.startswith(kind)
        }
