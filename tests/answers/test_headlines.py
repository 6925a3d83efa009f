"""Who is called ahead: only those whom verdicts and the validation images call so."""

import pytest
from compared_runs import accuracies, answer, evidence_of, make_run

from pipeline.answers.headlines import Headline, headlines
from pipeline.comparisons import Question
from pipeline.comparisons.twenty_layers import COMPARISON

ELU, BN = [0.40, 0.41, 0.42], [0.501, 0.51, 0.519]


def quality(**values: list[float]) -> Headline:
    return evidence_of(accuracies(**values)).headlines[0]


def test_a_variant_that_wins_over_every_other_is_the_best() -> None:
    best = quality(elu=ELU, bn=BN)
    assert (best.metric, best.best, best.others, best.denied) == ("test_accuracy", "bn", (), ())
    assert [(one.winner, one.loser) for one in best.wins] == [("bn", "elu")]


def test_the_reference_can_win_too() -> None:
    best = quality(elu=BN, bn=ELU)
    assert (best.best, best.wins[0].winner, best.wins[0].loser) == ("elu", "elu", "bn")


def test_a_variant_that_was_not_compared_with_every_other_is_not_the_best() -> None:
    found = quality(elu=ELU, bn=BN, alpha_dropout=ELU)  # nothing is asked of the last and `bn`
    assert found.best is None
    assert [one.winner for one in found.wins] == ["bn"]


def test_nobody_is_ahead_without_a_verdict() -> None:
    found = quality(elu=[0.47, 0.49, 0.45], bn=[0.48, 0.47, 0.48])
    assert (found.best, found.wins, len(found.others)) == (None, (), 1)


def test_a_single_run_of_each_is_ahead_of_nobody() -> None:
    for headline in evidence_of(accuracies(elu=[0.4], bn=[0.5])).headlines:
        assert (headline.best, headline.wins) == (None, ())


@pytest.mark.parametrize(("validation", "denied"), [(0.6, 0), (0.5, 1), (0.4, 1)])
def test_a_winner_on_the_test_images_has_to_be_ahead_on_those_of_validation(
    validation: float, denied: int
) -> None:
    rows = [make_run("elu", 1), make_run("bn", 1, best_val_accuracy=validation)]
    found = evidence_of(rows)
    (headline,) = headlines([answer()], found.timed)
    assert (len(headline.denied), len(headline.wins)) == (denied, 1 - denied)
    assert headline.best == (None if denied else "bn")


def test_validation_denies_nobody_that_converges_faster() -> None:
    timed = evidence_of([make_run("elu", 1), make_run("bn", 1, best_val_accuracy=0.1)]).timed
    (headline,) = headlines([answer(metric="epochs_to_target", effect=0.5)], timed)
    assert (headline.denied, headline.best) == ((), "bn")


def test_metrics_that_nothing_is_asked_about_have_no_headline() -> None:
    asked = [Question(variant="bn", reference="elu", metric="median_epoch_seconds")]
    rows = accuracies(elu=ELU, bn=BN)
    assert [one.metric for one in evidence_of(rows, questions=asked).headlines] == [
        "median_epoch_seconds"
    ]
    assert evidence_of(accuracies(bn=BN)).headlines == []


def test_every_question_of_a_metric_is_in_one_place() -> None:
    found = evidence_of(accuracies(elu=ELU, bn=BN, selu=ELU, alpha_dropout=ELU, one_cycle=BN))
    for headline in found.headlines:
        of = [*headline.wins, *headline.denied, *headline.others]
        asked = [one for one in COMPARISON.asked if one.metric == headline.metric]
        assert sorted(one.question.id for one in of) == sorted(one.id for one in asked)


def test_less_between_training_and_test_accuracy_overfits_less() -> None:
    gaps = {"elu": [0.05, 0.051, 0.052], "bn": [0.01, 0.011, 0.012]}
    rows = [
        make_run(name, seed, generalization_gap=gap)
        for name, of in gaps.items()
        for seed, gap in enumerate(of, start=1)
    ]
    asked = [Question(variant="elu", reference="bn", metric="generalization_gap")]
    (found,) = evidence_of(rows, questions=asked).headlines
    assert (found.metric, found.best) == ("generalization_gap", "bn")
    assert evidence_of([make_run("elu", 1), make_run("bn", 1)], questions=asked).answers[0].reason
