import json
from pathlib import Path

from pipeline.comparisons import Data
from pipeline.data import npz
from pipeline.data.splits import split_arrays
from pipeline.tracking import client, step_runs
from pipeline.tracking.step_runs import StepRun


def test_every_split_is_logged_as_an_input_of_its_own(store: Path, tiny_npz: Path) -> None:
    arrays = npz.read(npz.find(str(tiny_npz)))
    run_id = client.connect().create_run("0").info.run_id
    splits = split_arrays(arrays, Data(val_size=30, split_seed=1))
    StepRun(run_id, "0").log_datasets(splits, location="/data/stripes.npz")
    logged = client.get_run(run_id).inputs
    assert logged
    inputs = {one.tags[0].value: one.dataset for one in logged.dataset_inputs}
    assert set(inputs) == {"training", "validation", "test"}
    assert len({dataset.digest for dataset in inputs.values()}) == 3
    assert {dataset.name for dataset in inputs.values()} == {"stripes"}
    profiles = {split: json.loads(str(dataset.profile)) for split, dataset in inputs.items()}
    assert {split: profile["images"] for split, profile in profiles.items()} == {
        "training": 270,
        "validation": 30,
        "test": 60,
    }
    assert profiles["validation"]["classes"] == {"0": 10, "1": 10, "2": 10}
    assert profiles["test"]["shape"] == [60, 8, 8, 3]
    assert json.loads(str(inputs["training"].source)) == {"uri": "/data/stripes.npz"}
    schema = json.loads(str(inputs["training"].schema))["mlflow_tensorspec"]["features"]
    assert json.loads(schema)[0]["tensor-spec"] == {"dtype": "uint8", "shape": [-1, 8, 8, 3]}


def test_the_same_data_has_the_same_digests_and_other_data_has_others(tiny_npz: Path) -> None:
    arrays = npz.read(npz.find(str(tiny_npz)))

    def digests(seed: int) -> set[str]:
        splits = split_arrays(arrays, Data(val_size=30, split_seed=seed))
        return {one.dataset.digest for one in step_runs.inputs(splits, location="here")}

    assert len(digests(1) | digests(1)) == 3
    assert len(digests(1) | digests(2)) == 6
