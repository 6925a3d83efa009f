import numpy as np
import pytest
from scipy.stats import chisquare

from pipeline.data.samples import fixed_pairs, pairs_of, stratified_sample


def test_stratified_sample_is_the_same_on_every_machine() -> None:
    sample = stratified_sample(np.arange(20) % 2, 6, seed=42)
    assert sample.tolist() == [1, 4, 8, 10, 15, 17]


@pytest.mark.parametrize("n", [12, 13])
def test_every_second_pair_is_of_the_same_class_and_never_an_image_with_itself(n: int) -> None:
    labels = np.arange(n) % 3
    indices, same = fixed_pairs(labels, seed=4)
    assert indices.shape == (n, 2)
    assert sorted(indices[:, 0]) == list(range(n))
    assert same.tolist() == [number % 2 for number in range(n)]
    np.testing.assert_array_equal(labels[indices[:, 0]] == labels[indices[:, 1]], same)
    assert (indices[:, 0] != indices[:, 1]).all()


def test_the_other_image_is_any_other_with_the_same_probability() -> None:
    labels = np.array([2, 0, 1, 1, 0, 2, 1, 4, 4])  # none of class 3
    draws, numbers = 20_000, np.random.PCG64(3)
    for image, label in enumerate(labels):
        first = np.full(draws, image)
        indices, same = pairs_of(labels, first, numbers.random_raw(draws))
        found = np.zeros((2, len(labels)))
        np.add.at(found, (same, indices[:, 1]), 1)
        others = np.arange(len(labels)) != image
        expected = np.stack([labels != label, (labels == label) & others])
        np.testing.assert_array_equal(found > 0, expected)
        for counts in (found[0][expected[0]], found[1][expected[1]]):
            assert len(counts) == 1 or chisquare(counts).pvalue > 0.001


def test_fixed_pairs_are_the_same_on_every_machine() -> None:
    indices, _ = fixed_pairs(np.array([0, 1, 0, 1, 1, 0]), seed=0)
    assert indices.tolist() == [[3, 0], [2, 0], [1, 0], [0, 5], [4, 5], [5, 0]]
    other, _ = fixed_pairs(np.array([0, 1, 0, 1, 1, 0]), seed=1)
    assert other.tolist() != indices.tolist()
