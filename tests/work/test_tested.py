"""What is said of a finished model on the test set: of every class, and of some pairs."""

import numpy as np

from pipeline.work.tested import class_accuracy, class_precision, shown_pairs

# Worked out by hand: rows are true classes, columns what their images are taken for.
MATRIX = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [2, 0, 2, 0], [1, 0, 0, 0]])


def test_class_accuracy_of_a_class_without_images_is_not_known() -> None:
    np.testing.assert_array_equal(class_accuracy(MATRIX), [0.75, np.nan, 0.5, 0])


def test_class_precision_is_of_what_is_taken_for_a_class_and_0_where_nothing_is() -> None:
    np.testing.assert_array_equal(class_precision(MATRIX), [3 / 6, 0, 1, 0])


def test_class_precision_of_a_class_without_images_that_nothing_is_taken_for_is_not_known() -> None:
    np.testing.assert_array_equal(class_precision(np.array([[2, 0], [0, 0]])), [1, np.nan])


def test_pairs_shown_are_the_most_wrong_then_right_ones_of_either_class_in_turn() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1, 0])
    same = np.array([0.1, 0.2, 0.9, 0.8, 0.6, 0.7, 0.2])
    shown = shown_pairs(labels, np.stack([1 - same, same], axis=1))
    assert shown == [2, 1, 4, 0, 3, 6, 5]  # wrong by 0.9, 0.8 and 0.6


def test_of_many_wrong_pairs_there_is_room_for_right_ones() -> None:
    labels = np.arange(40) % 2
    same = np.where(np.arange(40) < 30, 0.9 - 0.8 * labels, 0.1 + 0.8 * labels)
    shown = shown_pairs(labels, np.stack([1 - same, same], axis=1))
    assert len(shown) == 12
    assert [place < 30 for place in shown] == [True] * 8 + [False] * 4
    assert labels[shown[8:]].tolist() == [0, 1, 0, 1]
