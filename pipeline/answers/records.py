"""A run of a step as it was recorded."""

from collections.abc import Mapping
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
    inputs: Mapping[str, str] = field(default_factory=dict)  # what decided its result, by name
    # The runs that it was made from; None where they are gone.
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
