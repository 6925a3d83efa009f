"""What the seeds of variants get right and wrong of the test images, by made-up votes."""

import numpy as np
import pytest

from pipeline.answers.images import ImageEvidence, Mistaken, Votes

LABELS = np.array([0, 1, 2, 0])
NAMES = ("cat", "dog", "ship")


def votes(*seeds: list[int], sure: float = 0.8) -> Votes:
    """Of seeds that take the images for these classes, each as sure of it."""
    counts = np.stack([np.bincount(of, minlength=3) for of in zip(*seeds, strict=True)])
    mean = np.where(counts > 0, sure * counts / len(seeds), 0.01).astype(np.float32)
    return Votes(len(seeds), counts, mean)


@pytest.fixture
def images() -> ImageEvidence:
    of = {"elu": votes([0, 1, 2, 1], [0, 1, 0, 1]), "bn": votes([0, 1, 1, 0], [0, 0, 1, 0])}
    return ImageEvidence(LABELS, NAMES, of)


def test_accuracy_by_class_is_the_mean_over_the_seeds(images: ImageEvidence) -> None:
    assert images.class_accuracies("elu").tolist() == [0.5, 1.0, 0.5]
    without = ImageEvidence(np.array([0, 0, 0, 0]), NAMES, images.votes)
    np.testing.assert_array_equal(np.isnan(without.class_accuracies("elu")), [False, True, True])


def test_what_one_alone_gets_right_is_counted_over_all_pairs_of_seeds(
    images: ImageEvidence,
) -> None:
    # elu's seeds have images 0, 1, 2 and 0, 1 right, bn's 0, 1, 3 and 0, 3: the pairs differ in
    # images 2; 1 and 2; none but 3's; and 1.
    found = images.only_right("elu", "bn")
    assert (found.one, found.other) == ((1 + 2 + 0 + 1) / 4, 1)
    assert found.between_seeds == {"elu": 0.5, "bn": 0.5}  # one image in one of two directions
    assert images.only_right("bn", "elu")[:2] == (1, 1)


def test_of_a_single_seed_nothing_is_said_about_two() -> None:
    of = {"elu": votes([0, 1, 2, 1]), "bn": votes([0, 1, 1, 0], [0, 0, 1, 0])}
    assert ImageEvidence(LABELS, NAMES, of).only_right("elu", "bn").between_seeds.keys() == {"bn"}


def test_images_that_only_one_variant_gets_right_say_what_the_other_takes_them_for(
    images: ImageEvidence,
) -> None:
    (found,) = images.that_only("bn", "elu", 4)
    assert found == Mistaken(3, "cat", "dog", votes=2, seeds=2, confidence=found.confidence)
    assert found.confidence == pytest.approx(0.8)
    assert images.that_only("elu", "bn", 4) == []  # of image 2 a half of its seeds is not most


def test_mistaken_images_are_those_of_most_seeds_the_surest_first() -> None:
    wrong = votes([1, 1, 0, 1], [1, 1, 0, 1], [0, 1, 0, 1])
    wrong.mean[2, 0], wrong.mean[0, 1] = 0.95, 0.99
    images = ImageEvidence(LABELS, NAMES, {"elu": wrong})
    found = images.mistaken("elu", 12)
    assert [one.place for one in found] == [2, 3, 0]  # of all seeds, of all, of two
    assert [(one.true, one.guess, one.votes) for one in found] == [
        ("ship", "cat", 3),
        ("cat", "dog", 3),
        ("cat", "dog", 2),
    ]
    assert len(images.mistaken("elu", 2)) == 2


def test_a_guess_is_the_class_that_most_seeds_say_not_the_one_that_few_are_sure_of() -> None:
    of = votes([1, 1, 2, 0], [1, 1, 2, 0], [2, 1, 2, 0])
    of.mean[0] = [0.1, 0.3, 0.6]
    (found,) = ImageEvidence(LABELS, NAMES, {"elu": of}).mistaken("elu", 12)
    assert (found.guess, found.votes, found.confidence) == ("dog", 2, pytest.approx(0.3))
