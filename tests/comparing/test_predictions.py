"""What runs predicted: read where it is what they logged, and what their ensembles come to."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compared_runs import train_run

from pipeline.answers.images import ImageEvidence
from pipeline.comparing import images, predictions
from pipeline.comparisons import Data
from pipeline.comparisons.twenty_layers import ALPHA_DROPOUT, ELU
from pipeline.data import npz
from pipeline.data.splits import Splits, save
from pipeline.data.splitting import split_arrays
from pipeline.steps import running
from pipeline.tracking import client
from pipeline.tracking.runs import StepRun
from pipeline.uncertainty.calibration import in_half_precision

N = 60  # test images


@pytest.fixture
def splits(store: Path, tiny_npz: Path) -> Splits:
    return split_arrays(npz.read(npz.find(str(tiny_npz))), Data(val_size=30))


def of_prepare(store: Path, splits: Splits) -> str:
    """The run that prepared some data."""
    tags = {"data_fingerprint": splits.fingerprint}
    with running.step_run("prepare", {}, name="prepare stripes", tags=tags) as run:
        save(splits, store / "data")
        run.log_directory(store / "data", "data")
    return run.run_id


@pytest.fixture
def prepare_run(store: Path, splits: Splits) -> str:
    return of_prepare(store, splits)


def probabilities(labels: np.ndarray, wrong: slice = slice(0)) -> np.ndarray:
    """Those of a model that is sure to 0.8, of the next class on some images."""
    said = np.array(labels)
    said[wrong] = (said[wrong] + 1) % 3
    return np.where(np.arange(3) == said[:, None], 0.8, 0.1)


def logged(
    prepare_run: str, splits: Splits, of: np.ndarray, seed: int = 1, name: str = "test"
) -> client.Run:
    """A training run that logged these probabilities."""
    tags = {"prepare_run": prepare_run, "data_fingerprint": splits.fingerprint}
    run_id = train_run(ALPHA_DROPOUT, seed, tags=tags).info.run_id
    labels = splits.y_val if name == "validation" else splits.y_test
    accuracy = float((of.argmax(axis=1) == labels).mean())
    run = StepRun(run_id, "0")
    run.log_metrics({predictions.LOGGED[name][1]: accuracy})
    run.log_array(in_half_precision(of), f"predictions/{name}.npy")
    return client.get_run(run_id)


def file_of(run: client.Run, name: str = "test") -> Path:
    return client.local_artifact(run.info.run_id, f"predictions/{name}.npy")


@pytest.mark.parametrize("name", predictions.LOGGED)
def test_what_runs_logged_says_which_images_they_have_right(
    prepare_run: str, splits: Splits, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = splits.y_val if name == "validation" else splits.y_test
    half = logged(prepare_run, splits, probabilities(labels, slice(0, 20)), 1, name)
    all_right = logged(prepare_run, splits, probabilities(labels), 2, name)
    old = train_run(ELU)
    found = predictions.read([old, half, all_right], name).correct
    assert list(found) == [half.info.run_id, all_right.info.run_id]
    np.testing.assert_array_equal(found[half.info.run_id], np.arange(len(labels)) >= 20)
    assert found[all_right.info.run_id].all()
    assert capsys.readouterr().out == ""


def test_the_images_stay_where_they_are(prepare_run: str, splits: Splits) -> None:
    run = logged(prepare_run, splits, probabilities(splits.y_test))
    for path in client.local_artifact(prepare_run, "data").glob("x_*.npy"):
        path.write_bytes(b"not read")
    assert predictions.read([run], "test").correct[run.info.run_id].all()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def change(to: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda path: np.save(path, to(np.load(path)), allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, "cannot reshape|EOF"),
        (lambda path: path.write_bytes(b"no array"), "pickle"),
        (change(lambda of: of.astype(object)), "Object arrays cannot be loaded"),
        (change(lambda of: of.astype(np.float32)), "float32"),
        (change(lambda of: of[0]), r"shape \(3,\)"),
        (change(lambda of: of[:-1]), r"shape \(59, 3\), not \(60, 3\)"),
        (change(lambda of: np.pad(of, ((0, 0), (0, 1)))), r"shape \(60, 4\)"),
        (change(lambda of: np.where(of > 0.5, np.nan, of).astype(np.float16)), "no probabil"),
        (change(lambda of: np.where(of > 0.5, np.inf, of).astype(np.float16)), "no probabil"),
        (change(lambda of: of / 2), "no probabilities"),
        (change(lambda of: of - np.array([0.2, -0.1, -0.1], np.float16)), "no probabilities"),
        (
            change(lambda of: np.roll(of, -1, axis=1)),
            "20 of 60 .* its run logged 40",
        ),
    ],
)
def test_what_is_not_what_a_run_logged_is_left_out_and_said_to_be(
    prepare_run: str,
    splits: Splits,
    damage: Callable[[Path], None],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = logged(prepare_run, splits, probabilities(splits.y_test), 1)
    damaged = logged(prepare_run, splits, probabilities(splits.y_test, slice(0, 20)), 2)
    damage(file_of(damaged))
    assert list(predictions.read([damaged, whole], "test").probabilities) == [whole.info.run_id]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("predictions/test.npy of train alpha_dropout seed 2 is left out, as it")
    assert re.search(said, line), line


def test_changed_labels_are_found_by_what_they_come_to(
    prepare_run: str, splits: Splits, capsys: pytest.CaptureFixture[str]
) -> None:
    run = logged(prepare_run, splits, probabilities(splits.y_test))
    np.save(client.local_artifact(prepare_run, "data/y_test.npy"), np.roll(splits.y_test, 1))
    assert predictions.read([run], "test").correct == {}
    assert "0 of 60 images right, and its run logged 60" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change_to",
    [lambda labels: labels + 1, lambda labels: labels[:, None], lambda labels: labels / 1],
)
def test_what_are_no_labels_is_refused(
    prepare_run: str,
    splits: Splits,
    change_to: Callable[[np.ndarray], np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = logged(prepare_run, splits, probabilities(splits.y_test))
    np.save(client.local_artifact(prepare_run, "data/y_test.npy"), change_to(splits.y_test))
    assert predictions.read([run], "test").correct == {}
    assert "y_test.npy has no labels of 3 classes" in capsys.readouterr().out


def test_labels_are_those_of_another_run_on_the_same_data_or_missed_once(
    prepare_run: str, splits: Splits, capsys: pytest.CaptureFixture[str]
) -> None:
    of = probabilities(splits.y_test)
    runs = [logged("gone", splits, of, seed) for seed in (1, 2)]
    assert len(predictions.read(runs, "test").correct) == 2
    client.connect().delete_run(prepare_run)
    assert predictions.read(runs, "test").correct == {}
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("predictions/test.npy of all runs is left out, for want of labels: ")


def test_an_ensemble_is_the_mean_of_the_seeds_probabilities_beside_the_mean_of_their_figures(
    prepare_run: str, splits: Splits
) -> None:
    labels = splits.y_test
    first, second = probabilities(labels, slice(0, 20)), probabilities(labels)
    runs = [logged(prepare_run, splits, of, seed) for seed, of in enumerate((first, second))]
    table = pd.DataFrame(
        [{"run_id": run.info.run_id, "variant": "alpha_dropout"} for run in runs]
        + [{"run_id": "of old", "variant": "elu"}]
    )
    test, with_dropout = predictions.read(runs, "test"), predictions.read(runs[:1], "mc_test")
    found = predictions.ensembles(table, test, with_dropout)
    assert list(found.columns) == predictions.COLUMNS
    single, ensemble = found.to_dict("records")
    assert (single["variant"], single["model"], single["seeds"]) == ("alpha_dropout", "one seed", 2)
    assert single["accuracy"] == pytest.approx((40 / 60 + 1) / 2)
    nll = -np.log(0.8) * 100 / 120 - np.log(0.1) * 20 / 120
    assert single["nll"] == pytest.approx(nll, rel=1e-3)
    assert single["ece"] == pytest.approx(((0.8 - 40 / 60) + 0.2) / 2, abs=1e-3)
    # Of a class that both give 0.45, the first counts: that of the labels where it is not 2.
    assert (ensemble["model"], ensemble["seeds"]) == ("ensemble", 2)
    assert ensemble["accuracy"] == pytest.approx((40 + (labels[:20] != 2).sum()) / 60)
    nll = -np.log(0.8) * 40 / 60 - np.log(0.45) * 20 / 60
    assert ensemble["nll"] == pytest.approx(nll, rel=1e-3)


def test_one_seed_is_no_ensemble_and_mc_dropout_stands_beside(
    prepare_run: str, splits: Splits
) -> None:
    plain = logged(prepare_run, splits, probabilities(splits.y_test, slice(0, 20)))
    sampled = logged(prepare_run, splits, probabilities(splits.y_test), name="mc_test")
    of = predictions.read([plain], "test"), predictions.read([sampled], "mc_test")
    rows = [{"run_id": run.info.run_id, "variant": "alpha_dropout"} for run in (plain, sampled)]
    found = predictions.ensembles(pd.DataFrame(rows), *of)
    assert list(found["model"]) == ["one seed", "one seed with MC Dropout"]
    assert list(found["accuracy"]) == pytest.approx([40 / 60, 1])


def test_a_probability_too_small_for_half_precision_counts_as_the_least_that_is_not(
    prepare_run: str, splits: Splits
) -> None:
    of = np.array(probabilities(splits.y_test))
    wrong = (splits.y_test[0] + 1) % 3
    of[0] = np.where(np.arange(3) == wrong, 1 - 2e-9, 1e-9)
    run = logged(prepare_run, splits, of)
    table = pd.DataFrame([{"run_id": run.info.run_id, "variant": "elu"}])
    nothing = predictions.read([], "mc_test")
    (row,) = predictions.ensembles(table, predictions.read([run], "test"), nothing).to_dict(
        "records"
    )
    nll = (-np.log(0.8) * 59 + 25 * np.log(2)) / 60
    assert row["nll"] == pytest.approx(nll, rel=1e-3)


def votes(runs: list[client.Run]) -> ImageEvidence | None:
    table = pd.DataFrame(
        [{"run_id": run.info.run_id, "variant": run.data.params["variant"]} for run in runs]
    )
    return images.evidence(runs, table, predictions.read(runs, "test"))


def test_votes_are_of_the_runs_that_logged_what_they_predicted_with_the_images(
    prepare_run: str, splits: Splits
) -> None:
    labels = splits.y_test
    wrong = (slice(0, 20), slice(0, 10))
    runs = [
        logged(prepare_run, splits, probabilities(labels, of), seed)
        for seed, of in enumerate(wrong, start=1)
    ]
    tags = {"prepare_run": prepare_run, "data_fingerprint": splits.fingerprint}
    old = [train_run(ELU, tags=tags), train_run(ALPHA_DROPOUT, 3, tags=tags)]
    found = votes([*old, *runs])
    assert found is not None
    assert found.class_names == splits.class_names
    assert list(found.votes) == ["alpha_dropout"]
    assert found.votes["alpha_dropout"].seeds == 2
    np.testing.assert_array_equal(
        found.right("alpha_dropout")[:30], [0] * 10 + [0.5] * 10 + [1] * 10
    )
    np.testing.assert_allclose(found.votes["alpha_dropout"].mean[10].max(), 0.45, rtol=1e-3)
    np.testing.assert_array_equal(found.pictures, splits.x_test)
    assert votes(old) is None


@pytest.mark.parametrize("damage", [Path.unlink, truncate, lambda path: np.save(path, np.eye(2))])
def test_without_the_images_there_are_votes_all_the_same_and_it_is_said(
    prepare_run: str,
    splits: Splits,
    damage: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = logged(prepare_run, splits, probabilities(splits.y_test, slice(0, 20)))
    damage(client.local_artifact(prepare_run, "data/x_test.npy"))
    found = votes([run])
    assert found is not None
    assert found.pictures is None
    assert [one.true for one in found.mistaken("alpha_dropout", 1)] == ["0"]
    assert "The report shows no images: " in capsys.readouterr().out


def test_test_pairs_are_shown_side_by_side(store: Path, tiny_npz: Path) -> None:
    arrays = npz.read(npz.find(str(tiny_npz)))
    splits = split_arrays(arrays, Data(val_size=30, pairs=True))
    of = np.where(np.arange(2) == splits.y_test[:, None], 0.75, 0.25)
    found = votes([logged(of_prepare(store, splits), splits, of)])
    assert found is not None
    assert found.class_names == ("different", "same")
    assert found.right("alpha_dropout").all()
    assert found.pictures is not None
    assert found.pictures.shape == (N, 8, 17, 3)
    np.testing.assert_array_equal(found.pictures[7, :, :8], splits.x_test[7, 0])
    np.testing.assert_array_equal(found.pictures[7, :, 9:], splits.x_test[7, 1])
