"""How much of the chosen learning rate is luck: studies of several seeds, on the same network.

A study's trials say two rates: that of the best one, which is what most people take, and the one
where the curve through all trials is lowest. What accuracy follows from a rate is read off a smooth
curve through trainings of a grid of rates with seeds of their own: the mean over seeds, so that the
noise of trainings is no part of the spread between searches.
"""

import math
import statistics
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.polynomial import Polynomial

from benchmarks import harness, outcomes
from pipeline import command
from pipeline.comparisons.files import find_variant
from pipeline.data.splits import open_splits
from pipeline.parameters import parameter
from pipeline.training import runtime

PEER = "best trial"
RATES = (1e-4, 1.8e-4, 3.2e-4, 5.6e-4, 1e-3)  # around those that studies on CIFAR-10 say


class Rates(harness.OnData):
    """What is measured."""

    variants: tuple[str, ...] = parameter.asked("elu,bn", "Separated by commas.", many=True)
    searches: int = parameter.asked(5, "Studies of a variant, of seeds from 0.", int, least=2)
    seeds: int = parameter.asked(3, "Trainings of every rate, of other seeds.", int)


def rates(asked: Rates) -> None:
    """Measure how far studies of several seeds agree on a rate, and the accuracy that follows."""
    machine = harness.describe_machine()
    with (
        harness.project(asked.dataset) as project,
        harness.prepared(asked.dataset) as (directory, conditions),
    ):
        sides = {name: partial(study, asked.dataset, project, name) for name in asked.variants}
        studies = harness.in_turns(sides, rounds=asked.searches)
        seeds = [asked.searches + number for number in range(asked.seeds)]
        given = {"directory": str(directory), "rates": RATES, "seeds": seeds}
        grids = [harness.call(trainings, {"variant": one, **given}) for one in asked.variants]
    grid = pd.concat([pd.DataFrame(one["trainings"]) for one in grids], ignore_index=True)
    conditions |= {"searches": asked.searches, "rates": RATES, "seeds of each": asked.seeds}
    publish(studies, grid, machine, conditions)


def study(dataset: str, project: Path, variant: str, number: int) -> harness.Row:
    """The entry point `search`: what its trials say, and the epochs they trained."""
    seed = number - 1
    search = harness.entry_point("search", dataset=dataset, variant=variant, seed=seed)
    harness.run(search, directory=project)
    (run,) = (
        run
        for run in harness.runs_in(project, "search")
        if (run.data.params["variant"], run.data.params["seed"]) == (variant, str(seed))
    )
    metrics = run.data.metrics
    return {
        "variant": variant,
        harness.OURS: metrics["best_learning_rate"],
        PEER: metrics["best_trial_learning_rate"],
        "epochs": metrics["epochs_trained"],
    }


def trainings(variant: str, directory: str, rates: list[float], seeds: list[int]) -> harness.Row:
    """The test accuracy of every rate with every seed, trained with early stopping."""
    runtime.import_tensorflow()
    from pipeline.training.trainer import shared_trainer

    declared, _ = find_variant(variant)
    trainer = shared_trainer(declared, open_splits(Path(directory)))
    rows = []
    for seed in seeds:
        for rate in rates:
            trainer.fit(
                learning_rate=rate,
                epochs=declared.epochs,
                patience=declared.patience,
                seed=seed,
                on_epoch=lambda _epoch, _metrics: None,
            )
            found = trainer.predict(trainer.splits.x_test).argmax(axis=1)
            accuracy = float(np.mean(found == trainer.splits.y_test))
            rows.append({"variant": variant, "rate": rate, "seed": seed, "accuracy": accuracy})
    return {"trainings": rows}


def publish(
    studies: pd.DataFrame, grid: pd.DataFrame, machine: harness.Row, conditions: harness.Row
) -> None:
    """Say what the studies and the trainings came to."""
    results: list[outcomes.Result] = []
    for variant, group in studies.groupby("variant", sort=False):
        results += _results(str(variant), group, grid[grid["variant"] == variant])
    outcomes.publish(
        "rates",
        results,
        machine=machine,
        conditions=conditions,
        measured=pd.concat([studies, grid], ignore_index=True),
        notes=[
            f"Ours is the minimum of the curve through all trials; '{PEER}' is of the same trials, "
            "so that both take the same epochs.",
            "The accuracy of a rate is that of a parabola over the log rate through the trainings "
            "of all seeds; the SD between seeds is that of the trainings around it.",
        ],
    )


def _results(variant: str, studies: pd.DataFrame, grid: pd.DataFrame) -> list[outcomes.Result]:
    x, accuracy = np.log(grid["rate"]), 100 * grid["accuracy"]
    curve = Polynomial.fit(x, accuracy, deg=2)
    between_seeds = math.sqrt(float(((accuracy - curve(x)) ** 2).sum()) / (len(grid) - 3))
    chosen = {side: studies[side].tolist() for side in (harness.OURS, PEER)}
    follows = {side: curve(np.log(of)).tolist() for side, of in chosen.items()}
    spread = {side: statistics.stdev(np.log10(of)) for side, of in chosen.items()}
    of_search = {side: statistics.stdev(of) for side, of in follows.items()}

    def against(what: str, of: dict[str, list[float]]) -> outcomes.Result:
        ours, peer = of[harness.OURS], of[PEER]
        return outcomes.Result(what=f"{variant}: {what}", ours=ours, peer=peer, peer_name=PEER)

    return [
        against("learning rate", chosen),
        against("SD of its log10", {side: [one] for side, one in spread.items()}),
        against("test accuracy that follows, %", follows),
        against("its SD, points", {side: [one] for side, one in of_search.items()}),
        outcomes.Result(
            what=f"{variant}: its SD, points",
            ours=[of_search[harness.OURS]],
            peer=[between_seeds],
            peer_name="SD between seeds",
            at_most=0.5,
        ),
        outcomes.Result(what=f"{variant}: epochs of a study", ours=studies["epochs"].tolist()),
    ]


if __name__ == "__main__":
    command.run(rates)
