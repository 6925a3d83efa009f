"""Which runs' times tell how long their variant takes: those that no other work disturbed."""

import pandas as pd

# Wall time over CPU time of an epoch, in the median of a run. With a core of its own a training has
# 0.95 to 1.02, beside another one or not (its other threads count, too); where 3 processes share 2
# cores 1.5 to 1.9, where 5 do 2.6 to 3.1.
DISTURBED = 1.15


def disturbed(curves: pd.DataFrame) -> pd.Series:
    """Whether other work took the processor from each run; NA where its CPU time is not known.

    Args:
        curves: one row per run and epoch, with run_id, epoch_seconds and epoch_cpu_seconds.

    Returns:
        True, False or NA by run id.
    """
    ratio = curves["epoch_seconds"] / curves["epoch_cpu_seconds"]
    median = ratio.groupby(curves["run_id"], sort=False).median()
    return median.astype("Float64") > DISTURBED  # NaN becomes NA
