"""A hidden activation of one's own, from a file outside: five lines, and a network of it."""

import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline.base import InputError
from pipeline.main import main
from pipeline.parameters import Main, Train
from pipeline.tracking import client
from pipeline.train import train
from pipeline.work.trained_model import WEIGHTS_FILE, logged_model

MINE = '''
    """Does squared ReLU do better?"""
    from pipeline.comparisons.activations import COMPARISON as ACTIVATIONS, RELU

    SQUARED = RELU.derive(name="squared_relu", activation="{}", hidden_layers=2)
    COMPARISON = ACTIVATIONS.including(SQUARED)
'''


def written(path: Path, activation: str) -> str:
    path.write_text(textwrap.dedent(MINE).format(activation))
    return str(path)


def test_a_file_of_five_lines_trains_an_activation_that_any_keras_loads(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison = written(store / "mine.py", "relu(x) ** 2")
    main(Main(comparison=comparison, dataset="mnist_5k", plan="only"))
    assert "squared_relu" in (planned := capsys.readouterr().out)
    assert "No question will be answered" not in planned
    unasked = ("elu", "squared_relu")
    main(Main(comparison=comparison, dataset="mnist_5k", variants=unasked, plan="only"))
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("No question will be answered: ")
    assert "What is asked about them is against others: relu." in said
    asked = Train(
        comparison=comparison,
        dataset="mnist_5k",
        variant="squared_relu",
        learning_rate=0.001,
        epochs=3,
    )
    run = client.get_run(train(asked))
    assert run.data.metrics["test_accuracy"] > 0.3
    assert 0 <= run.data.metrics["dead_units"] < 1
    location = logged_model(run).artifact_location
    model = keras.models.load_model(
        Path(location.removeprefix("file://"), WEIGHTS_FILE.removeprefix("model/"))
    )
    values = np.linspace(-3, 3, 100, dtype=np.float32)[None]
    below, above = (model.get_layer(f"{kind}_2").output for kind in ("dense", "activation"))
    received = keras.Model(below, above)(values)
    np.testing.assert_allclose(received, np.maximum(values, 0) ** 2, rtol=1e-6)


def test_a_function_that_keras_does_not_have_is_refused_and_the_nearest_named(store: Path) -> None:
    comparison = written(store / "mine.py", "rleu(x) ** 2")
    asked = Train(
        comparison=comparison, dataset="mnist_5k", variant="squared_relu", learning_rate=0.001
    )
    with pytest.raises(InputError, match=r"^activation of variant 'squared_relu'.*'relu'\?$"):
        train(asked)


def test_a_comparison_with_one_is_refused_before_the_others_are_trained(store: Path) -> None:
    comparison = written(store / "mine.py", "rleu(x) ** 2")
    asked = Main(
        comparison=comparison,
        dataset="mnist_5k",
        variants=("relu", "squared_relu"),
        seeds=(1,),
        learning_rate=0.001,
        jobs=2,
    )
    with pytest.raises(InputError, match="'squared_relu'"):
        main(asked)
    runs = client.search_runs(client.experiment_id() or "", "")
    ended = {run.data.tags["step"]: run.info.status for run in runs}
    assert ended == {"prepare": "FINISHED", "main": "FAILED"}
