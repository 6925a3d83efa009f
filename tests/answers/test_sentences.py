"""One answer in words: it says the interval that the verdict rests on, and nothing against it."""

import math

import pandas as pd
import pytest
from compared_runs import answer, make_run

from pipeline.answers import sentences
from pipeline.answers.sentences import Row
from pipeline.answers.summary import summarize
from pipeline.comparisons import Question

SPEED, CONVERGENCE = "median_epoch_seconds", "epochs_to_target"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (answer(), "+3.98 points (97.9% interval 2.10 to 5.86)"),
        (answer(effect=-0.0398, low=-0.0586, high=-0.021), "-3.98 points (97.9% interval -5.86 to"),
        (answer(effect=-0.00001, low=-0.01, high=0.02), "+0.00 points (97.9% interval -1.00 to 2"),
        (
            answer("worse", "distinct_units", effect=-99.0, low=-99.0, high=-99.0),
            "-99.00 units (the same in all seeds)",
        ),
        (
            answer("better", "zero_weights", effect=0.9, low=0.88, high=0.92),
            "+90.00 points (97.9% interval 88.00 to 92.00)",
        ),
        (
            answer("better", "highest_first_loss", effect=0.0004, low=0.0001, high=0.001),
            "0.0004 times as high (97.9% interval 0.0001 to 0.001)",
        ),
        (
            answer("worse", "highest_first_loss", effect=43210.0, low=1200.0, high=2e6),
            "43,200 times as high (97.9% interval 1,200 to 2,000,000)",
        ),
        (
            answer("worse", "highest_first_loss", effect=1.6e12, low=1200.0, high=3e82),
            "1.60e+12 times as high (97.9% interval 1,200 to 3.00e+82)",
        ),
        (answer("worse", "inference_microseconds"), "1.16 times as long"),
        (answer("worse", SPEED), "1.16 times as long (97.9% interval 1.12 to 1.20)"),
        (answer("worse", CONVERGENCE), "1.16 times as many epochs (97.9% interval 1.12 to 1.20)"),
        (answer(low=math.nan, high=math.nan, reason="fewer than 3 seeds"), "+3.98 points"),
        (answer("undecided", effect=math.nan, low=math.nan, high=math.nan, reason="none"), ""),
    ],
)
def test_effect_is_said_with_its_interval(given, said):
    assert sentences.effect(given).startswith(said)
    assert bool(said) == bool(sentences.effect(given))


@pytest.mark.parametrize(
    ("effect", "low", "high", "said"),
    [
        (2.0, 1.4, math.inf, "2.00 times as many epochs (97.9% interval at least 1.40 times)"),
        (0.5, 0.0, 0.7, "0.50 times as many epochs (97.9% interval at most 0.70 times)"),
        (2.0, 0.0, math.inf, "2.00 times as many epochs (97.9% interval unbounded)"),
        (math.inf, 1.4, math.inf, "at least 1.40 times (97.9% interval)"),
        (0.0, 0.0, 0.7, "at most 0.70 times (97.9% interval)"),
    ],
)
def test_a_ratio_without_an_end_is_said_by_the_other(effect, low, high, said):
    given = answer("undecided", CONVERGENCE, effect=effect, low=low, high=high)
    assert sentences.effect(given) == said


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        (answer(low=0.00001, high=0.05), "0.001 to 5.000"),  # better: holds no 0.00
        (answer("equal", low=-0.002, high=0.00996), "-0.200 to 0.996"),  # within 1 point
        (answer("equal", low=-0.00996, high=0.002), "-0.996 to 0.200"),
        (answer("worse", SPEED, low=1.002, high=1.2), "1.002 to 1.200"),
        (answer("equal", SPEED, low=0.99, high=1.0496), "0.9900 to 1.0496"),  # within 5%
        (answer("undecided", low=0.0, high=0.02), "0.00 to 2.00"),
    ],
)
def test_an_end_has_the_digits_that_it_takes_not_to_contradict_the_verdict(given, ends):
    assert f"interval {ends})" in sentences.effect(given)


@pytest.mark.parametrize(
    ("confidence", "said"),
    [(0.95, "95%"), (0.9, "90%"), (0.99999, "99.9%"), (1 - 0.05 / 8, "99.3%")],
)
def test_confidence_is_never_rounded_up(confidence, said):
    assert f"({said} interval" in sentences.effect(answer(confidence=confidence))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (answer(), "+3.98 points"),
        (answer("worse", effect=-0.02, low=-0.03, high=-0.01), "+2.00 points"),
        (answer("worse", SPEED, effect=1.25), "0.80 times as long"),
        (answer("better", SPEED, effect=0.5), "0.50 times as long"),
        (
            answer("worse", CONVERGENCE, effect=math.inf, low=1.25, high=math.inf),
            "at most 0.80 times (97.9% interval)",
        ),
    ],
)
def test_a_winner_is_ahead_whichever_way_round_was_asked(given, said):
    assert sentences.of_winner(given) == said


SIX = "about 6 seeds of each in all would probably decide it"


def test_a_better_model_has_its_interval_its_figures_and_its_price_of_the_winner_first():
    rows = {
        "bn": sentences.Row(variant="bn", seeds=3, test_accuracy=0.53, total_seconds=67.0),
        "elu": sentences.Row(variant="elu", seeds=12, test_accuracy=0.49, total_seconds=41.0),
    }
    figures = "Test accuracy 53.0% (3 seeds), in `elu` 49.0% (12 seeds). A training takes 67 s in "
    figures += "`bn` and 41 s in `elu` (means)."
    said = sentences.ahead(answer("better"), rows)
    assert said == f"97.9% interval: 2.10 to 5.86. {figures}"
    turned = Question(variant="elu", reference="bn", metric="test_accuracy")
    worse = answer("worse", question=turned, effect=-0.04, low=-0.0586, high=-0.021)
    assert sentences.ahead(worse, rows) == said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (answer("better", effect=0.009, low=0.0002, high=0.018), "the margin is 1 point."),
        (answer("better", effect=0.03, low=0.011, high=0.049), ""),
        (answer("worse", SPEED, effect=1.05, low=1.01, high=1.09), "the margin is 5%."),
        (answer("worse", SPEED, effect=1.13, low=1.08, high=1.18), ""),
    ],
)
def test_a_winner_that_may_be_ahead_by_too_little_to_matter_is_said_to(given, said):
    perhaps = f"It may be too little to matter: {said}" if said else ""
    assert sentences.within_margin(given) == perhaps
    assert perhaps in evidence_of(given, *runs_of())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": 6, "minutes": 13.2}, f"{SIX}, 14 more minutes of training"),
        ({"seeds": 6, "minutes": 0.2}, f"{SIX}, 1 more minute of training"),
        ({"seeds": 6, "minutes": 600.0}, f"{SIX}, 10 more hours of training"),
        ({"seeds": 6, "minutes": math.nan}, SIX),
        ({}, "not even 100 seeds of each would probably decide it"),
        ({"low": math.nan, "high": math.nan, "reason": "fewer than 3 seeds"}, ""),
    ],
)
def test_what_would_decide_a_question_is_said_with_its_cost(changes, said):
    found = sentences.to_decide(answer("undecided", **changes))
    assert found.startswith(said)
    assert (found == said) == (not said.endswith((" ", "minut", "hours")))


@pytest.mark.parametrize("ends", [(0.0, 1.2), (1.0, math.inf), (0.0, math.inf)])
def test_an_interval_without_an_end_does_not_say_that_no_seeds_would_do(ends):
    low, high = ends
    assert sentences.to_decide(answer("undecided", SPEED, low=low, high=high)) == ""


# The evidence


def evidence_of(given, *rows):
    """What an answer rests on, by runs that reached the target when they are made to."""
    timed = pd.DataFrame(rows).assign(target=1.5)
    summary = summarize(timed).to_dict("records")
    return sentences.evidence(given, {row["variant"]: Row(row) for row in summary})


def reached(variant, seed, epochs, **changes):
    run = make_run(variant, seed, **changes)
    return run | {"epochs_to_target": epochs, "seconds_to_target": 2.0 * epochs}


def runs_of(epochs=4.0, **changes):
    return [reached("elu", 1, 9.0), reached("bn", 1, epochs, **changes), reached("bn", 2, epochs)]


def test_accuracy_rests_on_that_of_both_with_their_seeds():
    said = evidence_of(answer(), *runs_of(test_accuracy=0.52))
    assert said == "Test accuracy 51.0% (2 seeds), in `elu` 50.0% (1 seed)."


def test_convergence_rests_on_medians_and_on_how_many_reached_the_target():
    given = answer(metric=CONVERGENCE)
    assert evidence_of(given, *runs_of()) == (
        "To the target, in the median: `bn` 4.0 epochs, 8.0 s (2 of 2 reached it), "
        "`elu` 9.0 epochs, 18.0 s (1 of 1 reached it)."
    )
    assert "`bn` not in most (0 of 2 reached it)" in evidence_of(given, *runs_of(math.nan))


def test_times_rest_on_those_of_both_in_pairs():
    runs = runs_of(median_epoch_seconds=3.0, train_seconds=18.0)
    assert evidence_of(answer("worse", SPEED), *runs) == (
        "An epoch takes 2.50 s in `bn` and 2.00 s in `elu` (medians); compared in 3 pairs of runs "
        "close in time."
    )
    assert evidence_of(answer("worse", "train_seconds"), *runs).startswith(
        "A training takes 15 s in `bn` and 12 s in `elu` (means); "
    )


def test_no_pairs_are_not_counted_but_the_reason_is_given():
    why = "no two undisturbed runs on the same processor"
    unknown = {"effect": math.nan, "low": math.nan, "high": math.nan, "sizes": (0, 0)}
    said = evidence_of(answer("undecided", SPEED, reason=why, **unknown), *runs_of())
    assert said.endswith(f"`elu` (medians). No interval: {why}.")


def test_mc_dropout_rests_on_accuracy_likelihood_and_calibration():
    question = Question(variant="bn", reference="bn", metric="mc_gain")
    mc = {"mc_accuracy": 0.505, "nll": 1.5, "mc_nll": 1.4, "ece": 0.07, "mc_ece": 0.02}
    rows = [reached("bn", seed, 4.0, **mc) for seed in (1, 2)]
    assert evidence_of(answer(question=question), *rows) == (
        "Test accuracy 50.5% with MC Dropout and 50.0% without (2 seeds). The negative "
        "log-likelihood goes from 1.500 to 1.400 and the expected calibration error from 0.070 to "
        "0.020 (described, not tested)."
    )


def test_equal_names_the_margin_and_undecided_what_would_decide():
    equal = evidence_of(answer("equal", effect=0.0, low=-0.005, high=0.005), *runs_of())
    assert equal.endswith(" The whole interval is within the margin of 1 point.")
    speed = evidence_of(answer("equal", SPEED, low=0.97, high=1.02), *runs_of())
    assert speed.endswith(" The whole interval is within the margin of 5%.")
    undecided = evidence_of(answer("undecided", seeds=6, minutes=14.0), *runs_of())
    assert undecided.endswith(
        " About 6 seeds of each in all would probably decide it, 14 more minutes of training."
    )
    assert "seeds of each" not in evidence_of(answer(), *runs_of())


def test_overfitting_rests_on_training_and_test_accuracy_of_both() -> None:
    logged = {"best_train_accuracy": 0.55, "generalization_gap": 0.05}
    runs = pd.DataFrame([make_run("elu", 1, **logged), make_run("bn", 1)])
    unknown = {"target": math.nan, "epochs_to_target": math.nan, "seconds_to_target": math.nan}
    rows = summarize(runs.assign(**unknown)).to_dict("records")
    given = answer(metric="generalization_gap", effect=-0.02, low=-0.03, high=-0.01)
    said = sentences.evidence(given, {row["variant"]: Row(row) for row in rows})
    assert said.startswith(
        "Training accuracy less test accuracy: \N{EN DASH} in `bn` (\N{EN DASH} and 50.0%), 5.00 "
        "points in `elu` (55.0% and 50.0%)."
    )
