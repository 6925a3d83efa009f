"""What the runs of each variant have in common: means, confidence intervals, convergence."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.base import InputError

RUN_COLUMNS = ["run_id", "variant", "seed", "learning_rate", "best_epoch", "best_val_loss"]
RUN_COLUMNS += ["best_val_accuracy", "test_accuracy", "median_epoch_seconds", "train_seconds"]
OPTIONAL_COLUMNS = ["mc_accuracy", "mc_nll", "mc_ece", "nll", "ece", "capped"]
AVERAGED = ["learning_rate", "best_epoch", "best_val_accuracy", "test_accuracy", "mc_accuracy"]
AVERAGED += ["train_seconds", "epochs_to_baseline", "seconds_to_baseline"]
CURVE_COLUMNS = ["run_id", "epoch", "val_loss", "elapsed_seconds"]


def mean_confidence_interval(
    values: npt.ArrayLike, confidence: float = 0.95
) -> tuple[float, float]:
    """The mean and the half-width of its confidence interval by Student's t.

    Args:
        values: numbers of shape (n,), any dtype; NaNs are left out.
        confidence: the interval's coverage, between 0 and 1.

    Returns:
        Both NaN without values; a NaN half-width for a single one, whose spread is unknown.
    """
    from scipy import stats  # Imported here: an import of about a second, for a few figures.

    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    if known.size < 2:
        return (float(known[0]) if known.size else float("nan")), float("nan")
    quantile = stats.t.ppf((1 + confidence) / 2, known.size - 1)
    half_width = quantile * known.std(ddof=1) / np.sqrt(known.size)
    return float(known.mean()), float(half_width)


def when_reached(curves: pd.DataFrame, target_val_loss: float) -> pd.DataFrame:
    """The first epoch of each run with `val_loss` at or below a target, and the seconds until then.

    Returns:
        Columns epoch (from 1) and elapsed_seconds by run_id; NaN where it never was.
    """
    _require(curves, CURVE_COLUMNS, "curves")
    reached = curves[curves["val_loss"] <= target_val_loss].sort_values("epoch")
    first = reached.drop_duplicates("run_id").set_index("run_id")[["epoch", "elapsed_seconds"]]
    return first.astype(float).reindex(curves["run_id"].unique())


def summarize(runs: pd.DataFrame, curves: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """One row per variant, in the order of first appearance.

    Args:
        runs: one row per finished training; see `RUN_COLUMNS` and, optionally, `OPTIONAL_COLUMNS`.
        curves: one row per run and epoch; see `CURVE_COLUMNS`.
        baseline: the variant whose best validation loss is the target of `epochs_to_baseline` and
            `seconds_to_baseline`: that of its worst seed, so that all its own runs reach it. They
            are means over the runs that reached it, of which there are `reached_baseline`; all NaN
            without such a variant.

    Returns:
        Means over the seeds (`seconds_per_epoch`: the median), with `<column>_half_width` the
        half-width of the 95% confidence interval; accuracies are fractions. `capped` counts the
        runs that ended at their last permitted epoch.

    Raises:
        InputError: a table is empty, lacks a column, or has a variant's seed twice.
    """
    by_variant = with_convergence(runs, curves, baseline).groupby("variant", sort=False)
    return pd.DataFrame([_summary_row(variant, group) for variant, group in by_variant])


def _summary_row(variant: object, group: pd.DataFrame) -> dict[str, object]:
    row: dict[str, object] = {"variant": variant, "seeds": len(group)}
    renamed = {"best_val_accuracy": "val_accuracy", "train_seconds": "total_seconds"}
    for column in AVERAGED:
        name = renamed.get(column, column)
        row[name], row[f"{name}_half_width"] = mean_confidence_interval(group[column])
    row["seconds_per_epoch"] = group["median_epoch_seconds"].median()
    has_baseline = group["target"].notna().all()
    row["reached_baseline"] = group["epochs_to_baseline"].count() if has_baseline else float("nan")
    row["capped"] = group["capped"].astype(float).sum()
    return row | {name: group[name].mean() for name in ("nll", "mc_nll", "ece", "mc_ece")}


def with_convergence(runs: pd.DataFrame, curves: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """The runs with what their curves say: target, epochs and seconds to reach it, last epoch.

    Args:
        runs, curves, baseline: as in `summarize`; the optional columns that runs lack are NaN.

    Raises:
        InputError: as in `summarize`.
    """
    _check(runs, curves)
    missing = [column for column in OPTIONAL_COLUMNS if column not in runs]
    completed = runs.assign(**dict.fromkeys(missing, float("nan")))
    target = completed.loc[completed["variant"] == baseline, "best_val_loss"].max()
    reached, ids = when_reached(curves, target), completed["run_id"]
    return completed.assign(
        target=target,
        epochs_to_baseline=ids.map(reached["epoch"]),
        seconds_to_baseline=ids.map(reached["elapsed_seconds"]),
        last_epoch=ids.map(curves.groupby("run_id")["epoch"].max()),
    )


def _check(runs: pd.DataFrame, curves: pd.DataFrame) -> None:
    _require(runs, RUN_COLUMNS, "runs")
    _require(curves, CURVE_COLUMNS, "curves")
    twice = runs[runs.duplicated(["variant", "seed"])]
    if len(twice):
        variant, seed = twice.iloc[0][["variant", "seed"]]
        raise InputError(
            "runs",
            expected="one run for each variant and seed",
            received=f"more than one of {variant} with seed {seed}",
            action="Compare only the newest of them.",
        )


def _require(frame: pd.DataFrame, columns: Sequence[str], subject: str) -> None:
    missing = [column for column in columns if column not in frame]
    if frame.empty or missing:
        received = f"a table without {', '.join(missing)}" if missing else "an empty table"
        raise InputError(
            subject,
            expected=f"at least one row with the columns {', '.join(columns)}",
            received=received,
            action="Compare runs that have finished.",
        )


def check_comparable(fingerprints: Mapping[str, str]) -> None:
    """Refuse to compare runs that were trained on different data.

    Args:
        fingerprints: the fingerprint of the data by the name of the run.

    Raises:
        InputError: there is more than one fingerprint; the message groups the runs by theirs.
    """
    groups: dict[str, list[str]] = {}
    for name, fingerprint in fingerprints.items():
        groups.setdefault(fingerprint, []).append(name)
    if len(groups) > 1:
        raise InputError(
            "runs to compare",
            expected="runs trained on the same data",
            received="; ".join(f"data {key}: {', '.join(names)}" for key, names in groups.items()),
            action="Compare the runs of one data set, or train the others on it again.",
        )
