"""Verdicts on questions, and who is called first, as values."""

import pytest
from compared_runs import compare_accuracies, evidence_of, make_run

from pipeline.answers.verdicts import Evidence, Verdict
from pipeline.comparisons import Question

NOISE = [0.001, -0.001, 0.0, 0.0005, -0.0005, 0.001, -0.001, 0.0, 0.0]


def accuracies(**by_variant: list[float]) -> list[dict]:
    return [
        make_run(variant, seed, test_accuracy=value, best_val_accuracy=value)
        for variant, values in by_variant.items()
        for seed, value in enumerate(values, start=1)
    ]


def asked(bn: list[float], metric: str | tuple[str, ...] = "test_accuracy", **more) -> Evidence:
    question = Question(variant="bn", reference="elu", metric=metric, **more)
    return evidence_of(accuracies(elu=[0.5] * len(bn), bn=bn), questions=[question])


def verdict(bn: list[float], **more) -> Verdict | None:
    (answer,) = asked(bn, **more).answers
    return answer.verdict


@pytest.mark.parametrize(
    ("shift", "margin", "expected"),
    [
        (0.03, 0, Verdict.YES),
        (-0.03, 0, Verdict.CONTRARY),
        (0.0, 0, Verdict.NOT_DISTINGUISHABLE),
        (0.0, 0.01, Verdict.EQUAL),
        (0.004, 0.01, Verdict.EQUAL),  # distinguishable, but too small to matter
        (0.0, 0.0005, Verdict.NOT_DISTINGUISHABLE),
        (0.0099, 0.01, Verdict.YES),  # part of the interval is beyond the margin
        (-0.03, 0.01, Verdict.CONTRARY),
    ],
)
def test_verdict_follows_from_the_interval_and_the_margin(shift, margin, expected):
    assert verdict([0.5 + shift + noise for noise in NOISE], margin=margin) == expected


def test_a_metric_of_which_less_is_better_turns_the_verdict_round():
    rows = [make_run("elu", seed, median_epoch_seconds=2 + seed / 100) for seed in range(9)]
    rows += [make_run("bn", seed, median_epoch_seconds=1 + seed / 90) for seed in range(9)]
    question = Question(variant="bn", reference="elu", metric="median_epoch_seconds")
    (answer,) = evidence_of(rows, questions=[question]).answers
    assert (answer.verdict, answer.winner) == (Verdict.YES, "bn")


def test_without_two_pairs_no_test_is_possible_whatever_the_margin():
    assert verdict([0.5], margin=0.1) == Verdict.NO_TEST


def test_seeds_that_agree_to_the_last_digit_show_no_equality():
    assert verdict([0.502] * 9, margin=0.01) == Verdict.YES
    assert verdict([0.502] * 2, margin=0.01) == Verdict.NOT_DISTINGUISHABLE


def test_a_question_that_asks_for_figures_has_no_verdict():
    assert verdict([0.53 + noise for noise in NOISE], describes=True) is None


def test_metrics_that_disagree_are_answered_in_part():
    rows = [make_run("elu", seed) for seed in range(9)]
    rows += [make_run("bn", seed, test_accuracy=0.53 + NOISE[seed]) for seed in range(9)]
    both = Question(variant="bn", reference="elu", metric=("best_val_accuracy", "test_accuracy"))
    (answer,) = evidence_of(rows, questions=[both]).answers
    assert answer.verdict == Verdict.PART
    assert answer.winner is None


def test_winner_is_the_variant_that_is_ahead_beyond_noise():
    better, worse, same = ([0.5 + shift + one for one in NOISE] for shift in (0.03, -0.03, 0))
    assert [asked(bn).answers[0].winner for bn in (better, worse, same)] == ["bn", "elu", None]


# The headlines


def test_a_clear_lead_is_proven():
    best, *_ = evidence_of(accuracies(elu=[0.40, 0.41, 0.42], bn=[0.501, 0.51, 0.519])).headlines
    assert (best.metric, best.leaders, best.proven) == ("test_accuracy", ("bn",), True)
    assert (best.ahead_of, best.level_with) == (("elu",), ())


def test_a_lead_over_some_names_those_that_it_is_not_told_apart_from():
    rows = accuracies(elu=[0.4, 0.41, 0.42], bn=[0.501, 0.51, 0.519], selu=[0.46, 0.52, 0.53])
    best, *_ = evidence_of(rows).headlines
    assert (best.ahead_of, best.level_with, best.proven) == (("elu",), ("selu",), False)


def test_a_lead_that_the_planned_tests_do_not_bear_out_is_not_claimed():
    found = evidence_of(accuracies(elu=[0.40, 0.41, 0.42], bn=[0.43, 0.445, 0.465]))
    planned = found.tests.set_index("metric").loc["test_accuracy"]
    assert planned["p_value"] < 0.05 <= planned["p_holm"]  # alone it would be distinguishable
    best, *_ = found.headlines
    assert (best.leaders, best.proven, best.level_with) == (("bn",), False, ("elu",))


def test_all_pairs_are_corrected_for_also_where_no_test_was_planned():
    values = {name: [0.4, 0.41, 0.42] for name in ("elu", "bn", "selu", "alpha_dropout")}
    rows = accuracies(**values, one_cycle=[0.42, 0.425, 0.445])  # p = 0.02 against each
    best, *_ = evidence_of(rows).headlines
    assert best.leaders == ("one_cycle",)
    assert best.level_with == ("elu", "bn", "selu", "alpha_dropout")


def test_variants_that_are_level_are_both_first():
    best, *_ = evidence_of(accuracies(elu=[0.40, 0.42], bn=[0.42, 0.40])).headlines
    assert (best.leaders, best.ahead_of, best.level_with) == (("elu", "bn"), (), ())
    assert not best.proven


def test_one_seed_is_no_test():
    for headline in evidence_of(accuracies(elu=[0.4], bn=[0.5])).headlines:
        assert not headline.tested
        assert not headline.proven


def test_the_one_that_more_seeds_got_there_with_converges_fastest():
    rows = [make_run(variant, seed) for variant in ("elu", "bn") for seed in (1, 2, 3)]
    losses = {f"elu-{seed}": [1.9, 1.8, 1.7, 1.6, 1.5] for seed in (1, 2, 3)}
    losses |= {"bn-1": [1.4], "bn-2": [1.9] * 5, "bn-3": [1.9] * 5}  # fast, but once only
    _, converges, _ = evidence_of(rows, losses).headlines
    assert converges.leaders == ("elu",)


def test_a_comparison_without_the_baseline_has_no_headline_on_convergence():
    found = evidence_of(accuracies(bn=[0.4, 0.41], selu=[0.5, 0.52]))
    assert [one.metric for one in found.headlines] == ["test_accuracy", "median_epoch_seconds"]


def test_answers_are_made_once_for_all_that_show_them():
    _, tests, _ = compare_accuracies({1: 0.4, 2: 0.5}, {1: 0.5, 2: 0.61})
    found = evidence_of(accuracies(elu=[0.4, 0.5], bn=[0.5, 0.61]))
    assert tests.equals(found.tests)
    assert sum(len(answer.tests) for answer in found.answers) == len(found.tests)
