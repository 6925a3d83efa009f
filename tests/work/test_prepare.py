import json
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import mlflow
import numpy as np
import pytest
from conftest import PROJECT

from pipeline.comparisons import Comparison, Data
from pipeline.comparisons.twenty_layers import COMPARISON, ELU
from pipeline.data import npz
from pipeline.data.splits import open_splits
from pipeline.data.splitting import split_arrays
from pipeline.parameters import Prepare
from pipeline.prepare import prepare
from pipeline.tracking import client
from pipeline.work.prepare import _choices, prepared, step_of
from pipeline.work.variant_step import LoggedData, logged_splits


def test_the_run_holds_all_that_the_other_steps_and_a_person_need(
    store: Path, tiny_npz: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = prepare(Prepare(dataset=str(tiny_npz), val_size=30, split_seed=2))
    run = client.get_run(run_id)
    data = Data(val_size=30, split_seed=2)
    expected = split_arrays(npz.read(npz.find(str(tiny_npz))), data)

    assert (run.info.status, run.info.run_name) == ("FINISHED", "prepare stripes")
    assert f"run {run_id}" in capsys.readouterr().out.splitlines()[-1]
    assert run.data.params == {"dataset": str(tiny_npz), "val_size": "30", "seed": "2"}
    assert run.data.metrics == {"train_images": 270, "validation_images": 30, "test_images": 60}
    assert run.data.tags["step"] == "prepare"
    assert run.data.tags["dataset"] == "stripes"
    assert run.data.tags["data_fingerprint"] == expected.fingerprint
    assert len(run.data.tags["step_key"]) == 64
    note = run.data.tags["mlflow.note.content"]
    assert f"mlflow run . -e prepare -P dataset={tiny_npz} -P val_size=30 -P seed=2" in note
    assert run.inputs
    contexts = [one.tags[0].value for one in run.inputs.dataset_inputs]
    assert sorted(contexts) == ["test", "training", "validation"]

    local = Path(mlflow.artifacts.download_artifacts(run_id=run_id))
    assert {path.name for path in local.iterdir()} == {
        "data",
        "class_counts.json",
        "sample_images.png",
    }
    counts = json.loads((local / "class_counts.json").read_text("utf-8"))
    with np.load(tiny_npz) as arrays:
        of_each = np.bincount(arrays["y_train"])
    assert counts == {
        "train": {str(label): count - 10 for label, count in enumerate(of_each)},
        "validation": {"0": 10, "1": 10, "2": 10},
        "test": {"0": 20, "1": 20, "2": 20},
    }
    assert matplotlib.image.imread(local / "sample_images.png").std() > 0

    opened = open_splits(local / "data")
    assert opened.fingerprint == expected.fingerprint
    for name in ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "mean", "variance"):
        array = getattr(opened, name)
        assert isinstance(array, np.memmap)
        np.testing.assert_array_equal(array, getattr(expected, name))


PAIRS = Data(
    classes=(2, 0), skipped_per_class=3, images_per_class=40, val_images_per_class=11, pairs=True
)


def test_the_run_of_pairs_says_how_they_were_chosen(store: Path, tiny_npz: Path) -> None:
    comparison = Comparison(variants=(ELU.derive(name="two", arms="two"),), data=PAIRS)
    run = client.get_run(prepared(Prepare(dataset=str(tiny_npz)), comparison).run_id)
    local = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id))
    assert json.loads((local / "class_counts.json").read_text("utf-8")) == {
        "train": {"2": 40, "0": 40},
        "validation": {"different": 11, "same": 11},
        "test": {"different": 20, "same": 20},
    }
    assert run.data.metrics == {"train_images": 80, "validation_images": 22, "test_images": 40}
    assert run.data.params == {
        "dataset": str(tiny_npz),
        "val_size": "5000",
        "seed": "1",
        **{name: str(value) for name, value in PAIRS.selection.items()},
    }
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith(
        "`stripes`: 80 train, 22 validation, 40 test images of shape (8, 8, 3) in 2 classes. "
        "The classes kept are 2, 0, numbered from 0 in this order. The training images are "
        "split by class, in an order that `split_seed` decides. Of each class 3 are skipped. "
        "Of each class 11 are held out to validate with. Of each class 40 are trained with. "
        "The question is whether two images are of the same class. Pairs "
    )
    assert matplotlib.image.imread(local / "sample_images.png").std() > 0
    opened = open_splits(local / "data", run.data.tags["data_fingerprint"])
    assert (opened.pairs, opened.kept_names) == (True, ("2", "0"))
    assert opened.x_test.shape == (40, 2, 8, 8, 3)


def test_every_choice_of_images_is_in_the_key_the_fingerprint_and_the_note(tiny_npz: Path) -> None:
    said = {
        "": Data(),
        "split by position, in the order of the data set": Data(split="position"),
        "Pixels are brought to 0 to 1": Data(standardized=False),
        "Of each class 7 are skipped": Data(skipped_per_class=7),
        "Of each class 5 are held out": Data(val_images_per_class=5),
        "Of each class 6 are trained with": Data(images_per_class=6),
        "The classes kept are 1, 2,": Data(classes=(1, 2)),
        "whether two images are of the same class": Data(pairs=True),
    }
    arrays, keys, fingerprints = npz.read(npz.find(str(tiny_npz))), set(), set()
    for words, data in said.items():
        variant = ELU.derive(name="one", arms="shared" if data.pairs else "one")
        comparison = Comparison(variants=(variant,), data=data)
        keys.add(step_of(Prepare(dataset=str(tiny_npz)), comparison).key)
        splits = split_arrays(arrays, data)
        fingerprints.add(splits.fingerprint)
        note = " ".join(_choices(splits, data))
        assert [one for one in said if one and one in note] == [words] * bool(words)
    assert len(keys) == len(fingerprints) == len(said)


def test_a_second_call_reuses_the_run_and_another_split_does_not(
    store: Path, tiny_npz: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(val_size: int = 30, reuse: str = "auto") -> LoggedData:
        asked = Prepare(dataset=str(tiny_npz), val_size=val_size)
        return prepared(asked, COMPARISON, reuse=reuse)

    first = made()
    assert made() == first
    assert first.location == str(tiny_npz)
    assert logged_splits(first.run_id, first.fingerprint).fingerprint == first.fingerprint
    assert first.tags == {
        "dataset": "stripes",
        "data_fingerprint": first.fingerprint,
        "prepare_run": first.run_id,
    }
    larger = made(val_size=60)
    assert larger.run_id != first.run_id
    assert larger.fingerprint != first.fingerprint
    again = made(reuse="never")
    assert again.run_id not in (first.run_id, larger.run_id)
    assert again.fingerprint == first.fingerprint
    assert capsys.readouterr().out.splitlines() == [
        "prepare stripes: to run (no finished run of it yet)",
        "prepare stripes: reused (same inputs)",
        "prepare stripes: to run (parameter val_size changed from 30 to 60)",
        "prepare stripes: to run (reuse=never)",
    ]


def test_a_file_with_other_content_under_the_same_name_is_prepared_anew(
    store: Path, tiny_npz: Path
) -> None:
    path = store / "stripes.npz"
    path.write_bytes(tiny_npz.read_bytes())
    first = prepare(Prepare(dataset=str(path)))
    with np.load(path) as arrays:
        changed = {**arrays, "x_test": arrays["x_test"][::-1]}
    np.savez(path, **changed)
    assert prepare(Prepare(dataset=str(path))) != first


REFUSED = {
    "missing.npz: expected": ["--dataset", "missing.npz"],
    "received 'cifar-10'. Did you mean 'cifar10'?": ["--dataset", "cifar-10"],
    "val_size: expected auto or an integer from 1 to": [
        "--dataset",
        "stripes.npz",
        "--val-size",
        "0",
    ],
    "Did you mean 'never'?": ["--dataset", "stripes.npz", "--reuse", "nevr"],
}
REFUSE = """
import json, sys, time
from pipeline import command
from pipeline.prepare import prepare
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["prepare", *arguments]
    started = time.monotonic()
    try:
        command.run(prepare)
    except SystemExit as end:
        print(end.code, time.monotonic() - started < 5, "tensorflow" in sys.modules)
"""


def test_what_cannot_be_prepared_is_refused_in_seconds_and_without_tensorflow(
    store: Path, tiny_npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store / "stripes.npz").write_bytes(tiny_npz.read_bytes())
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    ran = subprocess.run(
        [sys.executable, "-c", REFUSE, json.dumps(list(REFUSED.values()))],
        capture_output=True,
        text=True,
    )
    assert ran.stdout.splitlines() == ["2 True False"] * len(REFUSED), ran.stderr
    errors = ran.stderr.splitlines()
    assert [line[:7] for line in errors] == ["Error: "] * len(REFUSED)
    for said, error in zip(REFUSED, errors, strict=True):
        assert said in error
