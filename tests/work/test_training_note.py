"""What the note of a training says of its variant and its metrics."""

import pytest

from pipeline.comparisons import Variant
from pipeline.comparisons.transfer import FROZEN, SCRATCH, TOP_TWO, UNFROZEN
from pipeline.work.training_note import _begun, _results


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        (FROZEN, "5 hidden layers, 5 frozen."),
        (TOP_TWO, "4 hidden layers, 2 frozen."),
        (UNFROZEN, "4 hidden layers, none frozen."),
        (UNFROZEN.derive(name="one", reused_layers=1), "1 hidden layer, none frozen."),
    ],
)
def test_a_note_says_what_a_training_goes_on_from(variant: Variant, said: str) -> None:
    assert _begun(variant) == f" It goes on from `digits_bn` with {said}"
    assert _begun(SCRATCH) == ""


def test_a_note_says_how_far_training_and_test_accuracy_lie_apart() -> None:
    metrics = {"best_epoch": 3, "epochs_run": 9, "test_accuracy": 0.5, "test_precision": 0.45}
    metrics |= {"best_train_accuracy": 0.62, "generalization_gap": 0.12}
    rows = {name: value for name, value, _ in _results(SCRATCH, metrics)}
    assert rows["generalization_gap"] == "+12.00 points"
    assert (rows["best_train_accuracy"], rows["test_precision"]) == ("62.00%", "45.00%")
