"""Which differences between variants the seeds bear out: planned comparisons, tested in pairs.

The comparisons are planned (`QUESTIONS`), the runs are paired by seed, and Holm's correction covers
all the tests together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.answers.summary import mean_confidence_interval, with_convergence


@dataclass(frozen=True)
class Question:
    """A planned comparison of two variants, or of a variant with itself under MC Dropout.

    Args:
        id: its name in the table of tests.
        variant: the variant that the question is about.
        reference: what it is compared with.
        metrics: what is tested: `best_val_accuracy`, `test_accuracy`, `epochs_to_baseline`,
            `median_epoch_seconds` or `mc_gain` (MC Dropout's test accuracy less the plain one).
        text: the question as a person asks it.
        wanted: the sign of the difference that means yes; 0 where the figures are the answer.
    """

    id: str
    variant: str
    reference: str
    metrics: tuple[str, ...]
    text: str
    wanted: int = 0


ACCURACIES = ("best_val_accuracy", "test_accuracy")
CONVERGENCE = ("epochs_to_baseline",)
SPEED = ("median_epoch_seconds",)
MC_GAIN = ("mc_gain",)
# fmt: off
QUESTIONS = (
    Question("bn_convergence", "bn", "elu", CONVERGENCE,
             "Does batch normalisation converge faster than the baseline?", -1),
    Question("bn_quality", "bn", "elu", ACCURACIES,
             "Does batch normalisation give a better model than the baseline?", 1),
    Question("bn_speed", "bn", "elu", SPEED,
             "How does batch normalisation affect training speed?"),
    Question("selu_convergence", "selu", "elu", CONVERGENCE,
             "Does SELU converge faster than the baseline?", -1),
    Question("selu_quality", "selu", "elu", ACCURACIES,
             "Does SELU give a better model than the baseline?", 1),
    Question("selu_speed", "selu", "elu", SPEED,
             "How does SELU affect training speed?"),
    Question("alpha_dropout_quality", "alpha_dropout", "selu", ACCURACIES,
             "Does alpha dropout help over SELU alone?", 1),
    Question("alpha_dropout_speed", "alpha_dropout", "selu", CONVERGENCE + SPEED,
             "How does alpha dropout affect convergence and training speed?"),
    Question("alpha_dropout_mc", "alpha_dropout", "alpha_dropout", MC_GAIN,
             "Does MC Dropout make `alpha_dropout` more accurate?", 1),
    Question("one_cycle_quality", "one_cycle", "alpha_dropout", ACCURACIES,
             "Does 1cycle scheduling give a better model than alpha dropout without it?", 1),
    Question("one_cycle_speed", "one_cycle", "alpha_dropout", CONVERGENCE + SPEED,
             "How does 1cycle scheduling affect convergence and training time?"),
    Question("one_cycle_mc", "one_cycle", "one_cycle", MC_GAIN,
             "Does MC Dropout make `one_cycle` more accurate?", 1),
)
# fmt: on


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
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    baseline: str = "elu",
    questions: Sequence[Question] = QUESTIONS,
) -> pd.DataFrame:
    """Student's paired t test for every planned comparison whose variants are there.

    For `epochs_to_baseline`, a run that never reached the target counts with its last epoch (or the
    other's, if that is later): a bound that understates how much slower it was. A pair of which
    neither reached it is left out.

    Args:
        runs: as in `summary.summarize`.
        curves: as in `summary.summarize`.
        baseline: as in `summary.summarize`.
        questions: the family of comparisons that Holm's correction covers.

    Returns:
        Columns question, metric, variant, reference, difference (the mean of variant - reference),
        half_width (of its 95% confidence interval), n_pairs, p_value, p_holm and distinguishable
        (p_holm < 0.05). The p-values are NaN where there are fewer than two pairs.

    Raises:
        InputError: as in `summary.summarize`.
    """
    prepared = with_convergence(runs, curves, baseline)
    by_variant = {name: group.set_index("seed") for name, group in prepared.groupby("variant")}
    rows = []
    for question in questions:
        if question.variant not in by_variant or question.reference not in by_variant:
            continue
        variant, reference = by_variant[question.variant], by_variant[question.reference]
        for metric in question.metrics:
            if metric == "mc_gain" and variant["mc_accuracy"].isna().all():
                continue
            if metric == "epochs_to_baseline" and baseline not in by_variant:
                continue
            differences = _differences(variant, reference, metric).dropna()
            mean, half_width = mean_confidence_interval(differences)
            names = (question.id, metric, question.variant, question.reference)
            p_value = _p_value(differences.to_numpy())
            rows.append((*names, mean, half_width, len(differences), p_value))
    columns = [
        "question",
        "metric",
        "variant",
        "reference",
        "difference",
        "half_width",
        "n_pairs",
        "p_value",
    ]
    tests = pd.DataFrame(rows, columns=columns)
    tests["p_holm"] = holm(tests["p_value"])
    tests["distinguishable"] = tests["p_holm"] < 0.05
    return tests


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
