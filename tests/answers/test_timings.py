"""Which runs other work has disturbed."""

import pandas as pd

from pipeline.answers.timings import disturbed


def curve(run_id: str, seconds: list[float], cpu_seconds: list[float | None]) -> pd.DataFrame:
    columns = {"epoch_seconds": seconds, "epoch_cpu_seconds": cpu_seconds}
    frame = pd.DataFrame({"run_id": run_id, "epoch": range(1, len(seconds) + 1), **columns})
    return frame.astype(dict.fromkeys(columns, float))


def test_wall_time_well_above_cpu_time_in_most_epochs_is_disturbed_and_old_runs_are_not_known() -> (
    None
):
    curves = [
        curve("alone", [3.0, 3.0, 3.1], [3.05, 3.0, 3.05]),
        curve("disturbed once", [3.0, 24.0, 3.0], [3.0, 3.1, 3.0]),
        curve("disturbed", [7.0, 24.0, 3.1], [3.0, 3.1, 3.0]),
        curve("slow by itself", [24.0, 24.0, 24.0], [24.0, 24.0, 24.0]),
        curve("of old", [3.0, 24.0, 24.0], [None, None, None]),
        curve("gone on with", [3.0, 24.0, 24.0], [None, 3.0, 3.0]),
    ]
    found = disturbed(pd.concat(curves, ignore_index=True))
    assert found.isna().to_dict() == {run_id: run_id == "of old" for run_id in found.index}
    assert set(found.index[found.fillna(False)]) == {"disturbed", "gone on with"}
