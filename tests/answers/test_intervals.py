"""Effects with their intervals, against SciPy, exact cases and simulated crossed data."""

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.answers.intervals import (
    CensoredRatio,
    Errors,
    MeanDifference,
    Spread,
    Times,
    image_variance,
    log_rank,
    log_rank_scores,
    spreads,
    usual_spread,
)

FIVE_PERCENT = Errors(seeds=0.05, images=0.05)
ONE = np.array([0.51, 0.523, 0.538, 0.519])
OTHER = np.array([0.49, 0.497, 0.487])


def difference(one: np.ndarray, other: np.ndarray, *, images: float = 0.0) -> MeanDifference:
    return MeanDifference(
        effect=float(one.mean() - other.mean()),
        sizes=(one.size, other.size),
        samples=tuple(Spread(of.var(ddof=1), of.size - 1) for of in (one, other)),
        image_variance=images,
    )


def times(*values: float, never: int = 0, last: float = 30) -> Times:
    reached = np.array([True] * len(values) + [False] * never)
    return Times(np.array([*values, *[last] * never]), reached)


def ratio(one: Times, other: Times) -> CensoredRatio:
    return CensoredRatio(
        effect=math.log(one.median / other.median),
        sizes=(len(one.times), len(other.times)),
        variant=one,
        reference=other,
    )


# Differences of means


@pytest.mark.parametrize("error", [0.05, 0.001])
def test_interval_is_welchs(error: float) -> None:
    expected = stats.ttest_ind(ONE, OTHER, equal_var=False).confidence_interval(1 - error)
    assert difference(ONE, OTHER).interval(Errors(error, 0.5)) == pytest.approx(expected)


def test_interval_of_pairs_is_students() -> None:
    spread = (Spread(ONE.var(ddof=1), ONE.size - 1),)
    found = MeanDifference(effect=ONE.mean(), sizes=(4, 4), samples=spread)
    expected = stats.ttest_1samp(ONE, 0).confidence_interval(0.95)
    assert found.interval(FIVE_PERCENT) == pytest.approx(expected)


def test_images_widen_an_interval_by_their_own_error_rate() -> None:
    def half_width(images: float, errors: Errors) -> float:
        low, high = difference(ONE, OTHER, images=images).interval(errors)
        return (high - low) / 2

    of_seeds = half_width(0, Errors(0.001, 0.5))
    with_images = half_width(0.01**2, Errors(0.001, 0.05))
    assert with_images**2 == pytest.approx(of_seeds**2 + (1.959964 * 0.01) ** 2)


def test_two_seeds_or_seeds_without_spread_have_no_interval() -> None:
    assert np.isnan(difference(ONE[:2], OTHER).interval(FIVE_PERCENT)).all()
    same = np.full(3, 0.5)
    assert np.isnan(difference(same, same + 0.1).interval(FIVE_PERCENT)).all()


def test_more_seeds_narrow_an_interval_and_are_known_to_know_more() -> None:
    found = difference(ONE, OTHER)
    widths = [found.half_width(FIVE_PERCENT, seeds) for seeds in (4, 8, 100)]
    assert widths == sorted(widths, reverse=True)
    variance = ONE.var(ddof=1) + OTHER.var(ddof=1)
    assert widths[-1] == pytest.approx(1.97 * math.sqrt(variance / 100), rel=0.01)


def test_spread_is_ones_own_or_that_of_all_whichever_is_larger() -> None:
    narrow, wide = np.array([0.50, 0.501, 0.502]), np.array([0.4, 0.5, 0.6])
    pooled = (narrow.var(ddof=1) + wide.var(ddof=1)) / 2
    floor, own = spreads([narrow, wide])
    assert floor == pytest.approx((pooled, 4))
    assert own == pytest.approx((wide.var(ddof=1), 2))


def test_spread_of_a_single_run_is_that_of_the_others() -> None:
    wide = np.array([0.4, 0.5, 0.6])
    assert spreads([np.array([0.5]), wide])[0] == pytest.approx((0.01, 2))
    assert math.isnan(spreads([np.array([0.5])])[0].variance)


SPREADS = (1.0, 1.2, 0.9, 1.1, 0.8, 1.0, 1.3)  # variances of one kind


@pytest.mark.parametrize("others", [(64.0,), (64.0, 50.0), (0.0,), (0.0, 0.0, 0.0), (64.0, 0.0)])
def test_variances_of_another_kind_do_not_count_as_usual(others: tuple[float, ...]) -> None:
    every = [Spread(variance, 2) for variance in (*others, *SPREADS)]
    assert usual_spread(every) == pytest.approx((sum(SPREADS) / len(SPREADS), 2 * len(SPREADS)))


def test_usual_are_all_where_none_stands_out_or_half_of_them_do() -> None:
    for variances in ((1.0, 3.0), (1.0, 1.0, 6.0), (1.0, 1.0, 64.0, 64.0), (0.0, 0.0)):
        every = [Spread(variance, 2) for variance in variances]
        assert usual_spread(every) == pytest.approx((np.mean(variances), 2 * len(variances)))


def test_a_variance_of_the_same_kind_is_seldom_left_out() -> None:
    """The rate that it is meant to have: 1%, whatever the number of samples and their sizes."""
    generator = np.random.default_rng(1)
    for freedoms in ((2,) * 4, (2,) * 10, (2, 2, 9, 4, 3)):
        drawn = generator.chisquare(freedoms, (4000, len(freedoms))) / freedoms
        left_out = [
            usual_spread([Spread(*one) for one in zip(of, freedoms, strict=True)]).freedom
            < sum(freedoms)
            for of in drawn
        ]
        assert 0.005 <= np.mean(left_out) <= 0.02


# Test images


def crossed(runs: int, easiness: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """What runs have right whose chances are those of the images."""
    return generator.random((runs, easiness.size)) < easiness


def test_image_variance_is_that_of_the_chances_alone() -> None:
    generator = np.random.default_rng(0)
    chances = [generator.uniform(size=20_000) for _ in range(2)]
    found = image_variance(*(crossed(4, one, generator) for one in chances))
    assert found == pytest.approx((chances[0] - chances[1]).var() / 20_000, rel=0.05)


def test_image_variance_is_nothing_where_all_images_are_as_easy() -> None:
    generator, same = np.random.default_rng(0), np.full(20_000, 0.5)
    found = image_variance(*(crossed(4, same, generator) for _ in range(2)))
    assert found < 0.02 * 0.25 / 20_000


def test_image_variance_agrees_with_resampling_seeds_and_images() -> None:
    """The Multi-Bootstrap has the variance of seeds and images, and thrice that of both at once."""
    generator = np.random.default_rng(1)
    chances = generator.beta(0.5, 0.5, size=1000)
    better = np.clip(chances + generator.normal(0, 0.2, size=1000), 0, 1)
    one, other = crossed(12, better, generator), crossed(12, chances, generator)

    def resampled() -> float:
        images = generator.integers(1000, size=1000)
        means = [of[generator.integers(12, size=12)][:, images].mean() for of in (one, other)]
        return means[0] - means[1]

    seeds = sum(of.mean(axis=1).var(ddof=1) / 12 for of in (one, other)) * 11 / 12
    both = sum(of.astype(float).var(axis=0, ddof=1).mean() / 12_000 for of in (one, other))
    expected = np.var([resampled() for _ in range(4000)])
    assert image_variance(one, other) + seeds + both * 23 / 12 == pytest.approx(expected, rel=0.1)


# Times until something is reached


def test_scores_are_those_of_the_log_rank_test() -> None:
    # By hand: 1 of 4 arrives at 2, then 1 of 3 at 3, and the two of 5 never.
    found = log_rank_scores(np.array([3.0, 2, 5, 5]), np.array([True, True, False, False]))
    assert found == pytest.approx([1 - 1 / 4 - 1 / 3, 1 - 1 / 4, -7 / 12, -7 / 12])
    assert found.sum() == pytest.approx(0)


def test_log_rank_is_the_exact_test_that_scipy_makes_of_its_statistic() -> None:
    one, other = times(4, 5, 7, 9, never=1), times(6, 8, 12, 13, never=2)

    def statistic(first: np.ndarray, second: np.ndarray) -> float:
        both = np.concatenate([first, second])
        return log_rank_scores(np.abs(both), both > 0)[: len(first)].sum()

    signed = [np.where(of.reached, of.times, -of.times) for of in (one, other)]
    expected = stats.permutation_test(signed, statistic, n_resamples=np.inf)
    assert log_rank(one, other) == pytest.approx(expected.pvalue)


def test_log_rank_of_many_runs_is_near_to_the_asymptotic_one() -> None:
    generator = np.random.default_rng(0)
    one, other = (
        Times(np.minimum(drawn, 20), drawn < 20)
        for drawn in (generator.exponential(10, 60), generator.exponential(16, 60))
    )
    censored = [
        stats.CensoredData(uncensored=of.times[of.reached], right=of.times[~of.reached])
        for of in (one, other)
    ]
    assert log_rank(one, other) == pytest.approx(stats.logrank(*censored).pvalue, rel=0.25)
    assert log_rank(one, other) == log_rank(one, other)


def test_three_seeds_that_are_before_twelve_others_are_one_deal_of_all() -> None:
    early, late = times(4, 4.4, 5), times(*range(6, 16), never=2)
    assert log_rank(early, late) == pytest.approx(2 / math.comb(15, 3))


def test_three_seeds_that_are_all_faster_are_one_deal_of_ten() -> None:
    assert log_rank(times(4, 5, 6), times(7, 8, 9)) == pytest.approx(2 / math.comb(6, 3))


def test_interval_holds_the_ratios_that_the_test_does_not_reject() -> None:
    found, errors = ratio(times(4, 5, 5, 6, 7), times(7, 8, 9, 10, 11, never=1)), FIVE_PERCENT
    low, high = (math.exp(end) for end in found.interval(errors))
    kept = [one for one in np.arange(0.1, 2, 0.001) if found.p_value(one) > 0.05]
    assert (low, high) == pytest.approx((kept[0], kept[-1]), abs=0.002)
    assert found.effect == pytest.approx(math.log(5 / 9.5))


def test_a_variant_that_mostly_never_arrives_has_no_upper_end() -> None:
    found = ratio(times(20, never=5), times(3, 4, 4, 5, 5, 6))
    assert found.effect == math.inf
    low, high = found.interval(FIVE_PERCENT)
    assert math.exp(low) > 3
    assert high == math.inf


def test_ties_that_no_ratio_fits_do_not_turn_an_interval_round() -> None:
    found = ratio(times(5, 5, 5, 5, 5, never=1, last=4), times(5, 5, 5, 5, 5, 5))
    low, high = found.interval(FIVE_PERCENT)
    assert low <= found.effect <= high


def test_more_seeds_are_expected_to_narrow_it_once_they_can_reject_anything() -> None:
    found = ratio(times(4, 5, 6), times(7, 8, 9))
    narrow, wide = (found.half_width(Errors(0.01, 0.01), seeds) for seeds in (20, 5))
    assert 0 < narrow < wide < 1


def test_fewer_runs_than_can_reject_anything_leave_both_ends_open() -> None:
    found = ratio(times(4, 5, 6), times(7, 8, 9))
    assert found.interval(Errors(0.01, 0.01)) == (-math.inf, math.inf)
    assert found.half_width(Errors(0.01, 0.01), 4) == math.inf
