"""What the seeds show: means, confidence intervals, convergence, and how a p-value is computed.

The questions are planned, the runs are paired by seed, and Holm's correction covers all the tests
together.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.base import InputError
from pipeline.comparisons import Question

RUN_COLUMNS = ["run_id", "variant", "seed", "learning_rate", "best_epoch", "best_val_loss"]
RUN_COLUMNS += ["best_val_accuracy", "test_accuracy", "median_epoch_seconds", "train_seconds"]
OPTIONAL_COLUMNS = ["mc_accuracy", "mc_nll", "mc_ece", "nll", "ece", "capped"]
OPTIONAL_COLUMNS += ["median_epoch_cpu_seconds"]
CURVE_COLUMNS = ["run_id", "epoch", "val_loss", "elapsed_seconds"]
AVERAGED = ["learning_rate", "best_epoch", "best_val_accuracy", "test_accuracy", "mc_accuracy"]
AVERAGED += ["train_seconds", "epochs_to_baseline", "seconds_to_baseline"]
RENAMED = {"best_val_accuracy": "val_accuracy", "train_seconds": "total_seconds"}
TESTED = ["question", "metric", "variant", "reference"]
TESTED += ["difference", "half_width", "n_pairs", "p_value"]


def with_convergence(runs: pd.DataFrame, curves: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """The runs with what their curves say: target, epochs and seconds to reach it, last epoch.

    Args:
        runs: one row per finished training; see `RUN_COLUMNS` and, optionally, `OPTIONAL_COLUMNS`:
            those that it lacks are NaN.
        curves: one row per run and epoch; see `CURVE_COLUMNS`.
        baseline: the variant whose best validation loss is the target: that of its worst seed, so
            that all its own runs reach it. NaN without such a variant.

    Raises:
        InputError: a table is empty, lacks a column, or has a variant's seed twice.
    """
    _require("runs", runs, RUN_COLUMNS)
    _require("curves", curves, CURVE_COLUMNS)
    for variant, seed in runs.loc[runs.duplicated(["variant", "seed"]), ["variant", "seed"]].values:
        expected, action = "one run for each variant and seed", "Compare only the newest of them."
        received = f"more than one of {variant} with seed {seed}"
        raise InputError("runs", expected=expected, received=received, action=action)
    target = runs.loc[runs["variant"] == baseline, "best_val_loss"].max()
    reached = curves[curves["val_loss"] <= target].sort_values("epoch")
    first = reached.drop_duplicates("run_id").set_index("run_id")
    missing = [column for column in OPTIONAL_COLUMNS if column not in runs]
    return runs.assign(
        **dict.fromkeys(missing, np.nan),
        target=target,
        epochs_to_baseline=runs["run_id"].map(first["epoch"].astype(float)),
        seconds_to_baseline=runs["run_id"].map(first["elapsed_seconds"].astype(float)),
        last_epoch=runs["run_id"].map(curves.groupby("run_id")["epoch"].max()),
    )


def _require(subject: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in table]
    if table.empty or missing:
        expected = f"at least one row with the columns {', '.join(columns)}"
        received = f"a table without {', '.join(missing)}" if missing else "an empty table"
        action = "Compare runs that have finished."
        raise InputError(subject, expected=expected, received=received, action=action)


def summarize(timed: pd.DataFrame) -> pd.DataFrame:
    """One row per variant, in the order of first appearance; `timed` is from `with_convergence`.

    Means over the seeds (`seconds_per_epoch`: the median), with `<column>_half_width` half the
    width of the 95% confidence interval; accuracies are fractions. `epochs_to_baseline` and
    `seconds_to_baseline` are means over the `reached_baseline` runs that reached the target.
    `capped` counts the runs that ended at their last permitted epoch.
    """
    rows = []
    for variant, group in timed.groupby("variant", sort=False):
        row: dict[str, object] = {"variant": variant, "seeds": len(group)}
        for column in AVERAGED:
            name = RENAMED.get(column, column)
            row[name], row[f"{name}_half_width"] = mean_confidence_interval(group[column])
        row["seconds_per_epoch"] = group["median_epoch_seconds"].median()
        has_target = group["target"].notna().all()
        row["reached_baseline"] = group["epochs_to_baseline"].count() if has_target else np.nan
        row["capped"] = group["capped"].astype(float).sum()
        rows.append(row | {name: group[name].mean() for name in ("nll", "mc_nll", "ece", "mc_ece")})
    return pd.DataFrame(rows)


def mean_confidence_interval(values: npt.ArrayLike) -> tuple[float, float]:
    """The mean and the half-width of its 95% confidence interval by Student's t.

    NaNs are left out. Both are NaN without values, the half-width also of a single one.
    """
    from scipy import stats  # Imported here: an import of about a second, for a few figures.

    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    if known.size < 2:
        return (float(known[0]) if known.size else np.nan), np.nan
    half_width = stats.t.ppf(0.975, known.size - 1) * known.std(ddof=1) / np.sqrt(known.size)
    return float(known.mean()), float(half_width)


def paired_tests(timed: pd.DataFrame, questions: Sequence[Question]) -> pd.DataFrame:
    """Student's paired t test for every metric of the questions whose variants are there.

    For `epochs_to_baseline`, a run that never reached the target counts with its last epoch (or the
    other's, if that is later): a bound that understates how much slower it was. A pair of which
    neither reached it is left out.

    Args:
        timed: from `with_convergence`, or the columns of it that the metrics need.
        questions: the family that Holm's correction covers.

    Returns:
        The columns `TESTED`, of which question is its id, difference the mean of variant -
        reference and half_width that of its 95% confidence interval; then p_holm and
        distinguishable (p_holm < 0.05). The p-values are NaN with fewer than two pairs.
    """
    by_variant = {str(name): group.set_index("seed") for name, group in timed.groupby("variant")}
    rows = []
    for question in questions:
        names = question.variant, question.reference
        if not by_variant.keys() >= set(names):
            continue
        variant, reference = (by_variant[name] for name in names)
        for metric in question.metrics:
            found = _differences(variant, reference, metric)
            if found is not None:
                known = found.dropna().to_numpy()
                figures = *mean_confidence_interval(known), len(known), _p_value(known)
                rows.append((question.id, metric, *names, *figures))
    tests = pd.DataFrame(rows, columns=TESTED)
    tests["p_holm"] = holm(tests["p_value"])
    tests["distinguishable"] = tests["p_holm"] < 0.05
    return tests


def _differences(variant: pd.DataFrame, other: pd.DataFrame, metric: str) -> pd.Series | None:
    """Variant - other by seed, NaN where a seed lacks one of the two; None: there is no test."""
    if metric == "mc_gain":
        gain = variant["mc_accuracy"] - variant["test_accuracy"]
        return None if variant["mc_accuracy"].isna().all() else gain
    if metric != "epochs_to_baseline":
        return variant[metric] - other[metric]
    if variant["target"].isna().all():
        return None
    variant, other = variant.align(other, join="inner", axis=0)
    epochs, epochs_other = variant["epochs_to_baseline"], other["epochs_to_baseline"]
    # np.maximum keeps a NaN, so a pair of which neither reached the target stays NaN.
    late = epochs.fillna(np.maximum(variant["last_epoch"], epochs_other))
    return late - epochs_other.fillna(np.maximum(other["last_epoch"], epochs))


def _p_value(differences: np.ndarray) -> float:
    """Two-sided; the paired t test is the t test of the differences against 0."""
    from scipy import stats

    if differences.size < 2:
        return np.nan
    if np.allclose(differences, 0.0, rtol=0, atol=1e-12):
        return 1.0
    if np.allclose(differences, differences[0], rtol=1e-9, atol=1e-12):
        # No spread to form a t from: the exact test that flips signs needs none.
        return 2.0 ** (1 - differences.size)
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: npt.ArrayLike) -> np.ndarray:
    """Adjust p-values of shape (n,) so that the family's error rate is controlled, step-down.

    NaN is a test that could not be made and is no part of the family. Source: Holm (1979).
    """
    given = np.asarray(p_values, dtype=float)
    adjusted = np.full_like(given, np.nan)
    order = np.argsort(given, kind="stable")[: np.count_nonzero(~np.isnan(given))]  # NaNs are last
    steps = np.arange(order.size, 0, -1) * given[order]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted
