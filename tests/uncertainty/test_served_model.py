"""Plain and MC-Dropout predictions of a logged model with dropout."""

import re
from typing import Any

import mlflow
import numpy as np
import pytest
import scipy.stats
from networks import IMAGES

from pipeline.uncertainty.sampling import mc_probabilities
from pipeline.uncertainty.served_model import MAX_MC_SAMPLES


def test_without_samples_it_predicts_as_keras_does(dropout_model: Any, dropout_uri: str) -> None:
    served = mlflow.pyfunc.load_model(dropout_uri)
    expected = dropout_model.predict(IMAGES, verbose=0)
    np.testing.assert_array_equal(served.predict(IMAGES), expected)
    np.testing.assert_array_equal(served.predict(IMAGES, params={"mc_samples": 0}), expected)


def test_with_samples_it_gives_mean_entropy_and_mutual_information(
    dropout_model: Any, dropout_uri: str
) -> None:
    answer = mlflow.pyfunc.load_model(dropout_uri).predict(
        IMAGES, params={"mc_samples": 40, "seed": 7}
    )
    samples = mc_probabilities(dropout_model, IMAGES, samples=40, seed=7).astype(float)
    assert set(answer) == {"probability", "entropy", "mutual_information"}
    np.testing.assert_allclose(answer["probability"], samples.mean(axis=0), rtol=1e-6)
    total = scipy.stats.entropy(samples.mean(axis=0), axis=1)
    np.testing.assert_allclose(answer["entropy"], total, rtol=1e-5)
    within = scipy.stats.entropy(samples, axis=2).mean(axis=0)
    np.testing.assert_allclose(answer["mutual_information"], total - within, rtol=1e-5)
    assert np.all(answer["mutual_information"] > 0)


def test_seed_decides_the_masks(dropout_uri: str) -> None:
    served = mlflow.pyfunc.load_model(dropout_uri)
    answers = [
        served.predict(IMAGES, params={"mc_samples": 5, "seed": seed})["probability"]
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])
    default = served.predict(IMAGES, params={"mc_samples": 5})["probability"]
    np.testing.assert_array_equal(default, answers[0])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mc_samples": -1}, f"mc_samples: expected an integer from 0 to {MAX_MC_SAMPLES}"),
        ({"mc_samples": MAX_MC_SAMPLES + 1}, "mc_samples: expected"),
        ({"mc_samples": 1, "seed": -1}, "seed: expected"),
    ],
)
def test_parameters_out_of_range_are_refused(
    dropout_uri: str, params: dict[str, int], message: str
) -> None:
    served = mlflow.pyfunc.load_model(dropout_uri)
    with pytest.raises(ValueError, match=re.escape(message)):
        served.predict(IMAGES, params=params)


def test_images_of_another_shape_or_scaled_are_refused(dropout_uri: str) -> None:
    served = mlflow.pyfunc.load_model(dropout_uri)
    for wrong in (IMAGES[:, :2], IMAGES / 255):
        with pytest.raises(mlflow.MlflowException, match="enforce schema"):
            served.predict(wrong)
