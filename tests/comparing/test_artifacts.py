"""Artifacts that are shown: read as they are drawn, or refused whatever they hold."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.comparing import artifacts

TRIALS = """number,value,params_learning_rate,user_attrs_diverged,state
0,1.5,0.001,,COMPLETE
1,,0.1,loss became nan,PRUNED
2,1.9,0.01,,PRUNED
"""
ACTIVATIONS = {"after training": {"mean": [0.1, 0.2], "standard_deviation": [1.0, 0.9]}}
LAYERS = {"after training": {**ACTIVATIONS["after training"], "dead_units": [0.0, 0.25]}}
BY_NUMBER = {"samples": 1.0, "microseconds": 20.0, "accuracy": 0.4, "ece": 0.1}
IMAGE = {
    "true": "cat",
    "guesses": [["dog", 0.5], ["cat", 0.4]],
    "entropy": 1.25,
    "image": "data:image/png;base64,iVBORw0KGgo=",
}
UNCERTAINTY: dict[str, Any] = {
    "deterministic_accuracy": 0.5,
    "accuracy_by_samples": [0.4, 0.5],
    "calibration": {"MC Dropout": {"confidence": [None], "accuracy": [None], "count": [0]}},
    "most_uncertain": [IMAGE],
    "by_number": [BY_NUMBER],
}


def test_trials_say_which_diverged() -> None:
    table = artifacts.trials(TRIALS.encode())
    assert table["state"].tolist() == ["COMPLETE", "DIVERGED", "PRUNED"]
    assert table["learning_rate"].tolist() == [0.001, 0.1, 0.01]


def test_a_pruned_trial_is_shown_at_the_loss_it_could_expect() -> None:
    rows = zip(TRIALS.strip().split("\n"), ("expected_val_loss", "1.5", "", "1.7"), strict=True)
    table = artifacts.trials("\n".join(map(",".join, rows)).encode())
    np.testing.assert_equal(table["value"].tolist(), [1.5, np.nan, 1.7])


def test_what_was_logged_is_read_as_it_was() -> None:
    curve = artifacts.rate_curve(b"learning_rate,val_loss\n0.001,1.5\n")
    assert curve.to_dict("list") == {"learning_rate": [0.001], "val_loss": [1.5]}
    for layers in (ACTIVATIONS, LAYERS):
        assert artifacts.layers(json.dumps(layers).encode()) == layers
    infinite = {"after training": {"mean": [None, 0.5], "standard_deviation": [1.0, None]}}
    means, spreads = artifacts.layers(json.dumps(infinite).encode())["after training"].values()
    np.testing.assert_equal([means, spreads], [[np.nan, 0.5], [1.0, np.nan]])
    np.save(file := io.BytesIO(), np.array([2.3, np.inf], np.float32))
    assert artifacts.losses(file.getvalue()).tolist() == [np.float32(2.3), np.inf]
    read = artifacts.uncertainty(json.dumps(UNCERTAINTY).encode())
    bins = {name: bins.tolist() for name, bins in read.pop("calibration")["MC Dropout"].items()}
    np.testing.assert_equal(bins, {"confidence": [np.nan], "accuracy": [np.nan], "count": [0]})
    assert read == {name: one for name, one in UNCERTAINTY.items() if name != "calibration"}
    older = {name: one for name, one in UNCERTAINTY.items() if name != "by_number"}
    assert artifacts.uncertainty(json.dumps(older).encode())["by_number"] == []


@pytest.mark.parametrize(
    ("read", "content"),
    [
        *((artifacts.trials, text) for text in ("", "number\n0\n", "\0", "a,b\n1,2,3\n4\n")),
        (artifacts.trials, TRIALS.replace("1.5", "low")),
        (artifacts.trials, TRIALS.replace("1.5", "")),
        *((artifacts.rate_curve, text) for text in ("", "learning_rate,val_loss\n", "a\n1\n")),
        (artifacts.rate_curve, "learning_rate,val_loss\n0.1,low\n"),
        (artifacts.rate_curve, "learning_rate,val_loss\n0.1,\n"),
        *((artifacts.layers, text) for text in ("", "[]", '"text"', "{", "1")),
        (artifacts.layers, json.dumps({"after training": {"mean": [0.1]}})),
        (artifacts.layers, json.dumps({"after training": [0.1]})),
        (artifacts.layers, json.dumps({"after": {name: [] for name in LAYERS["after training"]}})),
        (artifacts.layers, json.dumps({"after": {**LAYERS["after training"], "rank": [1.0]}})),
        *((artifacts.losses, text) for text in ("", "1,2", "\x93NUMPY")),
        (artifacts.uncertainty, json.dumps({**UNCERTAINTY, "accuracy_by_samples": []})),
        *(
            (artifacts.uncertainty, json.dumps({**UNCERTAINTY, **changed}))
            for changed in (
                {"deterministic_accuracy": None},
                {"accuracy_by_samples": 0.5},
                {"calibration": {"MC Dropout": {"confidence": [0.5]}}},
                {"calibration": {"": {"confidence": [0.5], "accuracy": [], "count": [1]}}},
                {"most_uncertain": [{**IMAGE, "guesses": []}]},
                {"most_uncertain": [{**IMAGE, "image": "https://example.org/pixel.png"}]},
                {"most_uncertain": [{"true": "cat"}]},
            )
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(read: Callable[[bytes], Any], content: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 whatever it is
        read(content.encode())


def test_uncertainty_of_several_seeds_is_the_mean_of_them_and_all_their_predictions() -> None:
    nan = float("nan")

    def record(confidence: float, accuracy: float, count: int, samples: list[float]) -> dict:
        """With an empty bin and a filled one."""
        bins = {"confidence": [nan, confidence], "accuracy": [nan, accuracy], "count": [0, count]}
        arrays = {name: np.array(of, float) for name, of in bins.items()}
        calibration = {"MC Dropout": arrays, "deterministic": arrays}
        return {
            "deterministic_accuracy": samples[0],
            "accuracy_by_samples": samples,
            "calibration": calibration,
            "by_number": [BY_NUMBER | {"accuracy": samples[0]}],
        }

    one, other = record(0.8, 0.5, 10, [0.4, 0.5, 0.6]), record(0.6, 0.9, 30, [0.6, 0.6])
    del other["calibration"]["deterministic"]
    found = artifacts.mean_uncertainty([one, other])
    assert found["seeds"] == 2
    assert found["deterministic_accuracy"] == 0.5
    assert found["accuracy_by_samples"] == pytest.approx([0.5, 0.55])  # as far as both go
    assert found["by_number"] == [BY_NUMBER | {"accuracy": 0.5}]
    assert artifacts.mean_uncertainty([one, {**other, "by_number": []}])["by_number"] == []
    assert list(found["calibration"]) == ["MC Dropout"]
    bins = {name: of.tolist() for name, of in found["calibration"]["MC Dropout"].items()}
    np.testing.assert_allclose(bins["confidence"], [nan, 0.65])
    np.testing.assert_allclose(bins["accuracy"], [nan, 0.8])
    assert bins["count"] == [0, 40]
    other["calibration"]["MC Dropout"]["count"] = np.array([40.0])  # bins of another width
    assert artifacts.mean_uncertainty([one, other])["calibration"] == {}
