"""What the seeds show, described: means with intervals, and when runs reached the target."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from pipeline.base import InputError

RUN_COLUMNS = ["run_id", "variant", "seed", "learning_rate", "best_epoch", "best_val_loss"]
RUN_COLUMNS += ["best_val_accuracy", "test_accuracy", "median_epoch_seconds", "train_seconds"]
OPTIONAL_COLUMNS = ["mc_accuracy", "mc_nll", "mc_ece", "nll", "ece", "capped"]
OPTIONAL_COLUMNS += ["median_epoch_cpu_seconds", "test_precision", "best_train_accuracy"]
OPTIONAL_COLUMNS += ["generalization_gap"]
# What tables have of a variant where a question asks about it, by the metric.
IF_ASKED = {"inference_microseconds": "\N{MICRO SIGN}s/image", "zero_weights": "Weights of 0"}
IF_ASKED |= {"dead_units": "Dead units", "distinct_units": "Distinct units"}
IF_ASKED |= {"highest_first_loss": "Highest first loss"}
OF_SIZE = ("small_weights", "compressed_megabytes")  # with zero_weights
OPTIONAL_COLUMNS += [*IF_ASKED, *OF_SIZE]
# By which times are compared: when a run began (ms), where it ran, whether other work slowed it.
OF_TIMES: dict[str, Any] = {"started": 0, "processor": "", "disturbed": False}
SOURCE_COLUMN = "source_run"  # the id of the run whose layers one has taken; "" where it began anew
CURVE_COLUMNS = ["run_id", "epoch", "val_loss", "elapsed_seconds"]
AVERAGED = ["learning_rate", "best_epoch", "best_val_accuracy", "test_accuracy", "mc_accuracy"]
AVERAGED += ["train_seconds", "test_precision", "best_train_accuracy", "generalization_gap"]
AVERAGED += [*IF_ASKED, *OF_SIZE]
RENAMED = {"best_val_accuracy": "val_accuracy", "train_seconds": "total_seconds"}
RENAMED |= {"best_train_accuracy": "train_accuracy"}
# Wall time over CPU time of an epoch, in the median of a run. With a core of its own a training has
# 0.95 to 1.02, beside another one or not (its other threads count, too); where 3 processes share 2
# cores 1.5 to 1.9, where 5 do 2.6 to 3.1.
DISTURBED = 1.15
BLOWN_UP = 100  # nats: how far a first loss goes beyond is chance, and would hide all other seeds
TARGET_SEEDS = 3  # the baseline's first, whose worst best loss is the target


def with_convergence(runs: pd.DataFrame, curves: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """The runs with what their curves say: target, epochs and seconds to reach it, last epoch.

    Args:
        runs: one row per finished training; see `RUN_COLUMNS` and, optionally, `OPTIONAL_COLUMNS`
            `OF_TIMES` and `SOURCE_COLUMN`: what it lacks is NaN, or not known.
        curves: one row per run and epoch; see `CURVE_COLUMNS`.
        baseline: the variant that sets the target: the validation loss that each of its first three
            seeds reached, so that it stays what it is when seeds are added. NaN without it.

    Raises:
        InputError: there are no runs, a table lacks a column, or has a variant's seed twice.
    """
    _require("runs", runs, RUN_COLUMNS)
    _require("curves", curves, CURVE_COLUMNS, least=0)  # none of them may have an epoch
    for variant, seed in runs.loc[runs.duplicated(["variant", "seed"]), ["variant", "seed"]].values:
        expected, action = "one run for each variant and seed", "Compare only the newest of them."
        received = f"more than one of {variant} with seed {seed}"
        raise InputError("runs", expected=expected, received=received, action=action)
    first_seeds = runs[runs["variant"] == baseline].nsmallest(TARGET_SEEDS, "seed")
    # Not that of the weights that were kept: without early stopping, the curve may have been lower.
    lowest = curves.groupby("run_id")["val_loss"].min()
    target = first_seeds["run_id"].map(lowest).max()
    first = _first_reached(curves, target)
    unknown = dict.fromkeys(OPTIONAL_COLUMNS, np.nan) | OF_TIMES | {SOURCE_COLUMN: ""}
    known = runs.assign(**{name: of for name, of in unknown.items() if name not in runs})
    return known.assign(
        highest_first_loss=known["highest_first_loss"].clip(upper=BLOWN_UP),
        target=target,
        epochs_to_target=runs["run_id"].map(first["epoch"]),
        seconds_to_target=runs["run_id"].map(first["elapsed_seconds"]),
        last_epoch=runs["run_id"].map(curves.groupby("run_id")["epoch"].max()).fillna(0),
    )


def _first_reached(curves: pd.DataFrame, target: float) -> pd.DataFrame:
    """By run, the epoch and the seconds at which it first came down to a loss, if it did.

    Between two epochs by a straight line: whole epochs are too coarse to compare runs by.
    """
    curves = curves.sort_values(["run_id", "epoch"], ignore_index=True)
    before = curves.groupby("run_id")[["val_loss", "epoch", "elapsed_seconds"]].shift()
    reached = curves[curves["val_loss"] <= target].drop_duplicates("run_id")
    before = before.loc[reached.index]
    # Nothing is known of the loss before the first epoch.
    share = (before["val_loss"] - target) / (before["val_loss"] - reached["val_loss"])
    share = share.where(np.isfinite(share), 1.0)
    columns = ["epoch", "elapsed_seconds"]
    ends = reached[columns].astype(float)
    started = before[columns].fillna(0.0)
    found = started.add((ends - started).mul(share, axis=0))
    return found.set_index(reached["run_id"])


def _require(subject: str, table: pd.DataFrame, columns: Sequence[str], *, least: int = 1) -> None:
    missing = [column for column in columns if column not in table]
    if len(table) < least or missing:
        expected = f"at least one row with the columns {', '.join(columns)}"
        received = f"a table without {', '.join(missing)}" if missing else "an empty table"
        action = "Compare runs that have finished."
        raise InputError(subject, expected=expected, received=received, action=action)


def summarize(timed: pd.DataFrame) -> pd.DataFrame:
    """One row per variant, in the order of first appearance; `timed` is from `with_convergence`.

    Means over the seeds, of times per epoch and to the target the median, with
    `<column>_half_width` half the width of the 95% confidence interval of a mean; accuracies are
    fractions. Of the `reached_target` runs that reached the target, and the others that never did,
    the median is infinite where most never did. `capped` counts the runs that ended at their last
    permitted epoch.
    """
    rows = []
    for variant, group in timed.groupby("variant", sort=False):
        row: dict[str, object] = {"variant": variant, "seeds": len(group)}
        for column in AVERAGED:
            name = RENAMED.get(column, column)
            row[name], row[f"{name}_half_width"] = mean_confidence_interval(group[column])
        # As answers compare it.
        with np.errstate(divide="ignore"):
            row["highest_first_loss"] = np.exp(np.log(group["highest_first_loss"]).mean())
        row["seconds_per_epoch"] = group["median_epoch_seconds"].median()
        has_target = group["target"].notna().all()
        row["reached_target"] = group["epochs_to_target"].count() if has_target else np.nan
        for column in ("epochs_to_target", "seconds_to_target"):
            row[column] = group[column].fillna(np.inf).median() if has_target else np.nan
        row["capped"] = group["capped"].astype(float).sum()
        rows.append(row | {name: group[name].mean() for name in ("nll", "mc_nll", "ece", "mc_ece")})
    return pd.DataFrame(rows)


def mean_confidence_interval(values: npt.ArrayLike) -> tuple[float, float]:
    """The mean and the half-width of its 95% confidence interval by Student's t.

    NaNs are left out. Both are NaN without values, the half-width also of a single one.
    """
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    if known.size < 2:
        return (float(known[0]) if known.size else np.nan), np.nan
    half_width = special.stdtrit(known.size - 1, 0.975) * known.std(ddof=1) / np.sqrt(known.size)
    return float(known.mean()), float(half_width)


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
