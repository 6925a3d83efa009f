"""A finished training trained again, and compared with what it logged, to the last digit.

Whether something has changed that no step's inputs tell of: a processor, a library of the system, a
setting of the environment, memory that fails.
"""

import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.answers.night import Finding
from pipeline.base import DivergenceError, markdown, progress
from pipeline.base.phrases import listed
from pipeline.comparing import artifacts
from pipeline.comparing.comparison import Wanted, decided
from pipeline.comparing.crew import connected
from pipeline.comparisons import Variant
from pipeline.nights.causes import factors
from pipeline.nights.past import Past
from pipeline.nights.record import REPLAY, Night, Trained
from pipeline.steps import owners
from pipeline.steps.running import step_run
from pipeline.steps.step import recorded_inputs, recorded_variant
from pipeline.tracking import addresses, client, curves
from pipeline.tracking.runs import StepRun, kill_running_steps
from pipeline.training.runtime import import_tensorflow
from pipeline.uncertainty.calibration import in_half_precision
from pipeline.work.graph import DataSets
from pipeline.work.source import SOURCE_RUN
from pipeline.work.train import TrainStep
from pipeline.work.trained_model import trained_model
from pipeline.work.variant_step import splits_of

REPLAYED = "replayed_run"  # the tag that names the training
CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")
MOST_LOOKED_AT = 2000  # earlier replays


class Replay(NamedTuple):
    """What came of training a finished training again.

    Args:
        name: of the training's run.
        epochs: that were compared.
        differs: what was another one first; empty: every digit was equal.
        changed: what has changed since, in words; empty: nothing that is known to decide it.
    """

    name: str
    epochs: int
    differs: str = ""
    changed: str = ""

    def finding(self) -> Finding:
        """It in words; other digits are an alarm where nothing that is known explains them."""
        if not self.differs:
            text = f"{self.name} was trained again: all {self.epochs} epochs and its predictions "
            text += "are equal to the last digit"
            but = f", though these are others now: {self.changed}" if self.changed else ""
            return Finding(text=f"{text}{but}.")
        text = f"{self.name} was trained again and came to other digits: {self.differs}."
        unexplained = "Nothing that decides its result has changed as far as is known: look at the "
        unexplained += "machine, its memory, its libraries and the environment."
        return Finding(
            text=text,
            is_alarm=not self.changed,
            about=REPLAY,
            cause=f"Other than then: {self.changed}." if self.changed else unexplained,
        )


def replay(of: Wanted, night: StepRun, data: DataSets, before: Past) -> Finding:
    """Train the training of a comparison again that was replayed longest ago, on a worker.

    Args:
        of: what was asked for.
        night: its run.
        data: tonight's.
        before: the nights before.
    """
    training = _next(_trainings(of, night, data, before.last), night.experiment)
    if training is None:
        return Finding(text="Nothing is finished yet that could be trained again.")
    from pipeline.steps import workers

    name = str(training.info.run_name)
    progress.say(f"Training {name} again, to compare every digit.")
    with ExitStack() as stack:
        if of.asked.scheduler == "none":
            stack.callback(kill_running_steps, night.run_id, night.experiment)
        queue = stack.enter_context(connected(of, 1))(night)
        queue.show_progress(stack.enter_context(progress.display()))
        future = queue.submit(replayed, {"run_id": training.info.run_id})
        results, errors = workers.gather({name: future})
    if errors:
        return Finding(text=f"{name} could not be trained again: {errors[name]}.")
    night.set_tags({"replay": results[name].differs or "equal"})
    return _unless_accepted(results[name].finding(), training, before.digits_since)


def _unless_accepted(found: Finding, training: client.Run, since: float) -> Finding:
    """No alarm of a training that is older than what was accepted."""
    if not found.is_alarm or training.info.end_time / 1000 >= since:
        return found
    said = f"Of trainings before {datetime.fromtimestamp(since, UTC):%Y-%m-%d} that was accepted."
    return replace(found, text=f"{found.text} {said}", is_alarm=False)


def _trainings(of: Wanted, night: StepRun, data: DataSets, last: Night | None) -> list[str]:
    """The ids of the trainings that the night before compared, or else of those that count now."""
    if last:
        names = [variant.name for variant in of.variants if variant.name in last.trained]
        return [run_id for name in names for run_id in last.trained[name].run_ids]
    finished = decided(of, data, night.experiment).finished.values()
    return [run.info.run_id for runs in finished for run in runs.values()]


def _next(trainings: Sequence[str], experiment: str) -> client.Run | None:
    """The training whose turn it is: one that was never replayed, or that longest ago."""
    replays = islice(client.newest_first(experiment, f"tags.step = '{REPLAY}'"), MOST_LOOKED_AT)
    ago: dict[str, int] = {}
    for place, run in enumerate(replays):
        ago.setdefault(run.data.tags.get(REPLAYED, ""), place)
    longest = sorted(trainings, key=lambda run_id: -ago.get(run_id, MOST_LOOKED_AT))
    found = (client.find_run(run_id) for run_id in longest)
    return next((run for run in found if run and _settings(run)), None)


def _settings(run: client.Run) -> dict[str, Any] | None:
    """What a training is made with, from what it recorded; None of a run of an older version."""
    variant, params = recorded_variant(run.data.tags), run.data.params
    seed = recorded_inputs(run.data.tags, "parameter ").get("seed", params.get("seed"))
    rate = params.get("chosen_learning_rate")
    if variant is None or seed is None or rate is None:
        return None
    return {"variant": variant, "seed": int(seed), "learning_rate": float(rate)}


def replayed(run_id: str) -> Replay:
    """Train a finished training again, as a run of its own, and compare the two."""
    trained = client.get_run(run_id)
    settings, tags = _settings(trained), trained.data.tags
    assert settings
    variant: Variant = settings.pop("variant")
    about = {
        **{name: tags[name] for name in ("dataset", "data_fingerprint", "prepare_run")},
        **{"variant": variant.name, "mlflow.runColor": variant.color, REPLAYED: run_id},
    }
    name = f"{REPLAY} {variant.name} seed {settings['seed']}"
    with step_run(REPLAY, {"variant": variant.name, **settings}, name=name, tags=about) as run:
        epochs, differs = _compared(run, name, variant, trained, settings)
        found = Replay(
            name=str(trained.info.run_name),
            epochs=epochs,
            differs=differs,
            changed=_changed(tags),
        )
        run.set_tags({"replay": differs or "equal"})
        address = addresses.run_page(trained.info.experiment_id, run_id)[1:]
        link = f"[{markdown.escaped(found.name)}]({address})"
        said = found.finding()
        run.set_note(" ".join([f"{link}:", markdown.escaped(said.text), said.cause]).strip())
    return found


def _changed(tags: Mapping[str, str]) -> str:
    """What is another than when a training was made, of what can be here; in words."""
    shared = ("code of ", "version of ")  # by all trainings
    of_run = recorded_inputs(tags).items()
    before = {name: one for name, one in of_run if name.startswith(shared)}
    now = TrainStep.makers() if before else {}
    here, there = [owners.processor()], [tags["processor"]] if "processor" in tags else []
    then, tonight = (
        Trained(replicates_key="", run_ids=(), inputs=inputs, processors=processors)
        for inputs, processors in ((before, there), (now, here))
    )
    found = [one.text for one in factors(then, tonight)]
    return listed(found) if found else ""


def _compared(
    run: StepRun,
    name: str,
    variant: Variant,
    trained: client.Run,
    settings: Mapping[str, Any],
) -> tuple[int, str]:
    """How many epochs there were, and what differs first from what a training logged."""
    import_tensorflow()
    from pipeline.training.trainer import shared_trainer

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        run.log_epoch(epoch, metrics)
        progress.update(step=name, done=epoch, total=variant.epochs)

    splits = splits_of(trained)
    trainer, source = shared_trainer(variant, splits), trained.data.tags.get(SOURCE_RUN)
    if source:
        started = client.get_run(source)
        settings = {**settings, "source": trained_model(started, splits_of(started))}
    try:
        fit = trainer.fit_as_declared(**settings, on_epoch=on_epoch)
    except DivergenceError as error:
        return 0, f"it diverged ({error})"
    progress.update(step=name, state="finished", text="compared")
    differs = _of_curve(trained.info.run_id, fit.history)
    return len(fit.history), differs or _of_predictions(trained, trainer.predict(splits.x_test))


def _of_curve(run_id: str, history: Sequence[Mapping[str, float]]) -> str:
    """The first epoch and metric that differ from what a run logged; empty if none."""
    logged = curves.curves([run_id], CURVES).set_index("epoch").sort_index()
    for epoch, metrics in enumerate(history, start=1):
        if epoch not in logged.index:
            return f"it stopped before epoch {epoch}, and goes on now"
        for metric in CURVES:
            # Runs of earlier versions have logged them as they came, with more digits.
            was, now = (np.float32(of[metric]) for of in (logged.loc[epoch], metrics))
            if was != now:
                return f"{metric} of epoch {epoch} was {was!s} and is {now!s}"
    left = [epoch for epoch in logged.index if epoch > len(history)]
    return f"it went on to epoch {max(left)}, and stops after {len(history)} now" if left else ""


def _of_predictions(trained: client.Run, probabilities: npt.NDArray[np.float32]) -> str:
    """How the probabilities on the test images differ from those logged; empty if they do not."""

    def parse(content: bytes) -> np.ndarray:
        return np.load(io.BytesIO(content), allow_pickle=False)

    path = "predictions/test.npy"
    logged = artifacts.read(trained.info.run_id, path, parse, of=str(trained.info.run_name))
    now = in_half_precision(probabilities)
    if logged is None or np.array_equal(logged, now, equal_nan=True):
        return ""
    if logged.shape != now.shape:
        return f"predictions of {logged.shape} are of {now.shape}"
    equal = (logged == now) | (np.isnan(logged) & np.isnan(now))
    images = int((~equal).any(axis=1).sum())
    return f"the probabilities of {images:,} of {len(now):,} test images are others"
