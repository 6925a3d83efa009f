"""Compiled training against plain `keras.Model.fit` with default settings, in turns.

Both sides train the same network from the same initial weights on the same images, with the same
batch size, optimizer and learning rate, and validate after every epoch. Each measurement is a
fresh process: plain training keeps TensorFlow's own threads and flags, compiled training sets those
that the pipeline sets. Epoch 1 holds tracing and compilation and is not timed.
"""

import datetime
import itertools
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from typer import Option

from pipeline import cli, data, environment, progress, sources
from pipeline.errors import unknown_name
from pipeline.variants import get_variant

VARIANTS = ("elu", "bn", "selu")
SIDES = ("compiled", "plain")
OUTPUT = Path("benchmarks/results/throughput.json")
Row = dict[str, Any]
OnEpoch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Turn:
    """One measurement.

    Args:
        side: ``compiled`` (the pipeline's trainer) or ``plain`` (`keras.Model.fit`).
        variant: name of the architecture.
        seed: decides initial weights and shuffling.
        epochs: epochs timed, after the warm-up epoch.
        learning_rate: constant rate of Nadam.
        directory: where `data.save` put the data set.
    """

    side: str
    variant: str
    seed: int
    epochs: int
    learning_rate: float
    directory: str


def throughput(
    *,
    dataset: cli.Dataset = "auto",
    variants: Annotated[str, Option(help="Of elu, bn, selu, separated by commas.")] = "elu,bn,selu",
    epochs: Annotated[int, Option(help="Epochs timed, after a warm-up epoch.", min=1)] = 3,
    rounds: Annotated[int, Option(help="Turns of each side; each has its seed.", min=1)] = 2,
    learning_rate: Annotated[float, Option(help="Of Nadam, on both sides.", min=1e-12)] = 0.0002,
    output: Annotated[Path, Option(help="JSON file for the results.", dir_okay=False)] = OUTPUT,
) -> None:
    """Compare compiled training with plain keras.Model.fit, side by side and in turns.

    Leave the machine alone meanwhile: whatever else runs on it distorts the times.
    """
    names = cli.split_list("variants", variants)
    for name in names:
        if name not in VARIANTS:
            raise unknown_name("variants", name, VARIANTS)
    report = describe_machine() | {"learning_rate": learning_rate}
    source = sources.resolve(dataset)
    for warning in filter(None, (report["warning"], source.warning)):
        progress.update(message=f"WARNING: {warning}")
    splits = data.prepare_splits(sources.load(source), val_size=5000, seed=1)
    report["dataset"] = splits.name
    report["images"] = {"training": len(splits.y_train), "validation": len(splits.y_val)}
    turns = list(itertools.product(range(1, rounds + 1), names, SIDES))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as directory:
        data.save(splits, Path(directory))
        for done, (seed, name, side) in enumerate(turns):
            text = f"{name} {side}, seed {seed}"
            progress.update(step="measuring", done=done, total=len(turns), text=text)
            rows += measure_in_fresh_process(
                Turn(side, name, seed, epochs, learning_rate, directory)
            )
    progress.update(step="measuring", state="finished", text=f"{len(turns)} turns")
    report |= {"summary": summarize(pd.DataFrame(rows)), "measurements": rows}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    show(report, Console(highlight=False))
    progress.update(message=f"Written to {output}")


def describe_machine() -> dict[str, Any]:
    """What the times depend on, with a warning if the machine is busy."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    load = os.getloadavg()[0]
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "processor": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("tensorflow", "keras", "numpy")},
        "load_average": load,
        "warning": f"the machine was busy at the start (load average {load:.1f}); the times are "
        "distorted. Measure again when it is idle."
        if load > 0.5
        else None,
    }


def measure_in_fresh_process(turn: Turn) -> list[Row]:
    """Run `measure` in a process of its own.

    Raises:
        RuntimeError: if the process fails; the message holds the end of its stderr.
    """
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.throughput", "--worker", json.dumps(asdict(turn))],
        cwd=Path(__file__).parents[1],
        env=default_environment(),
        capture_output=True,
        text=True,
    )
    if finished.returncode:
        raise RuntimeError(f"{turn.variant} {turn.side}: {finished.stderr[-4000:]}")
    return json.loads(finished.stdout.splitlines()[-1])


def default_environment() -> dict[str, str]:
    """This process's environment without anything that sets TensorFlow's threads or flags."""
    prefixes = ("TF_", "XLA_", "OMP_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {"CUDA_VISIBLE_DEVICES": "-1"} | kept  # the pipeline's default, so one device for both


def measure(turn: Turn) -> list[Row]:
    """Train in this process and time every epoch, validation included.

    Returns:
        One row per epoch, the warm-up epoch 1 first: wall and CPU seconds (all threads) since the
        end of the epoch before, and its losses.
    """
    rows: list[Row] = []
    clocks = [(time.perf_counter(), time.process_time())]

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        clocks.append((time.perf_counter(), time.process_time()))
        wall, cpu = (now - before for now, before in zip(clocks[-1], clocks[-2], strict=True))
        row: Row = {"variant": turn.variant, "side": turn.side, "seed": turn.seed, "epoch": epoch}
        row |= {"wall_seconds": wall, "cpu_seconds": cpu}
        rows.append(row | {name: float(metrics[name]) for name in ("loss", "val_loss")})

    {"compiled": _train_compiled, "plain": _train_plain}[turn.side](turn, on_epoch)
    return rows


def _train_compiled(turn: Turn, on_epoch: OnEpoch) -> None:
    environment.import_tensorflow()
    from pipeline.training import shared_trainer

    shared_trainer(get_variant(turn.variant), Path(turn.directory)).fit(
        learning_rate=turn.learning_rate,
        epochs=turn.epochs + 1,
        patience=turn.epochs + 1,  # early stopping does its work, as in the pipeline; never stops
        seed=turn.seed,
        on_epoch=on_epoch,
    )


def _train_plain(turn: Turn, on_epoch: OnEpoch) -> None:
    import keras

    from pipeline.models import build_model

    variant, prepared = get_variant(turn.variant), data.open_prepared(Path(turn.directory))
    x_train, y_train, x_val, y_val = (  # in memory, not memory-mapped
        getattr(prepared, name)[:].copy() for name in ("x_train", "y_train", "x_val", "y_val")
    )
    # No global seed: with one, Model.fit shuffles the same way in every epoch, and a network with
    # batch normalisation learns the mini-batches by heart. The weights have a seed of their own.
    model = build_model(
        variant,
        image_shape=prepared.image_shape,
        n_classes=prepared.n_classes,
        mean=prepared.mean,
        variance=prepared.variance,
        seed=turn.seed,
    )
    model.compile(
        optimizer=keras.optimizers.Nadam(turn.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: on_epoch(epoch + 1, logs)
    )
    model.fit(
        x_train,
        y_train,
        batch_size=variant.batch_size,
        epochs=turn.epochs + 1,
        validation_data=(x_val, y_val),
        verbose=0,
        callbacks=[clock],
    )


def summarize(measurements: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Median and range by variant: of times over all timed epochs, of ratios over the seeds.

    Args:
        measurements: rows of `measure`; the warm-up epoch 1 counts for the losses alone.

    Returns:
        ``median``, ``lowest`` and ``highest`` by variant and quantity. A ratio is plain seconds
        by compiled seconds, of the median epochs of one turn of each.
    """
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for variant, rows in measurements.groupby("variant", sort=False):
        timed = rows[rows.epoch > 1]
        spreads = summary.setdefault(str(variant), {})
        for clock in ("wall", "cpu"):
            for side in SIDES:
                seconds = timed.loc[timed.side == side, f"{clock}_seconds"]
                spreads[f"{side}_{clock}_seconds"] = _spread(seconds)
            by_seed = timed.pivot_table(f"{clock}_seconds", "seed", "side", aggfunc="median")
            spreads[f"{clock}_ratio"] = _spread(by_seed["plain"] / by_seed["compiled"])
        for (epoch, side), losses in rows.groupby(["epoch", "side"])["val_loss"]:
            spreads[f"{side}_val_loss_{epoch}"] = _spread(losses)
    return summary


def _spread(values: pd.Series) -> dict[str, float]:
    return {"median": values.median(), "lowest": values.min(), "highest": values.max()}


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print a report: times, learning curves and the conditions they were measured under."""
    if not console.is_terminal:
        console.width = 120  # a log has no width of its own
    columns = {
        "plain wall s": "plain_wall_seconds",
        "plain CPU s": "plain_cpu_seconds",
        "compiled wall s": "compiled_wall_seconds",
        "compiled CPU s": "compiled_cpu_seconds",
        "epochs per CPU s: ratio": "cpu_ratio",
        "epochs per wall s: ratio": "wall_ratio",
    }
    times = Table("variant", *columns, title="One epoch, validation included")
    curves = Table("variant", "epoch", "plain", "compiled", title="val_loss after each epoch")
    epochs = max(row["epoch"] for row in report["measurements"])
    for variant, spreads in report["summary"].items():
        times.add_row(variant, *(_text(spreads[name], 2) for name in columns.values()))
        for epoch in range(1, epochs + 1):
            losses = [spreads[f"{side}_val_loss_{epoch}"] for side in ("plain", "compiled")]
            curves.add_row(variant, str(epoch), *(_text(loss, 3) for loss in losses))
    console.print(times, curves)
    console.print(
        "Median (lowest-highest): of all timed epochs, and of the seeds for ratios and losses.\n"
        "Ratios: how many times as many epochs compiled training does as plain training.\n"
        "Compiled training runs on one thread, plain training on TensorFlow's default number."
    )
    console.print(_conditions(report))
    if report["warning"]:
        console.print(f"WARNING: {report['warning']}", style="bold red")


def _conditions(report: Mapping[str, Any]) -> str:
    images = ", ".join(f"{count:,} {split} images" for split, count in report["images"].items())
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        f"{report['dataset']}: {images}\n"
        f"{report['processor']}, {report['cores']} cores, {report['memory_gib']} GiB\n"
        f"{report['date']}, {versions}"
    )


def _text(spread: Mapping[str, float], digits: int) -> str:
    median, lowest, highest = (f"{value:.{digits}f}" for value in spread.values())
    return f"{median} ({lowest}-{highest})"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:  # not through cli.run, which sets the pipeline's threads
        print(json.dumps(measure(Turn(**json.loads(sys.argv[2])))))
    else:
        cli.run(throughput)
