"""A data set, as the steps that read it know it."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.tracking import client


@dataclass(frozen=True, kw_only=True)
class LoggedData:
    """A data set that a finished `prepare` run has logged, for the steps that read it.

    Args:
        run_id: the run.
        dataset: the data set's name.
        location: where it was read from.
        fingerprint: SHA-256 of the splits.
        found_again: the value of `dataset` that finds it from anywhere on this machine.
    """

    run_id: str
    dataset: str
    location: str
    fingerprint: str
    found_again: str

    @property
    def directory(self) -> Path:
        """The arrays, downloaded where the artifact store is remote."""
        return client.local_artifact(self.run_id, "data")

    @property
    def tags(self) -> dict[str, str]:
        """What a run on this data is tagged with."""
        return {
            "dataset": self.dataset,
            "data_fingerprint": self.fingerprint,
            "prepare_run": self.run_id,
        }
