"""Which differences between variants the seeds bear out: how a question's p-value is computed.

The questions are planned, the runs are paired by seed, and Holm's correction covers all the tests
together.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.answers.summary import mean_confidence_interval, with_convergence
from pipeline.comparisons import Question

TESTED = ["question", "metric", "variant", "reference"]
TESTED += ["difference", "half_width", "n_pairs", "p_value"]


def holm(p_values: npt.ArrayLike) -> np.ndarray:
    """Adjust p-values so that the family's error rate is controlled (Holm 1979, step-down).

    Args:
        p_values: shape (n,); NaN is a test that could not be made and is no part of the family.

    Returns:
        The adjusted p-values, shape (n,), in the same order.
    """
    given = np.asarray(p_values, dtype=float)
    adjusted = np.full_like(given, np.nan)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    steps = np.arange(order.size, 0, -1) * given[order]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def paired_tests(
    runs: pd.DataFrame, curves: pd.DataFrame, baseline: str, *, questions: Sequence[Question]
) -> pd.DataFrame:
    """Student's paired t test for every metric of the questions whose variants are there.

    For `epochs_to_baseline`, a run that never reached the target counts with its last epoch (or the
    other's, if that is later): a bound that understates how much slower it was. A pair of which
    neither reached it is left out.

    Args:
        runs, curves, baseline: as in `summary.summarize`.
        questions: the family that Holm's correction covers.

    Returns:
        The columns `TESTED`, of which question is its id, difference the mean of variant -
        reference and half_width that of its 95% confidence interval; then p_holm and
        distinguishable (p_holm < 0.05). The p-values are NaN with fewer than two pairs.

    Raises:
        InputError: as in `summary.summarize`.
    """
    timed = with_convergence(runs, curves, baseline)
    by_variant = {str(name): group.set_index("seed") for name, group in timed.groupby("variant")}
    rows = [row for question in questions for row in _tested(question, by_variant, baseline)]
    tests = pd.DataFrame(rows, columns=TESTED)
    tests["p_holm"] = holm(tests["p_value"])
    tests["distinguishable"] = tests["p_holm"] < 0.05
    return tests


def _tested(
    question: Question, by_variant: Mapping[str, pd.DataFrame], baseline: str
) -> Iterator[tuple]:
    """The tests of a question that the runs allow."""
    if not {question.variant, question.reference} <= by_variant.keys():
        return
    variant, reference = by_variant[question.variant], by_variant[question.reference]
    for metric in question.metrics:
        if metric == "mc_gain" and variant["mc_accuracy"].isna().all():
            continue
        if metric == "epochs_to_baseline" and baseline not in by_variant:
            continue
        differences = _differences(variant, reference, metric).dropna().to_numpy()
        names = (question.id, metric, question.variant, question.reference)
        mean, half_width = mean_confidence_interval(differences)
        yield (*names, mean, half_width, len(differences), _p_value(differences))


def _differences(variant: pd.DataFrame, reference: pd.DataFrame, metric: str) -> pd.Series:
    """Variant - reference by seed; NaN where a seed lacks one of the two."""
    if metric == "mc_gain":
        return variant["mc_accuracy"] - variant["test_accuracy"]
    if metric != "epochs_to_baseline":
        return variant[metric] - reference[metric]
    variant, reference = variant.align(reference, join="inner", axis=0)
    epochs, epochs_reference = variant["epochs_to_baseline"], reference["epochs_to_baseline"]
    # np.maximum keeps a NaN, so a pair of which neither reached the target stays NaN.
    late = epochs.fillna(np.maximum(variant["last_epoch"], epochs_reference))
    late_reference = epochs_reference.fillna(np.maximum(reference["last_epoch"], epochs))
    return late - late_reference


def _p_value(differences: np.ndarray) -> float:
    """Two-sided; the paired t test is the t test of the differences against 0."""
    from scipy import stats

    if differences.size < 2:
        return float("nan")
    if np.allclose(differences, 0.0, rtol=0, atol=1e-12):
        return 1.0
    if np.allclose(differences, differences[0], rtol=1e-9, atol=1e-12):
        # No spread to form a t from: the exact test that flips signs needs none.
        return 2.0 ** (1 - differences.size)
    return float(stats.ttest_1samp(differences, 0.0).pvalue)
