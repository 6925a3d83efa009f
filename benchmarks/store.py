"""What commands take on a store of many runs, as a team has that reruns a comparison every night.

The runs are those of one comparison, trained for an epoch, and copies of them from earlier nights:
with other seeds, of other code, or on other data. What is compared is a quarter of the trainings.
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks import harness, outcomes
from pipeline import command
from pipeline.parameters import Parameters, parameter
from pipeline.tracking import server

if TYPE_CHECKING:
    from mlflow.entities import Run

PEER = "import mlflow"
GIVEN = {"dataset": "mnist_5k", "seeds": "1,2,3", "n_trials": 3, "search_epochs": 1, "epochs": 1}
MAIN = harness.entry_point("main", **GIVEN)
COMMANDS = {
    "plan=only": harness.entry_point("main", **(GIVEN | {"seeds": "1,2,3,4", "plan": "only"})),
    "main": MAIN,
    "compare": harness.entry_point("compare", reuse="never"),
    "ui": [sys.executable, "-m", "pipeline.ui", "--open", "never"],  # of a server that is there
}
BY_SERVER, SERVER_CPU = ", server", "server_cpu_seconds"
FIGURES = {"wall_seconds": "wall s", "cpu_seconds": "CPU s", "peak_mib": "MiB"}
FIGURES[SERVER_CPU] = "CPU s of the server"
METRICS_PER_REQUEST = 1000  # MLflow takes no more
CURVES = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]
CURVES += ["learning_rate", "epoch_seconds", "epoch_cpu_seconds", "elapsed_seconds"]
DAY = 24 * 60 * 60 * 1000  # milliseconds


class ManyRuns(Parameters):
    """What is measured."""

    runs: tuple[int, ...] = parameter.asked(
        "100,500,2000", "How many, separated by commas.", int, many=True
    )
    epochs: int = parameter.asked(60, "Epochs of each training.", int)
    rounds: int = harness.rounds(3)


def store(asked: ManyRuns) -> None:
    """Measure whole commands on stores of more and more runs, by their file and by a server."""
    machine = harness.describe_machine()
    counts = sorted(asked.runs)
    with tempfile.TemporaryDirectory() as project:
        directory = Path(project)
        uri = f"sqlite:///{directory}/mlflow.db"
        harness.run(MAIN, directory=directory)
        check_tensorflow_is_not_imported(MAIN, directory)
        copies = Copies(uri, asked.epochs)
        tables = []
        for count in counts:
            copies.fill(count)
            with _served(uri) as (address, used):
                sides = _sides(directory, address, used)
                tables.append(harness.in_turns(sides, rounds=asked.rounds).assign(runs=count))
        copies.check_registered()
    measured = pd.concat(tables)
    outcomes.publish(
        "store",
        _results(measured),
        machine=machine,
        conditions={"epochs of a training": asked.epochs, **GIVEN},
        measured=measured,
        notes=["TensorFlow was not imported.", *_growth(measured)],
    )


def _sides(
    directory: Path, address: str, of_server: Callable[[], harness.Row]
) -> dict[str, Callable[[int], harness.Row]]:
    def side(arguments: Sequence[str], **environment: str) -> Callable[[int], harness.Row]:
        def measure(_round: int) -> harness.Row:
            before = of_server()[SERVER_CPU]
            usage, _ = harness.run(arguments, directory=directory, environment=environment)
            after = of_server()
            return {**asdict(usage), **after, SERVER_CPU: after[SERVER_CPU] - before}

        return measure

    on_server = {"MLFLOW_TRACKING_URI": address}
    by_file = {name: side(one) for name, one in COMMANDS.items() if name != "ui"}
    by_server = {f"{name}{BY_SERVER}": side(one, **on_server) for name, one in COMMANDS.items()}
    return {**by_file, **by_server, PEER: side([sys.executable, "-c", PEER])}


@contextmanager
def _served(uri: str) -> Iterator[tuple[str, Callable[[], harness.Row]]]:
    """The address of the server that `ui` starts on a store, and what it has used until asked."""
    import psutil

    started, host = time.perf_counter(), "127.0.0.1"
    with server.server(host=host, port=server.free_port(host, 5500), store=uri) as (process, where):
        seconds = time.perf_counter() - started

        def used() -> harness.Row:
            parent = psutil.Process(process.pid)
            every = [parent, *parent.children(recursive=True)]
            memory = sum(one.memory_info().rss for one in every) / harness.MIB
            cpu = sum(sum(one.cpu_times()[:2]) for one in every)
            return {"server_seconds": seconds, "server_mib": memory, SERVER_CPU: cpu}

        yield where, used


class Copies:
    """Copies of the runs of a comparison, from earlier nights.

    Args:
        uri: of an MLflow store with the runs of one comparison.
        epochs: of each copy of a training.
    """

    def __init__(self, uri: str, epochs: int):
        import mlflow

        self._client = mlflow.MlflowClient(uri)
        order = ["attributes.start_time"]
        self._originals = list(self._client.search_runs(["0"], order_by=order))
        self._epochs = epochs
        self._count = len(self._originals)
        self._random = np.random.default_rng(0)
        self._copied: dict[str, str] = {}  # ids of a night's copies, by the originals'

    def fill(self, count: int) -> None:
        """Add copies until there are so many runs."""
        for number in range(self._count, count):
            night, place = divmod(number, len(self._originals))
            self._copy(self._originals[place], night)
        self._count = max(count, self._count)

    def check_registered(self) -> None:
        """That the comparison registered every variant's best run, as it is to.

        Raises:
            RuntimeError: if it did not.
        """
        registered = {version.run_id for version in self._client.search_model_versions()}
        if not registered or registered & set(self._copied.values()):
            raise RuntimeError(f"registered were {registered}")

    def _copy(self, original: "Run", night: int) -> None:
        """A copy from so many nights before: four in turn are of one kind each."""
        from mlflow.entities import LoggedModelOutput, Param

        info, data, step = original.info, original.data, original.data.tags.get("step")
        tags = {name: self._copied.get(value, value) for name, value in data.tags.items()}
        params = dict(data.params)
        if "step_key" in tags:
            tags["step_key"] = hashlib.sha256(f"{tags['step_key']}{night}".encode()).hexdigest()
        if night % 4 >= 2 and "data_fingerprint" in tags:  # on other data
            tags["data_fingerprint"] = hashlib.sha256(f"{night % 4}".encode()).hexdigest()
            tags["dataset"] = f"other_{night % 4}"
        if night % 4 == 0 and step == "train":  # else of other code
            params["seed"] = str(int(params["seed"]) + 1000 * night)
            tags["mlflow.runName"] = f"train {params['variant']} seed {params['seed']}"
        started = info.start_time - night * DAY
        run = self._client.create_run("0", start_time=started, tags=tags)
        self._copied[info.run_id] = run_id = run.info.run_id
        listed = [Param(*item) for item in params.items()]
        self._client.log_batch(run_id, params=listed)
        for metrics in self._batches(data.metrics, self._epochs if step == "train" else 10):
            self._client.log_batch(run_id, metrics=metrics)
        inputs = original.inputs.dataset_inputs if original.inputs else []
        self._client.log_inputs(run_id, datasets=inputs)
        if step == "train":
            model = self._client.create_logged_model(
                "0", name=params["variant"], source_run_id=run_id
            )
            self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        self._client.set_terminated(run_id, info.status, info.end_time - night * DAY)

    def _batches(self, metrics: Mapping[str, float], n_epochs: int) -> Iterator[list]:
        from mlflow.entities import Metric

        points = [Metric(name, value, 0, 0) for name, value in self._final(metrics).items()]
        epochs = np.arange(1, n_epochs + 1)
        level = 2 + self._random.normal(0, 0.05)
        curve = {
            "train_loss": level / np.sqrt(epochs),
            "train_accuracy": 1 - 1 / np.sqrt(epochs + 1),
            "val_loss": level / np.sqrt(epochs) + 0.1 + self._random.normal(0, 0.01, n_epochs),
            "val_accuracy": 0.9 - 1 / np.sqrt(epochs + 1),
            "learning_rate": np.full(n_epochs, 0.001),
            "epoch_seconds": np.full(n_epochs, 2.0),
            "epoch_cpu_seconds": np.full(n_epochs, 2.0),
            "elapsed_seconds": 2.0 * epochs,
        }
        points += [
            Metric(name, float(value), 0, int(epoch))
            for name in CURVES
            if name in metrics
            for epoch, value in zip(epochs, curve[name], strict=True)
        ]
        for start in range(0, len(points), METRICS_PER_REQUEST):
            yield points[start : start + METRICS_PER_REQUEST]

    def _final(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """An original's figures, a little worse, so that it stays the best of its variant."""
        worse = 1 + abs(self._random.normal(0, 0.01))
        return {
            name: value / worse if name.endswith("accuracy") else value * worse
            for name, value in metrics.items()
            if name not in CURVES
        }


def _results(measured: pd.DataFrame) -> list[outcomes.Result]:
    def of(side: str, runs: int, column: str) -> list[float]:
        rows = measured[(measured.side == side) & (measured.runs == runs)]
        return rows.sort_values("round")[column].tolist()

    fewest, most = min(measured.runs), max(measured.runs)
    results = [
        outcomes.Result(what=f"{side}, {most:,} runs: {unit}", ours=of(side, most, column))
        for side in dict.fromkeys(measured.side)
        if side != PEER
        for column, unit in FIGURES.items()
        if column != SERVER_CPU or side.endswith(BY_SERVER)
    ]
    main, peer = (of(side, fewest, "wall_seconds") for side in ("main", PEER))
    more = [ours - theirs for ours, theirs in zip(main, peer, strict=True)]
    what = f"main, {fewest:,} runs: wall s more than `{PEER}`"
    return [*results, outcomes.Result(what=what, ours=more, at_most=2)]


def _growth(measured: pd.DataFrame) -> Iterator[str]:
    """What the commands take with every number of runs, and what a run more adds."""
    for side, rows in measured.groupby("side", sort=False):
        medians = rows.groupby("runs")[list(FIGURES)].median()
        for column, unit in FIGURES.items():
            if side == PEER or (column == SERVER_CPU and not str(side).endswith(BY_SERVER)):
                continue
            each = ", ".join(f"{value:.3g}" for value in medians[column])
            slope = np.polyfit(medians.index, medians[column], 1)[0] if len(medians) > 1 else 0
            yield f"{side}: {unit} {each}; {1000 * slope:+.2g} per 1,000 runs."
    of_server = measured.groupby("runs")[["server_seconds", "server_mib"]].median()
    for runs, (seconds, memory) in of_server.iterrows():
        yield f"The server of {runs:,} runs: {seconds:.1f} s until it answers, {memory:.0f} MiB."


def check_tensorflow_is_not_imported(again: list[str], directory: Path) -> None:
    """Refuse a rerun that imports TensorFlow."""
    python, *arguments = again
    _, printed = harness.run(
        [python, "-X", "importtime", *arguments], directory=directory, errors=True
    )
    imported = {line.rpartition("|")[2].strip() for line in printed.splitlines() if "|" in line}
    if "mlflow" not in imported or "tensorflow" in imported:
        raise RuntimeError(f"the rerun imported TensorFlow, or nothing:\n{printed[-2000:]}")


if __name__ == "__main__":
    command.run(store)
