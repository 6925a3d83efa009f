"""What each metric makes of the runs."""

import math
from typing import Any

import numpy as np
import pytest

from pipeline.answers.intervals import CensoredRatio, Errors, Estimate, MeanDifference
from pipeline.answers.measured import estimates
from pipeline.comparisons import Question

HOUR = 3600_000


def runs(count: int, **columns: Any) -> dict[str, np.ndarray]:
    """Columns of a variant's runs, which began together, alone on one processor."""
    usual = {
        "test_accuracy": 0.5,
        "mc_accuracy": math.nan,
        "median_epoch_seconds": 2.0,
        "train_seconds": 60.0,
        "started": 0,
        "processor": "EPYC",
        "disturbed": False,
        "target": 1.5,
        "epochs_to_target": 5.0,
        "last_epoch": 30,
    }
    return {name: np.resize(np.asarray(of), count) for name, of in {**usual, **columns}.items()}


def measured(metric: str, bn: dict[str, np.ndarray], elu: dict[str, np.ndarray]) -> Estimate | str:
    reference = "bn" if metric == "mc_gain" else "elu"
    question = Question(variant="bn", reference=reference, metric=metric)
    (found,) = estimates([question], {"elu": elu, "bn": bn}, {question.id: 0.25})
    return found


def difference(
    metric: str, bn: dict[str, np.ndarray], elu: dict[str, np.ndarray]
) -> MeanDifference:
    found = measured(metric, bn, elu)
    assert isinstance(found, MeanDifference)
    return found


def test_accuracy_is_a_difference_of_means_that_images_move() -> None:
    found = difference(
        "test_accuracy",
        runs(4, test_accuracy=[0.52, 0.54]),
        runs(3, test_accuracy=[0.49, 0.5, 0.51]),
    )
    assert found.effect == pytest.approx(0.03)
    assert found.sizes == (4, 3)
    assert found.image_variance == 0.25


@pytest.mark.parametrize(
    ("third", "expected"),
    [
        ([0.497, 0.5, 0.503, 0.499, 0.501], ((4 * 5e-6 + 4 * 1e-6) / 8, 8)),
        ([0.3, 0.5, 0.7, 0.4, 0.6], (1e-6, 4)),  # as a network that barely trains
        ([0.1, 0.1, 0.1], (1e-6, 4)),  # as one that stays at chance; NumPy's variance is 2.9e-34
    ],
)
def test_spread_of_an_accuracy_is_never_below_what_is_usual(
    third: list[float], expected: tuple[float, int]
) -> None:
    question = Question(variant="bn", reference="elu", metric="test_accuracy")
    calm = runs(3, test_accuracy=[0.5, 0.501, 0.502])
    every = {"elu": calm, "bn": calm, "selu": runs(len(third), test_accuracy=third)}
    (found,) = estimates([question], every, {})
    assert isinstance(found, MeanDifference)
    assert found.samples == (pytest.approx(expected), pytest.approx(expected))


def test_networks_at_chance_are_no_floor_however_many_they_are() -> None:
    question = Question(variant="bn", reference="elu", metric="test_accuracy")
    calm, chance = runs(3, test_accuracy=[0.5, 0.501, 0.502]), runs(3, test_accuracy=[0.1])
    every = {"elu": calm, "bn": calm} | dict.fromkeys("abcde", chance)
    (found,) = estimates([question], every, {})
    assert isinstance(found, MeanDifference)
    assert found.samples == (pytest.approx((1e-6, 4)),) * 2


def test_what_is_counted_is_as_certain_as_its_own_seeds_agree() -> None:
    question = Question(variant="bn", reference="elu", metric="distinct_units")
    every = {
        "elu": runs(3, distinct_units=[100.0, 100.0, 100.0]),
        "bn": runs(3, distinct_units=[1.0, 1.0, 1.0]),
        "selu": runs(3, distinct_units=[40.0, 70.0, 55.0]),
    }
    (found,) = estimates([question], every, {})
    assert isinstance(found, MeanDifference)
    assert found.interval(Errors(0.001, 0.05)) == (-99.0, -99.0)


def test_two_variants_that_train_the_same_network_differ_by_nothing_for_sure() -> None:
    elu = runs(4, seed=[1, 2, 3, 4], test_accuracy=[0.5, 0.6, 0.4, 0.3], test_loss=[1, 2, 3, 4])
    same = runs(3, seed=[3, 1, 2], test_accuracy=[0.4, 0.5, 0.6], test_loss=[3, 1, 2])
    found = difference("test_accuracy", same, elu)
    assert found.sizes == (3, 3)
    assert found.interval(Errors(0.001, 0.001)) == (0.0, 0.0)


@pytest.mark.parametrize("losses", [[1.0, 2.0, 3.1], [math.nan] * 3])
def test_as_many_right_is_not_yet_the_same_network(losses: list[float]) -> None:
    elu = runs(3, seed=[1, 2, 3], test_accuracy=[0.5, 0.6, 0.4], test_loss=losses)
    other = elu | {"test_loss": np.where(np.isnan(losses), math.nan, [1.0, 2.0, 3.0])}
    low, high = difference("test_accuracy", other, elu).interval(Errors(0.001, 0.001))
    assert low < 0 < high


def test_gain_of_mc_dropout_is_within_each_run() -> None:
    bn = runs(4, test_accuracy=[0.4, 0.5, 0.6, 0.7], mc_accuracy=[0.41, 0.52, 0.63, math.nan])
    found = difference("mc_gain", bn, runs(1))
    assert found.effect == pytest.approx(0.02)
    assert found.sizes == (3, 3)
    assert found.samples[0].variance == pytest.approx(0.0001)


def test_a_variant_without_dropout_has_no_gain() -> None:
    assert measured("mc_gain", runs(3), runs(3)) == "no run of it has MC Dropout"


# Times


def test_times_are_ratios_of_runs_that_are_nearest_in_time() -> None:
    minutes = 60_000 * np.array([0, 10, 20])
    bn = runs(3, median_epoch_seconds=[2.0, 4.0, 6.0], started=minutes)
    # In another order, the machine three times as slow in the end as at the beginning.
    elu = runs(3, median_epoch_seconds=[3.0, 1.0, 2.0], started=minutes[[2, 0, 1]] + 1000)
    found = difference("median_epoch_seconds", bn, elu)
    assert math.exp(found.effect) == pytest.approx(2)
    assert found.samples[0].variance == pytest.approx(0)
    assert found.image_variance == 0  # test images have no part in a time


def test_times_on_different_processors_are_not_compared() -> None:
    bn, elu = runs(3, processor=["EPYC", "EPYC", "Xeon"]), runs(3, processor="Xeon")
    assert difference("train_seconds", bn, elu).sizes == (1, 1)
    bn = runs(3, processor="EPYC")
    assert measured("train_seconds", bn, elu) == "no two undisturbed runs on the same processor"


def test_times_of_runs_without_a_processor_are_not_compared() -> None:
    unknown = runs(3, processor="")
    assert isinstance(measured("train_seconds", unknown, unknown), str)


def test_a_disturbed_run_is_left_out_with_its_time() -> None:
    bn = runs(4, median_epoch_seconds=[2.2, 2.2, 2.2, 20.0], disturbed=[False, False, False, True])
    found = difference("median_epoch_seconds", bn, runs(4))
    assert found.sizes == (3, 3)
    assert math.exp(found.effect) == pytest.approx(1.1)


def test_runs_of_different_hours_are_not_compared() -> None:
    later = runs(3, started=2 * HOUR)
    assert measured("train_seconds", later, runs(3)) == "the runs were more than an hour apart"
    bn = runs(3, started=[0, 2 * HOUR, 5 * HOUR], train_seconds=[120, 60, 60])
    elu = runs(3, started=[3 * HOUR - 1000, 8 * HOUR, 60_000])
    found = difference("train_seconds", bn, elu)
    assert found.sizes == (2, 2)
    assert found.effect == pytest.approx(math.log(2) / 2)


def test_runs_of_other_hours_take_no_pair_from_those_of_one_hour() -> None:
    # In order of time, as the sum of all gaps is least, no pair or a worse one would be left.
    bn = runs(2, started=[0, 9 * HOUR + 600_000], train_seconds=[60, 120])
    for later in (1.5, 0.5):
        elu = runs(2, started=[9 * HOUR, (9 + later) * HOUR], train_seconds=[60, 90])
        found = difference("train_seconds", bn, elu)
        assert found.sizes == (1, 1)
        assert found.effect == pytest.approx(math.log(2))


# Convergence


def test_convergence_is_a_ratio_of_medians_of_which_never_is_the_latest() -> None:
    bn = runs(4, epochs_to_target=[4, 5, 6, math.nan], last_epoch=[30, 30, 30, 25])
    found = measured("epochs_to_target", bn, runs(3, epochs_to_target=[9, 10, 11]))
    assert isinstance(found, CensoredRatio)
    assert math.exp(found.effect) == pytest.approx(5.5 / 10)
    assert found.variant.times.tolist() == [4, 5, 6, 25]
    assert found.variant.reached.tolist() == [True, True, True, False]


@pytest.mark.parametrize(("bn", "effect"), [(math.nan, math.inf), (5.0, -math.inf)])
def test_a_side_that_mostly_never_arrives_is_endlessly_slower(bn: float, effect: float) -> None:
    elu = 5.0 if math.isnan(bn) else math.nan
    found = measured(
        "epochs_to_target", runs(3, epochs_to_target=bn), runs(3, epochs_to_target=elu)
    )
    assert isinstance(found, Estimate)
    assert found.effect == effect


def test_without_a_target_or_arrivals_there_is_no_convergence() -> None:
    nowhere = runs(3, epochs_to_target=math.nan)
    found = measured("epochs_to_target", nowhere, nowhere)
    assert found == "most runs of both never reached the target"
    found = measured("epochs_to_target", runs(3, target=math.nan), runs(3, target=math.nan))
    assert found == "the baseline has no run that could set the target"


def test_a_generalization_gap_is_of_the_runs_that_logged_it() -> None:
    bn = runs(4, generalization_gap=[0.02, 0.04, math.nan, 0.06])
    elu = runs(3, generalization_gap=[0.01, 0.0, 0.02])
    found = difference("generalization_gap", bn, elu)
    assert found.effect == pytest.approx(0.03)
    assert found.sizes == (3, 3)
    assert found.image_variance == 0.25
    without = runs(3, generalization_gap=math.nan)
    assert measured("generalization_gap", bn, without) == (
        "no run of elu has logged generalization_gap"
    )


@pytest.mark.parametrize("metric", ["distinct_units", "dead_units", "zero_weights"])
def test_what_is_counted_and_the_same_in_all_seeds_differs_without_a_doubt(metric: str) -> None:
    equal, own = runs(3, **{metric: 1.0}), runs(3, **{metric: 0.0})
    found = difference(metric, equal, own)
    assert (found.effect, found.interval(Errors(0.01, 0.01))) == (1.0, (1.0, 1.0))
    assert found.half_width(Errors(0.01, 0.01), 5) == 0
    few = difference(metric, runs(2, **{metric: 1.0}), own)
    assert math.isnan(few.interval(Errors(0.01, 0.01))[0])


def test_accuracies_that_agree_in_all_seeds_may_do_so_by_chance() -> None:
    found = difference("test_accuracy", runs(3, test_accuracy=0.6), runs(3))
    assert math.isnan(found.interval(Errors(0.01, 0.01))[0])


def test_losses_are_compared_by_the_ratio_of_their_geometric_means() -> None:
    high = runs(3, highest_first_loss=[23.0, 2300.0, 230.0])
    found = difference("highest_first_loss", high, runs(3, highest_first_loss=2.3))
    assert math.exp(found.effect) == pytest.approx(100)


@pytest.mark.parametrize(
    "metric", ["distinct_units", "highest_first_loss", "inference_microseconds"]
)
def test_what_no_run_of_an_earlier_version_logged_is_said(metric: str) -> None:
    older = runs(3, **{metric: math.nan})
    assert measured(metric, runs(3, **{metric: 1.0}), older) == f"no run of elu has logged {metric}"


def test_a_network_that_is_judged_as_it_is_converges_neither_fast_nor_slowly() -> None:
    without = runs(3, epochs_to_target=math.nan, last_epoch=0)
    assert measured("epochs_to_target", without, runs(3)) == (
        "a network that is judged as it is has no epochs"
    )
