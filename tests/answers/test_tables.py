"""Figures in tables: with their spread, a dash for nothing, and never for what was not reached."""

import io
import math

import numpy as np
import pandas as pd
from compared_runs import COMPARED_VARIANTS, answer, evidence_of, five_variants, make_run

from pipeline.answers import tables

ENSEMBLES = pd.DataFrame(
    [
        ["elu", "one seed", 2, 0.5, 1.5, 0.07],
        ["elu", "ensemble", 2, 0.534, 1.4, 0.03],
        ["bn", "one seed", 1, 0.51, 1.45, 0.06],
    ],
    columns=["variant", "model", "seeds", "accuracy", "nll", "ece"],
)


def test_summary_shows_percent_with_spread_and_a_dash_for_nothing():
    rows = [make_run("elu", 1, best_val_accuracy=0.40), make_run("elu", 2, best_val_accuracy=0.42)]
    header, row = tables.summary_table(evidence_of(rows))
    assert header == [
        *["Variant", "Seeds", "Learning rate", "Best epoch", "Val accuracy", "Test accuracy"],
        *["s/epoch", "s/training", "Epochs to target"],
    ]
    half_width = 12.706 * 100 * 0.01  # the standard error of 0.40 and 0.42 is 0.01
    assert row == [
        *["elu", "2", "0.001", "5.0", f"41.0 \u00b1 {half_width:.1f}%", "50.0 \u00b1 0.0%"],
        *["2.00", "12", "5.0 (2 of 2)"],
    ]


def test_summary_has_what_only_some_runs_logged_and_a_dash_for_the_others():
    logged = {"best_train_accuracy": 0.61, "test_precision": 0.523, "mc_accuracy": 0.51}
    rows = [make_run("elu", 1), make_run("bn", 1, **logged)]
    header, *of_each = tables.summary_table(evidence_of(rows))
    elu, bn = (dict(zip(header, of, strict=True)) for of in of_each)
    for name, share in {"Train": "61.0%", "MC": "51.0%"}.items():
        assert (elu[f"{name} accuracy"], bn[f"{name} accuracy"]) == (tables.MISSING, share)
    assert (elu["Test precision"], bn["Test precision"]) == (tables.MISSING, "52.3%")
    assert header.index("Train accuracy") + 1 == header.index("Val accuracy")


def test_summary_says_never_where_most_runs_did_not_reach_the_target():
    rows = [make_run("elu", 1), *(make_run("bn", seed) for seed in (1, 2, 3))]
    losses = {"bn-1": [1.6, 1.5], "bn-2": [1.9], "bn-3": [1.9]}
    _, elu, bn = tables.summary_table(evidence_of(rows, losses))
    assert (elu[-1], bn[-1]) == ("5.0 (1 of 1)", "not in most (1 of 3)")


def test_summary_has_a_dash_for_epochs_to_a_target_that_there_is_not():
    assert tables.summary_table(evidence_of([make_run("selu", 1)]))[1][-1] == tables.MISSING


def test_ensembles_are_a_column_of_the_summary_and_a_table_of_their_own():
    rows = [make_run("elu", 1), make_run("elu", 2), make_run("bn", 1)]
    found = evidence_of(rows, ensembles=ENSEMBLES)
    header, elu, bn = tables.summary_table(found)
    assert header[6] == "Ensemble"
    assert (elu[6], bn[6]) == ("53.4%", tables.MISSING)
    assert len(header) == len(elu) == 10
    assert tables.ensembles_table(found)[:2] == [
        ["Variant", "Model", "Seeds", "Accuracy", "NLL", "ECE"],
        ["elu", "one seed", "2", "50.0%", "1.500", "0.070"],
    ]


def test_answers_have_a_row_each_with_what_the_verdict_rests_on():
    found = evidence_of(five_variants([1, 2, 3]))
    header, *rows = tables.answers_table(found)
    assert len(rows) == len(found.answers) == 11
    bn = dict(zip(header, rows[0], strict=True))
    assert bn | {"Effect": "", "Interval": ""} == {
        "Compared": "bn over elu",
        "Metric": "test_accuracy",
        "Role": "primary",
        "Verdict": "better",
        "Effect": "",
        "Interval": "",
        "Confidence": "99.8%",
        "Margin": "1 point",
        "Runs": "3",
        "Seeds to decide": tables.MISSING,
    }
    assert rows[-1][0] == "one_cycle with MC Dropout"


def test_answers_without_a_verdict_or_an_interval_have_dashes():
    nothing = {"low": math.nan, "high": math.nan, "sizes": (0, 0)}
    found = evidence_of([make_run("elu", 1)])
    found.answers = [answer(None, "train_seconds", effect=math.nan, **nothing)]
    found.answers += [answer("undecided", sizes=(3, 5), seeds=7)]
    _, described, undecided = tables.answers_table(found)
    assert described[3:] == [*["\u2013"] * 4, "10%", "\u2013", "\u2013"]
    assert undecided[-2:] == ["3 and 5", "7"]


def test_frame_of_the_answers_has_their_values():
    found = evidence_of(five_variants([1, 2, 3]))
    frame = tables.answers_frame(found.answers)
    assert frame["question"].tolist() == [one.question.id for one in found.answers]
    np.testing.assert_array_equal(frame["low"], [one.low for one in found.answers])
    assert set(frame["variant"]) == set(COMPARED_VARIANTS[1:])
    again = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
    assert again["verdict"][0] == "better"
    assert again[["runs", "reference_runs"]].iloc[0].tolist() == [3, 3]
    assert list(tables.answers_frame([])) == list(frame)  # a header, also of nothing


def test_times_have_two_digits_however_short_an_epoch_is():
    row = {"seconds_per_epoch": 0.00634, "total_seconds": 0.0951}
    shown = [tables.figure(row, name) for name in row]
    assert shown == ["0.0063", "0.095"]
    row = {"seconds_per_epoch": 1.346, "total_seconds": 83.7}
    assert [tables.figure(row, name) for name in row] == ["1.35", "84"]
