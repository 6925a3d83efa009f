"""A learning-rate study against the ways it is done today, on the same network and range.

- The book's way ("Hands-On Machine Learning", chapter 11): eight rates, ten epochs each.
- KerasTuner's Hyperband over the same range, of at most ten epochs.
- Optuna with TPE and a median pruner, and a model compiled anew for every trial, with
  `jit_compile` and `steps_per_execution`.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pandas as pd

from benchmarks import harness, outcomes
from pipeline import command
from pipeline.base import InputError
from pipeline.parameters import parameter

LOW, HIGH = 0.00001, 0.1
TO_REACH = {"eight_rates": 8.0, "hyperband": 4.0, "optuna_compiled_anew": 3.0}
MOST_WORSE = 1.01  # of the best val_loss


class Search(harness.OnData):
    """What is measured."""

    variant: str = parameter.asked("elu", "elu, bn or selu.")
    n_trials: int = parameter.asked(12, "Trials of the learning-rate search.", int)
    search_epochs: int = parameter.asked(10, "Most epochs of a trial.", int)
    against: tuple[str, ...] = parameter.asked(
        ",".join(TO_REACH), f"Of {', '.join(TO_REACH)}, separated by commas.", many=True
    )
    rounds: int = harness.rounds(1)


def search(asked: Search) -> None:
    """Measure a study of the learning rate, from the start of its process to its end."""
    harness.check_names("against", asked.against, TO_REACH)
    if "hyperband" in asked.against and importlib.util.find_spec("keras_tuner") is None:
        raise InputError(
            "keras_tuner",
            expected="KerasTuner, one of the sides that are measured",
            received="an environment without it",
            action="Install it with `make .venv/bench`.",
        )
    machine = harness.describe_machine()
    size = {"n_trials": asked.n_trials, "epochs": asked.search_epochs}
    with harness.prepared(asked.dataset) as (directory, conditions):
        given = {"variant": asked.variant, "directory": str(directory), **size}

        def peer(function: Callable[..., harness.Row]) -> Callable[[int], harness.Row]:
            return lambda seed: harness.call(function, {**given, "seed": seed})

        functions = {one.__name__: one for one in (eight_rates, hyperband, optuna_compiled_anew)}
        sides = {
            harness.OURS: lambda seed: ours(asked, seed),
            **{name: peer(functions[name]) for name in asked.against},
        }
        measured = harness.in_turns(sides, rounds=asked.rounds)
    outcomes.publish(
        "search",
        [one for name in asked.against for one in _against(name, TO_REACH[name], measured)],
        machine=machine,
        conditions={
            **conditions,
            "variant": asked.variant,
            "range": f"{LOW:g} to {HIGH:g}",
            **size,
        },
        measured=measured,
        notes=["Ours is `python -m pipeline.search`, with all that it logs, on one thread."],
    )


def _against(peer: str, wanted: float, measured: pd.DataFrame) -> list[outcomes.Result]:
    times = [
        outcomes.result(f"{clock} s", measured, column, peer=peer, at_least=wanted)
        for clock, column in (("wall", "wall_seconds"), ("CPU", "cpu_seconds"))
    ]
    best = outcomes.result("best val_loss", measured, "val_loss", peer=peer, at_most=MOST_WORSE)
    return [*times, best]


def ours(asked: Search, seed: int) -> harness.Row:
    """The entry point `search`, on data that are prepared already."""
    with harness.project(asked.dataset) as project:
        study = harness.entry_point(
            "search",
            dataset=asked.dataset,
            variant=asked.variant,
            n_trials=asked.n_trials,
            search_epochs=asked.search_epochs,
            learning_rate_min=LOW,
            learning_rate_max=HIGH,
            seed=seed,
        )
        usage, _ = harness.run(study, directory=project)
        (run,) = harness.runs_in(project, "search")
    metrics = run.data.metrics
    return {
        **asdict(usage),
        "val_loss": metrics["best_val_loss"],
        "epochs_trained": metrics["epochs_trained"],
    }


def eight_rates(variant: str, directory: str, n_trials: int, epochs: int, seed: int) -> harness.Row:
    """A model for each of eight rates, with `Model.fit`; `n_trials` is not used."""
    from benchmarks.peers import Peer

    del n_trials
    peer = Peer(variant, directory)
    rates = [0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03]
    lowest = [
        min(peer.fit(peer.model(seed=seed, learning_rate=rate), epochs=epochs)["val_loss"])
        for rate in rates
    ]
    return {"val_loss": min(lowest), "epochs_trained": len(rates) * epochs}


def hyperband(variant: str, directory: str, n_trials: int, epochs: int, seed: int) -> harness.Row:
    """KerasTuner's Hyperband, which chooses the number of trials itself."""
    import keras
    import keras_tuner

    from benchmarks.peers import Peer

    del n_trials
    peer = Peer(variant, directory)
    trained: list[int] = []

    def build(parameters: Any) -> keras.Model:
        rate = parameters.Float("learning_rate", LOW, HIGH, sampling="log")
        return peer.model(seed=seed, learning_rate=rate)

    with tempfile.TemporaryDirectory() as results:
        tuner = keras_tuner.Hyperband(
            build, objective="val_loss", max_epochs=epochs, seed=seed, directory=results
        )
        tuner.search(
            peer.arrays["x_train"],
            peer.arrays["y_train"],
            batch_size=peer.variant.batch_size,
            validation_data=(peer.arrays["x_val"], peer.arrays["y_val"]),
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: trained.append(1))],
            verbose=0,
        )
        best = tuner.oracle.get_best_trials(1)[0].score
    return {"val_loss": best, "epochs_trained": len(trained)}


def optuna_compiled_anew(
    variant: str, directory: str, n_trials: int, epochs: int, seed: int
) -> harness.Row:
    """Optuna as its Keras examples use it."""
    import keras
    import optuna

    from benchmarks.peers import Peer

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    peer = Peer(variant, directory, "Model.fit, jit")

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", LOW, HIGH, log=True)

        def report(epoch: int, logs: dict[str, float]) -> None:
            trial.report(logs["val_loss"], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        reporter = keras.callbacks.LambdaCallback(on_epoch_end=report)
        model = peer.model(seed=seed, learning_rate=rate)
        return min(peer.fit(model, epochs=epochs, callbacks=[reporter])["val_loss"])

    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed), pruner=optuna.pruners.MedianPruner()
    )
    study.optimize(objective, n_trials=n_trials)
    trained = sum(len(trial.intermediate_values) for trial in study.trials)
    return {"val_loss": study.best_value, "epochs_trained": trained}


if __name__ == "__main__":
    command.run(search)
