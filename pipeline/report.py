"""Which variant is better, converges faster and trains faster: statistics and answers in words.

The comparisons are planned (`QUESTIONS`), the runs are paired by seed, and Holm's correction covers
all the tests together, so that a sentence claims no more than the data shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import InputError

MISSING = "\u2013"  # an en dash

RUN_COLUMNS = [
    "run_id",
    "variant",
    "seed",
    "learning_rate",
    "best_epoch",
    "best_val_loss",
    "best_val_accuracy",
    "test_accuracy",
    "median_epoch_seconds",
    "train_seconds",
]
OPTIONAL_COLUMNS = ["mc_accuracy", "mc_nll", "mc_ece", "nll", "ece", "capped"]
CURVE_COLUMNS = ["run_id", "epoch", "val_loss", "elapsed_seconds"]


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


@dataclass(frozen=True)
class Answer:
    """A question and its answer, in words."""

    question: str
    answer: str


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
    if known.size == 0:
        return float("nan"), float("nan")
    if known.size == 1:
        return float(known[0]), float("nan")
    quantile = stats.t.ppf((1 + confidence) / 2, known.size - 1)
    half_width = quantile * known.std(ddof=1) / np.sqrt(known.size)
    return float(known.mean()), float(half_width)


def epochs_to_reach(curves: pd.DataFrame, target_val_loss: float) -> pd.Series:
    """The first epoch (from 1) of each run with `val_loss` at or below the target; NaN if never."""
    return _when_reached(curves, target_val_loss, "epoch")


def seconds_to_reach(curves: pd.DataFrame, target_val_loss: float) -> pd.Series:
    """The seconds until each run's `val_loss` was at or below the target; NaN if never."""
    return _when_reached(curves, target_val_loss, "elapsed_seconds")


def _when_reached(curves: pd.DataFrame, target: float, column: str) -> pd.Series:
    _require(curves, CURVE_COLUMNS, "curves")
    reached = curves[curves["val_loss"] <= target].sort_values("epoch").drop_duplicates("run_id")
    return reached.set_index("run_id")[column].astype(float).reindex(curves["run_id"].unique())


def summarize(runs: pd.DataFrame, curves: pd.DataFrame, baseline: str = "elu") -> pd.DataFrame:
    """One row per variant, in the order of first appearance.

    Args:
        runs: one row per finished training; see `RUN_COLUMNS` and, optionally, `OPTIONAL_COLUMNS`.
        curves: one row per run and epoch; see `CURVE_COLUMNS`.
        baseline: the variant whose best validation loss, averaged over its seeds, is the target
            of `epochs_to_baseline` and `seconds_to_baseline` (means over the runs that reached it,
            of which there are `reached_baseline`; all NaN without such a variant).

    Returns:
        Means over the seeds (`seconds_per_epoch`: the median), with `<column>_half_width` the
        half-width of the 95% confidence interval; accuracies are fractions. `capped` counts the
        runs that ended at their last permitted epoch.

    Raises:
        InputError: a table is empty, lacks a column, or has a variant's seed twice.
    """
    prepared = _prepare(runs, curves, baseline)
    return pd.DataFrame(
        [_summary_row(variant, group) for variant, group in prepared.groupby("variant", sort=False)]
    )


def _summary_row(variant: object, group: pd.DataFrame) -> dict[str, object]:
    row: dict[str, object] = {"variant": variant, "seeds": len(group)}
    for name, column in (
        ("learning_rate", "learning_rate"),
        ("best_epoch", "best_epoch"),
        ("val_accuracy", "best_val_accuracy"),
        ("test_accuracy", "test_accuracy"),
        ("mc_accuracy", "mc_accuracy"),
        ("total_seconds", "train_seconds"),
        ("epochs_to_baseline", "epochs_to_baseline"),
        ("seconds_to_baseline", "seconds_to_baseline"),
    ):
        row[name], row[f"{name}_half_width"] = mean_confidence_interval(group[column])
    row["seconds_per_epoch"] = group["median_epoch_seconds"].median()
    has_baseline = group["target"].notna().all()
    row["reached_baseline"] = group["epochs_to_baseline"].count() if has_baseline else float("nan")
    row["capped"] = group["capped"].astype(float).sum()
    return row | {name: group[name].mean() for name in ("nll", "mc_nll", "ece", "mc_ece")}


def _prepare(runs: pd.DataFrame, curves: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """The runs with the columns that the curves give: target, epochs and seconds to reach it."""
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
    missing = [column for column in OPTIONAL_COLUMNS if column not in runs]
    prepared = runs.assign(**dict.fromkeys(missing, float("nan")))
    target = prepared.loc[prepared["variant"] == baseline, "best_val_loss"].mean()
    return prepared.assign(
        target=target,
        epochs_to_baseline=prepared["run_id"].map(epochs_to_reach(curves, target)),
        seconds_to_baseline=prepared["run_id"].map(seconds_to_reach(curves, target)),
        last_epoch=prepared["run_id"].map(curves.groupby("run_id")["epoch"].max()),
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
        runs: as in `summarize`.
        curves: as in `summarize`.
        baseline: as in `summarize`.
        questions: the family of comparisons that Holm's correction covers.

    Returns:
        Columns question, metric, variant, reference, difference (the mean of variant - reference),
        half_width (of its 95% confidence interval), n_pairs, p_value, p_holm and distinguishable
        (p_holm < 0.05). The p-values are NaN where there are fewer than two pairs.

    Raises:
        InputError: as in `summarize`.
    """
    prepared = _prepare(runs, curves, baseline)
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


def answers(
    summary: pd.DataFrame, tests: pd.DataFrame, questions: Sequence[Question] = QUESTIONS
) -> list[Answer]:
    """The planned questions that the tests cover, each answered from the figures.

    Args:
        summary: from `summarize`.
        tests: from `paired_tests`, of the same runs.
        questions: the questions that were tested.
    """
    rows = {row["variant"]: row for row in summary.to_dict("records")}
    found = []
    for question in questions:
        own = tests[tests["question"] == question.id].to_dict("records")
        if own:
            sentences = [_sentence(test, rows) for test in own]
            verdict = _verdict(own, question.wanted)
            found.append(Answer(question.text, " ".join([*verdict, *sentences])))
    return found


def _verdict(tests: Sequence[Mapping], wanted: int) -> list[str]:
    if not wanted:
        return []
    if all(np.isnan(test["p_holm"]) for test in tests):
        return ["No test is possible."]
    signs = [int(np.sign(test["difference"])) for test in tests if test["distinguishable"]]
    if not signs:
        return ["Not distinguishable."]
    if len(signs) < len(tests) or len(set(signs)) > 1:
        return ["In part."]
    return ["Yes." if signs[0] == wanted else "No, the contrary."]


def _sentence(test: Mapping, rows: Mapping[str, Mapping]) -> str:
    variant, reference = rows[test["variant"]], rows[test["reference"]]
    single = variant["seeds"] == reference["seeds"] == 1
    match test["metric"]:
        case "mc_gain":
            return _mc_sentence(variant, _finding(test, single, "higher", "lower", 100, "points"))
        case "epochs_to_baseline":
            finding = _finding(test, single, "later", "sooner", 1, "epochs")
            return _convergence_sentence(variant, reference, finding)
        case "median_epoch_seconds":
            finding = _finding(test, single, "longer", "shorter", 1, "s")
            return _speed_sentence(variant, reference, finding)
        case metric:
            column = metric.removeprefix("best_")
            finding = _finding(test, single, "higher", "lower", 100, "points")
            return (
                f"{column.replace('_', ' ').replace('val', 'validation').capitalize()} "
                f"{_percent(variant, column)} ({_seeds(variant)}), `{reference['variant']}` "
                f"{_percent(reference, column)} ({_seeds(reference)}): {finding}."
            )


def _finding(test: Mapping, single: bool, more: str, less: str, scale: int, unit: str) -> str:
    """What the test of a difference shows, and no more than that."""
    pairs, difference = test["n_pairs"], scale * test["difference"]
    if pairs == 0:
        return "no two runs to pair, so no test is possible"
    if pairs == 1:
        why = "one seed" if single else "only one pair of runs"
        return f"a difference of {difference:+.2f} {unit}, but {why}: no test is possible"
    spread = f"\N{PLUS-MINUS SIGN} {scale * test['half_width']:.2f} {unit}"
    p_holm = "< 0.001" if test["p_holm"] < 0.001 else f"= {test['p_holm']:.3f}"
    evidence = f"{pairs} paired seeds, Holm-corrected p {p_holm}"
    if not test["distinguishable"]:
        return f"not distinguishable, a difference of {difference:+.2f} {spread} ({evidence})"
    direction = more if difference > 0 else less
    return f"{direction} by {abs(difference):.2f} {spread} ({evidence})"


def _mc_sentence(variant: Mapping, finding: str) -> str:
    def change(name: str) -> str:
        return f"{_number(variant[name], 3)} to {_number(variant[f'mc_{name}'], 3)}"

    return (
        f"Test accuracy {_percent(variant, 'mc_accuracy')} with MC Dropout and "
        f"{_percent(variant, 'test_accuracy')} without ({_seeds(variant)}): {finding}. "
        f"The negative log-likelihood goes from {change('nll')} and the expected calibration error "
        f"from {change('ece')} (means, not tested)."
    )


def _convergence_sentence(variant: Mapping, reference: Mapping, finding: str) -> str:
    def reach(row: Mapping) -> str:
        if not row["reached_baseline"]:
            return f"`{row['variant']}` never (0 of {_seeds(row)})"
        epochs = _spread(row, "epochs_to_baseline", 1)
        seconds = _spread(row, "seconds_to_baseline", 1)
        count = f"{row['reached_baseline']:.0f} of {_seeds(row)}"
        return f"`{row['variant']}` after {epochs} epochs, {seconds} s ({count})"

    note = ""
    if min(row["reached_baseline"] - row["seeds"] for row in (variant, reference)) < 0:
        note = " A run that never reached it is tested with its last epoch, a bound in its favour."
    return (
        f"The baseline's best validation loss is reached by {reach(variant)}, and by "
        f"{reach(reference)}: {finding}.{note}"
    )


def _speed_sentence(variant: Mapping, reference: Mapping, finding: str) -> str:
    def ratio(column: str) -> str:
        return f"{_number(np.divide(variant[column], reference[column]), 2)} times"

    def total(row: Mapping) -> str:
        return f"{_spread(row, 'total_seconds', 0)} s"

    return (
        f"An epoch takes {_number(variant['seconds_per_epoch'], 2)} s, in "
        f"`{reference['variant']}` {_number(reference['seconds_per_epoch'], 2)} s "
        f"({ratio('seconds_per_epoch')}): {finding}. The whole training takes {total(variant)}, in "
        f"`{reference['variant']}` {total(reference)} ({ratio('total_seconds')}; "
        f"{_seeds(variant)} and {_seeds(reference)}, not tested)."
    )


def _seeds(row: Mapping) -> str:
    return f"{row['seeds']} seed" + ("s" if row["seeds"] != 1 else "")


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else MISSING


def _spread(row: Mapping, column: str, digits: int, scale: int = 1) -> str:
    """The mean and, where it is known, the half-width of its confidence interval."""
    mean, half_width = scale * row[column], scale * row[f"{column}_half_width"]
    if np.isnan(mean) or np.isnan(half_width):
        return _number(mean, digits)
    return f"{mean:.{digits}f} \N{PLUS-MINUS SIGN} {half_width:.{digits}f}"


def _percent(row: Mapping, column: str) -> str:
    return MISSING if np.isnan(row[column]) else f"{_spread(row, column, 1, scale=100)}%"


def format_table(summary: pd.DataFrame) -> list[list[str]]:
    """The summary as text: the header, then a row per variant; an en dash where there is nothing.

    Args:
        summary: from `summarize`.
    """
    header = (
        "Variant|Seeds|Learning rate|Best epoch|Val accuracy|Test accuracy|MC accuracy|s/epoch|"
        "Total s|Epochs to baseline's best loss"
    )
    return [header.split("|"), *(_table_row(row) for row in summary.to_dict("records"))]


def _table_row(row: Mapping) -> list[str]:
    reached = MISSING
    if not np.isnan(row["reached_baseline"]):
        epochs = _number(row["epochs_to_baseline"], 1)
        reached = f"{epochs} ({row['reached_baseline']:.0f} of {row['seeds']})"
    return [
        str(row["variant"]),
        str(row["seeds"]),
        MISSING if np.isnan(row["learning_rate"]) else f"{row['learning_rate']:.3g}",
        _number(row["best_epoch"], 1),
        *(_percent(row, column) for column in ("val_accuracy", "test_accuracy", "mc_accuracy")),
        _number(row["seconds_per_epoch"], 2),
        _number(row["total_seconds"], 0),
        reached,
    ]


def markdown_table(summary: pd.DataFrame) -> str:
    """`format_table` as a Markdown table, the figures aligned to the right."""
    return _markdown(format_table(summary))


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *body))


def markdown_report(summary: pd.DataFrame, tests: pd.DataFrame, answers: Sequence[Answer]) -> str:
    """The comparison as a Markdown page: the table, the answers and the tests behind them."""
    header = ["Question", "Metric", "Difference", "Pairs", "p", "p (Holm)", "Distinguishable"]
    rows = [header]
    for row in tests.to_dict("records"):
        numbers = [_spread(row | {"difference_half_width": row["half_width"]}, "difference", 4)]
        numbers += [str(row["n_pairs"]), _probability(row["p_value"]), _probability(row["p_holm"])]
        rows.append([row["question"], row["metric"], *numbers, _yes_or_no(row)])
    sections = [
        "## Comparison",
        markdown_table(summary),
        "\N{PLUS-MINUS SIGN}: half the width of the 95% confidence interval of the mean over seeds "
        "(Student's t).",
    ]
    capped = [
        f"`{row['variant']}` {row['capped']:.0f} of {row['seeds']}"
        for row in summary.to_dict("records")
        if row["capped"]
    ]
    if capped:
        sections += [f"Ended at the last permitted epoch, not stopped early: {', '.join(capped)}."]
    sections += [f"**{answer.question}** {answer.answer}" for answer in answers]
    if len(rows) > 1:
        sections += ["## Tests", _markdown(rows)]
        sections += ["Paired by seed; p corrected over all these tests by Holm's method."]
    return "\n\n".join(sections) + "\n"


def _probability(p_value: float) -> str:
    return "< 0.0001" if p_value < 0.0001 else _number(p_value, 4)


def _yes_or_no(test: Mapping) -> str:
    if np.isnan(test["p_holm"]):
        return MISSING
    return "yes" if test["distinguishable"] else "no"
