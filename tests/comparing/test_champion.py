"""The model registry: versions, the champion, and what it takes to replace it."""

import base64
import contextlib
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from browser import free_port
from compared_runs import evidence_of, make_run
from conftest import Finished
from cryptography.fernet import Fernet
from mlflow.entities import LoggedModelOutput
from receivers import receiver
from step_runs import finish

from pipeline.answers.headlines import Headline
from pipeline.base import InputError
from pipeline.comparing.champion import CHAMPION, Registration, register, registered_model_name
from pipeline.comparisons import Data, Question, files
from pipeline.data.splits import Arrays, Splits, open_splits, save
from pipeline.data.splitting import split_arrays
from pipeline.steps import running
from pipeline.tracking import client
from pipeline.tracking.server import server

DATA = {"dataset": "stripes", "data_fingerprint": "a fingerprint", "prepare_run": "not read"}


def _logged_runs(accuracies: Mapping[str, Mapping[int, float]]) -> pd.DataFrame:
    """Finished runs with a logged model without files, as rows of a comparison."""
    rows = []
    for variant, by_seed in accuracies.items():
        for seed, accuracy in by_seed.items():
            run_id = finish(name=f"train {variant} seed {seed}")
            model = client.connect().create_logged_model("0", name="model", source_run_id=run_id)
            client.connect().log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
            rows.append(make_run(variant, seed, run_id=run_id, best_val_accuracy=accuracy))
    return pd.DataFrame(rows)


def _register(runs: pd.DataFrame, **changes: str) -> Registration:
    return register(runs, {**DATA, **changes})


def _make_champion(runs: pd.DataFrame, variant: str, **changes: str) -> Registration:
    return _register(runs[runs["variant"] == variant], **changes)


def _champion_run(name: str) -> str | None:
    return client.connect().get_model_version_by_alias(name, CHAMPION).run_id


def _run_id(runs: pd.DataFrame, variant: str, seed: int) -> str:
    (found,) = runs[(runs["variant"] == variant) & (runs["seed"] == seed)]["run_id"]
    return found


def _p_value(text: str) -> float:
    (number,) = re.findall(r"p = ([\d.e-]+) after", text)
    return float(number)


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("cifar10", "twenty-layers-cifar10"),
        ("mnist_5k", "twenty-layers-mnist_5k"),
        ("my images: v1/2", "twenty-layers-my-images-v1-2"),
        ("it's", "twenty-layers-it-s"),
        ("../..", "twenty-layers-data"),
        ("日本", "twenty-layers-data"),
    ],
)
def test_name_can_be_registered_whatever_the_data_set_is_called(
    store: Path, dataset: str, name: str
) -> None:
    runs = _logged_runs({"elu": {1: 0.5}})
    assert registered_model_name(dataset) == name
    assert _register(runs, dataset=dataset).name == name
    assert _champion_run(name) == _run_id(runs, "elu", 1)


def test_best_seed_of_every_variant_is_a_version_with_its_run(store: Path) -> None:
    runs = _logged_runs({"elu": {1: 0.5, 2: 0.52}, "bn": {1: 0.6, 2: 0.58}})
    done = _register(runs)
    assert done.versions == {"elu": 1, "bn": 2}
    for variant, seed, accuracy in (("elu", 2, "0.52"), ("bn", 1, "0.6")):
        version = client.connect().get_model_version(done.name, str(done.versions[variant]))
        assert version.run_id == _run_id(runs, variant, seed)
        outputs = client.get_run(_run_id(runs, variant, seed)).outputs
        assert outputs is not None
        assert [version.source] == [f"models:/{one.model_id}" for one in outputs.model_outputs]
        assert version.tags.items() >= {
            ("variant", variant),
            ("seed", str(seed)),
            ("data_fingerprint", "a fingerprint"),
            ("val_accuracy", accuracy),
        }


def test_registering_again_changes_nothing(store: Path) -> None:
    runs = _logged_runs({"elu": {1: 0.5}, "bn": {1: 0.6}})
    first = _register(runs)
    client.connect().update_registered_model(first.name, description="a person's words")
    before = client.connect().search_model_versions(f"name = '{first.name}'")
    second = _register(runs)
    assert (first.replaced, second.replaced) == (True, False)
    assert (second.versions, second.champion) == (first.versions, first.champion)
    assert client.connect().search_model_versions(f"name = '{first.name}'") == before
    assert client.connect().get_registered_model(first.name).description == "a person's words"
    assert "still the best" in second.reason


def test_first_champion_is_of_the_variant_with_the_best_mean_not_the_luckiest_seed(
    store: Path,
) -> None:
    runs = _logged_runs({"elu": {1: 0.4, 2: 0.9}, "bn": {1: 0.7, 2: 0.71}})
    done = _register(runs)
    assert _champion_run(done.name) == _run_id(runs, "bn", 2)
    assert "uncontested" in done.reason
    assert "highest mean validation accuracy" in done.reason
    assert f"models:/{done.name}@champion" in done.text


def test_test_accuracy_has_no_say(store: Path) -> None:
    runs = _logged_runs({"elu": {1: 0.5, 2: 0.51}, "bn": {1: 0.6, 2: 0.61}})
    runs["test_accuracy"] = [0.99, 0.98, 0.2, 0.1]
    assert _champion_run(_register(runs).name) == _run_id(runs, "bn", 2)


def _judged(runs: pd.DataFrame, tested: Mapping[str, float]) -> list[Headline]:
    """The headlines of a comparison that asks about bn and elu, of some mean test accuracies."""
    rows = runs.assign(test_accuracy=runs["variant"].map(tested) + 0.001 * runs["seed"])
    question = Question(variant="bn", reference="elu", metric="test_accuracy")
    return evidence_of(rows.to_dict("records"), questions=[question]).headlines


ELU_AND_BN = {"elu": {1: 0.50, 2: 0.51, 3: 0.52}, "bn": {1: 0.51, 2: 0.52, 3: 0.53}}


def test_a_better_by_verdict_takes_over(store: Path) -> None:
    runs = _logged_runs(ELU_AND_BN)
    held = _make_champion(runs, "elu")
    done = register(runs, DATA, _judged(runs, {"elu": 0.5, "bn": 0.55}))
    assert _champion_run(done.name) == _run_id(runs, "bn", 3)
    assert (held.replaced, done.replaced) == (True, True)
    assert "`bn` is better than `elu` beyond noise: +5.00 points" in done.reason
    described = client.connect().get_registered_model(done.name).description
    link = f"[version 2](#/models/{done.name}/versions/2)"
    assert f"**Champion: {link} (`bn`).** It took" in described
    assert done.reason[1:] in described
    assert f'load_model("models:/{done.name}@champion")' in described
    register(runs, DATA)  # it still is, and why it became champion is kept
    assert client.connect().get_registered_model(done.name).description == described


def test_a_better_by_verdict_takes_over_from_a_run_that_is_not_compared(store: Path) -> None:
    _register(_logged_runs({"elu": {9: 0.505}}))
    runs = _logged_runs(ELU_AND_BN)
    assert register(runs, DATA, _judged(runs, {"elu": 0.5, "bn": 0.55})).replaced


@pytest.mark.parametrize(
    ("tested", "verdict"),
    [({"elu": 0.5, "bn": 0.503}, "equal"), ({"elu": 0.55, "bn": 0.5}, "worse")],
)
def test_without_a_better_by_verdict_it_stays_and_it_is_said_why(
    store: Path, tested: dict[str, float], verdict: str
) -> None:
    runs = _logged_runs(ELU_AND_BN)
    _make_champion(runs, "elu")
    done = register(runs, DATA, _judged(runs, tested))
    assert not done.replaced
    assert _champion_run(done.name) == _run_id(runs, "elu", 3)
    assert f"`bn` is not better beyond noise ({verdict})" in done.reason
    described = client.connect().get_registered_model(done.name).description
    link = f"[version 1](#/models/{done.name}/versions/1)"
    assert f"**Champion: {link} (`elu`).** It stays" in described
    assert done.reason[1:] in described
    assert done.reason in done.text


def test_no_headline_calls_another_model_better_than_the_champion(store: Path) -> None:
    """Validation prefers elu, the test set bn beyond noise: elu is champion, bn no winner."""
    runs = _logged_runs({"elu": ELU_AND_BN["bn"], "bn": ELU_AND_BN["elu"]})
    headlines = _judged(runs, {"elu": 0.5, "bn": 0.55})
    assert _champion_run(register(runs, DATA, headlines).name) == _run_id(runs, "elu", 3)
    assert [one.wins for one in headlines] == [()]
    assert [one.winner for one in headlines[0].denied] == ["bn"]


def test_champion_of_other_data_is_not_challenged(store: Path) -> None:
    old = _logged_runs({"elu": {1: 0.2, 2: 0.21}})
    _register(old, data_fingerprint="another fingerprint")
    new = _logged_runs({"bn": {1: 0.8, 2: 0.81}})
    done = _register(new)
    assert not done.replaced
    assert _champion_run(done.name) == _run_id(old, "elu", 2)
    assert "other data" in done.reason


def test_data_sets_have_champions_of_their_own(store: Path) -> None:
    first = _register(_logged_runs({"elu": {1: 0.9}}), dataset="cats")
    second = _register(_logged_runs({"bn": {1: 0.1}}), dataset="dogs", data_fingerprint="other")
    assert (first.replaced, second.replaced) == (True, True)
    assert first.name != second.name


def test_comparisons_that_choose_from_a_data_set_have_champions_of_their_own(store: Path) -> None:
    digits, pairs, whole = (files.load(name) for name in ("digits", "pairs", "twenty_layers"))
    asked = {
        "twenty-layers-mnist": (whole, "images, as uint8 of shape (n, height, width, channels)"),
        "twenty-layers-mnist-digits": (digits, "images, as uint8 of shape (n, height, width"),
        "twenty-layers-mnist-pairs": (pairs, "pairs of images, as uint8 of shape (n, 2, height"),
    }
    for accuracy, (name, (comparison, images)) in enumerate(asked.items()):
        data = {**DATA, "dataset": "mnist", "data_fingerprint": name}
        runs = _logged_runs({"elu": {1: 0.9 - 0.1 * accuracy}})
        done = register(runs, data, comparison=comparison)
        assert (done.name, done.replaced) == (name, True)
        described = client.connect().get_registered_model(name).description
        assert f"It takes raw {images}" in described


def test_run_that_went_on_and_logged_its_model_again_gives_the_last_one(store: Path) -> None:
    runs = _logged_runs({"elu": {1: 0.5}})
    run_id = _run_id(runs, "elu", 1)
    last = client.connect().create_logged_model("0", name="model", source_run_id=run_id)
    client.connect().log_outputs(run_id, [LoggedModelOutput(last.model_id, step=0)])
    version = client.connect().get_model_version(_register(runs).name, "1")
    assert version.source == f"models:/{last.model_id}"


def test_run_that_diverged_is_no_version(store: Path) -> None:
    runs = _logged_runs({"elu": {1: 0.5, 2: float("nan")}, "bn": {1: float("nan")}})
    assert _register(runs).versions == {"elu": 1}


def test_of_equal_runs_that_of_the_lowest_seed_is_registered(store: Path) -> None:
    runs = _logged_runs({"elu": {1: 0.5, 2: 0.5, 3: 0.5}})
    done = _register(runs.iloc[::-1])
    version = client.connect().get_model_version(done.name, str(done.versions["elu"]))
    assert version.tags["seed"] == "1"


def test_run_without_a_model_is_refused(store: Path) -> None:
    run_id = finish(name="train elu seed 1")
    with pytest.raises(InputError, match=f"run {run_id}: expected a logged model"):
        _register(pd.DataFrame([make_run("elu", 1, run_id=run_id)]))


# What follows has models that are told apart by the validation images that they have right.
IMAGES = 500
RIGHT = {"weak": 0.5, "fair": 0.76, "fair too": 0.82, "strong": 0.97}


@pytest.fixture
def prepare_run(store: Path) -> str:
    """A prepare run whose validation split is 100 images of two classes."""
    labels = np.arange(IMAGES) % 2
    images = np.random.default_rng(3).integers(0, 256, (IMAGES, 1, 1, 1), np.uint8)
    arrays = Arrays(
        name="stripes",
        x_train=images,
        y_train=labels,
        x_test=images[:10],
        y_test=labels[:10],
        class_names=("no", "yes"),
    )
    with running.step_run("prepare", {}, name="prepare") as run:
        with tempfile.TemporaryDirectory() as directory:
            save(split_arrays(arrays, Data(val_size=100)), Path(directory))
            run.log_directory(Path(directory), "data")
        return run.run_id


def _splits(prepare_run: str) -> Splits:
    return open_splits(client.local_artifact(prepare_run, "data"))


def _register_on(prepare_run: str, runs: pd.DataFrame) -> Registration:
    fingerprint = _splits(prepare_run).fingerprint
    return _register(runs, prepare_run=prepare_run, data_fingerprint=fingerprint)


def _right(model: str) -> np.ndarray:
    generator = np.random.default_rng(list(RIGHT).index(model))
    return generator.random(100) < RIGHT[model]


def _trained(prepare_run: str, variant: str, model: str, seed: int = 1) -> pd.DataFrame:
    """A run that logged weights, and what such a model predicted."""
    splits, right = _splits(prepare_run), _right(model)
    said = np.where(right, splits.y_val, 1 - splits.y_val)
    tags = {"prepare_run": prepare_run, "data_fingerprint": splits.fingerprint}
    with running.step_run("train", {}, name=f"train {variant} seed {seed}", tags=tags) as run:
        logged = client.connect().create_logged_model("0", name="model", source_run_id=run.run_id)
        client.connect().log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        weights = Path(logged.artifact_location, "data/model.keras")
        weights.parent.mkdir(parents=True)
        weights.touch()
        accuracy = float(right.mean())
        run.log_metrics({"best_val_accuracy": accuracy})
        run.log_array(np.eye(2, dtype=np.float16)[said], "predictions/validation.npy")
    row = make_run(variant, seed, run_id=run.run_id, best_val_accuracy=accuracy)
    return pd.DataFrame([row])


def _predictions(run_id: str) -> Path:
    return client.local_artifact(run_id, "predictions/validation.npy")


def test_champion_of_an_earlier_comparison_is_replaced_by_a_better_model(prepare_run: str) -> None:
    _register_on(prepare_run, _trained(prepare_run, "elu", "weak"))
    strong, weak = _trained(prepare_run, "bn", "strong"), _trained(prepare_run, "selu", "weak")
    runs = pd.concat([strong, weak], ignore_index=True)
    done = _register_on(prepare_run, runs)
    assert done.replaced
    assert _champion_run(done.name) == _run_id(runs, "bn", 1)
    right, old = _right("strong"), _right("weak")
    only_new, only_old = int((right & ~old).sum()), int((old & ~right).sum())
    exact = scipy.stats.binomtest(only_new, only_new + only_old).pvalue
    assert _p_value(done.reason) == pytest.approx(2 * exact, rel=0.01)  # two runs compared
    assert f"{only_new} and {only_old} that only one has right" in done.reason
    assert f"{right.mean():.2%} against {old.mean():.2%}" in done.reason


@pytest.mark.parametrize("variant", ["elu", "bn"])
def test_retrained_or_other_variant_within_noise_does_not_take_over(
    prepare_run: str, variant: str
) -> None:
    held = _trained(prepare_run, "elu", "fair")
    _register_on(prepare_run, held)
    again = _trained(prepare_run, variant, "fair too")
    assert again["best_val_accuracy"].item() > held["best_val_accuracy"].item()
    done = _register_on(prepare_run, again)
    assert not done.replaced
    assert _champion_run(done.name) == held["run_id"].item()
    assert "not better beyond noise" in done.reason


def test_worse_model_beyond_noise_does_not_take_over(prepare_run: str) -> None:
    held = _trained(prepare_run, "elu", "strong")
    _register_on(prepare_run, held)
    done = _register_on(prepare_run, _trained(prepare_run, "bn", "weak"))
    assert _champion_run(done.name) == held["run_id"].item()


def test_single_seed_is_judged_by_the_validation_images(prepare_run: str) -> None:
    held = _trained(prepare_run, "elu", "weak")
    _register_on(prepare_run, held)
    runs = pd.concat([held, _trained(prepare_run, "bn", "strong")], ignore_index=True)
    done = _register_on(prepare_run, runs)
    assert done.replaced
    assert "exact McNemar test" in done.reason
    assert "correction for 1)" in done.reason  # the champion is no candidate


@pytest.mark.parametrize("damaged", [False, True])
def test_champion_of_old_that_logged_no_predictions_is_judged_by_its_accuracy(
    prepare_run: str, capsys: pytest.CaptureFixture[str], damaged: bool
) -> None:
    held = _trained(prepare_run, "elu", "fair")
    _register_on(prepare_run, held)
    file = _predictions(held["run_id"].item())
    file.write_bytes(b"damaged") if damaged else file.unlink()
    strong = _trained(prepare_run, "bn", "strong")
    done = _register_on(prepare_run, strong)
    assert done.replaced
    counts = [int(_right(model).sum()) for model in ("strong", "fair")]
    expected = scipy.stats.fisher_exact([[right, 100 - right] for right in counts]).pvalue
    assert _p_value(done.reason) == pytest.approx(expected, rel=0.01)
    assert "not both have told which images" in done.reason
    said = "predictions/validation.npy of train elu seed 1 is left out"
    assert (said in capsys.readouterr().out) == damaged


def test_champion_of_old_stays_where_its_accuracy_alone_does_not_tell_them_apart(
    prepare_run: str,
) -> None:
    held = _trained(prepare_run, "elu", "fair")
    _register_on(prepare_run, held)
    _predictions(held["run_id"].item()).unlink()
    done = _register_on(prepare_run, _trained(prepare_run, "bn", "fair too"))
    assert not done.replaced
    assert "not better beyond noise" in done.reason


@pytest.mark.parametrize("edited", ["unknown", "2.5", "nan"])
def test_champion_whose_accuracy_is_not_known_stays(prepare_run: str, edited: str) -> None:
    held = _trained(prepare_run, "elu", "weak")
    done = _register_on(prepare_run, held)
    client.connect().set_model_version_tag(done.name, "1", "val_accuracy", edited)
    _predictions(held["run_id"].item()).unlink()
    done = _register_on(prepare_run, _trained(prepare_run, "bn", "strong"))
    assert not done.replaced
    assert "it cannot be compared" in done.reason


def test_model_that_is_gone_does_not_take_over(prepare_run: str) -> None:
    _register_on(prepare_run, _trained(prepare_run, "elu", "weak"))
    strong = _trained(prepare_run, "bn", "strong")
    outputs = client.get_run(strong["run_id"].item()).outputs
    assert outputs
    for output in outputs.model_outputs:
        model = client.connect().get_logged_model(output.model_id)
        Path(model.artifact_location, "data/model.keras").unlink()
    done = _register_on(prepare_run, strong)
    assert not done.replaced
    assert "the model of version 2 (`bn`) is gone" in done.reason


def test_champion_whose_model_is_gone_loses_the_title_to_one_that_is_there(
    prepare_run: str,
) -> None:
    held = _logged_runs({"elu": {1: 0.9}})  # a logged model without files
    _register_on(prepare_run, held)
    gone_as_well = _register_on(prepare_run, _logged_runs({"elu": {2: 0.95}}))
    assert not gone_as_well.replaced
    trained = _trained(prepare_run, "bn", "strong")
    done = _register_on(prepare_run, trained)
    assert done.replaced
    assert _champion_run(done.name) == trained["run_id"].item()
    assert "took over from version 1, whose model is gone" in done.reason


@pytest.fixture
def own_registry(finished_store: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished comparison with a registry that no other test sees."""
    (tmp_path / "mlflow.db").write_bytes((finished_store.directory / "mlflow.db").read_bytes())
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(uri)
    return tmp_path


def _register_finished() -> tuple[Registration, list[client.Run]]:
    """Register the runs of the finished comparison."""
    query = "tags.step = 'train' and params.mc_samples = '10'"
    found = client.connect().search_runs(["0"], query, order_by=["attributes.start_time"])[:4]
    rows = pd.DataFrame(
        make_run(
            run.data.params["variant"],
            int(run.data.params["seed"]),
            run_id=run.info.run_id,
            best_val_accuracy=run.data.metrics["best_val_accuracy"],
        )
        for run in found
    )
    return register(rows, {name: found[0].data.tags[name] for name in DATA}), found


@pytest.fixture
def champion_server(own_registry: Path) -> Iterator[str]:
    """The address of `mlflow models serve` on a champion with dropout, outside the project."""
    done, _ = _register_finished()
    version = done.versions["alpha_dropout"]
    client.connect().set_registered_model_alias(done.name, CHAMPION, str(version))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    programs = Path(sys.executable).parent
    model = f"models:/{done.name}@{CHAMPION}"
    address = ("-h", "127.0.0.1", "-p", str(port))
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        # A server may well refuse models with pickles: there are none.
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    log = own_registry / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["mlflow", "models", "serve", "-m", model, "--env-manager", "local", *address],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/ping", server, log)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        with contextlib.suppress(ProcessLookupError):  # It may have ended by itself.
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


def _wait_until_up(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"the server did not start: {log.read_text('utf-8')}")


def _post(url: str, request: Mapping[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    posted = urllib.request.Request(url, json.dumps(request).encode(), headers)
    with urllib.request.urlopen(posted, timeout=120) as response:
        return json.load(response)["predictions"]


@pytest.mark.slow
def test_finished_comparison_has_the_best_runs_as_versions(own_registry: Path) -> None:
    done, found = _register_finished()
    for variant, number in done.versions.items():
        version = client.connect().get_model_version(done.name, str(number))
        of_variant = [run for run in found if run.data.params["variant"] == variant]
        best = min(
            of_variant,
            key=lambda run: (
                -run.data.metrics["best_val_accuracy"],
                int(run.data.params["seed"]),
            ),
        )
        assert version.run_id == best.info.run_id
    assert set(done.versions) == {"elu", "alpha_dropout"}
    champion = client.connect().get_model_version_by_alias(done.name, CHAMPION)
    assert int(champion.version) == done.champion in done.versions.values()


@pytest.mark.slow
def test_champion_answers_http_requests_with_raw_images(champion_server: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    request = {"inputs": images.tolist()}
    model = mlflow.tensorflow.load_model("models:/twenty-layers-stripes@champion")
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(_post(champion_server, request), expected, rtol=1e-6)

    answer = _post(champion_server, request | {"params": {"mc_samples": 20, "seed": 3}})
    probability = np.array(answer["probability"])
    assert probability.shape == expected.shape
    assert np.abs(probability - expected).max() > 1e-4
    entropy = scipy.stats.entropy(probability, axis=1)
    np.testing.assert_allclose(answer["entropy"], entropy, rtol=1e-3, atol=1e-6)
    assert np.all(np.array(answer["mutual_information"]) > 0)

    with pytest.raises(urllib.error.HTTPError) as refused:
        _post(champion_server, request | {"params": {"mc_samples": 10**9}})
    assert refused.value.code == 400


@pytest.fixture
def server_with_webhooks(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process talks to a server that may post to this machine, by http as well."""
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    monkeypatch.setenv("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", Fernet.generate_key().decode())
    artifacts = ("--artifacts-destination", str(store / "artifacts"))
    uri = mlflow.get_tracking_uri()
    with server(host="127.0.0.1", port=free_port(), store=uri, options=artifacts) as (_, address):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        mlflow.set_tracking_uri(address)
        yield
        mlflow.set_tracking_uri(uri)


@pytest.mark.slow
@pytest.mark.usefixtures("server_with_webhooks")
def test_webhook_of_mlflow_fires_once_when_the_champion_moves_and_not_when_it_stays() -> None:
    secret = "whoever has it can tell who has posted"
    with receiver() as received:
        mlflow.MlflowClient().create_webhook(
            "champion", received.address, ["model_version_alias.created"], secret=secret
        )
        runs = _logged_runs(ELU_AND_BN)
        name = _make_champion(runs, "elu").name
        received.wait_for(1)
        assert not _make_champion(runs, "elu").replaced
        assert not register(runs, DATA, _judged(runs, {"elu": 0.5, "bn": 0.503})).replaced
        assert register(runs, DATA, _judged(runs, {"elu": 0.5, "bn": 0.55})).replaced
        received.wait_for(2)
        assert not register(runs, DATA, _judged(runs, {"elu": 0.5, "bn": 0.55})).replaced
        # Webhooks are posted in the background: what comes after the next has been held back.
        client.connect().set_registered_model_alias(name, "other", "1")
        received.wait_for(3)
    data = [body["data"] for body in received.bodies]
    assert [(one["alias"], one["version"]) for one in data] == [
        *((CHAMPION, "1"), (CHAMPION, "2"), ("other", "1"))
    ]
    assert {(body["entity"], body["action"]) for body in received.bodies} == {
        ("model_version_alias", "created")
    }
    for headers, raw in zip(received.headers, received.raw, strict=True):
        signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.{raw}"
        digest = hmac.digest(secret.encode(), signed.encode(), "sha256")
        assert headers["X-MLflow-Signature"] == f"v1,{base64.b64encode(digest).decode()}"
