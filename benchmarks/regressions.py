"""Nights whose true changes are known, judged as `nightly` judges them against the last good one.

Five variants, of which all may have changed. Accuracies have the spread of `twenty_layers`; times
are also moved by the night, as they were seen to be on one machine.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks import harness, outcomes
from pipeline import command
from pipeline.answers.regressions import NIGHTS_SD, Compared, Shift, shifts
from pipeline.answers.verdicts import Verdict
from pipeline.base import progress
from pipeline.parameters import Parameters, parameter

POINT = 0.01
VARIANTS = ("a", "b", "c", "d", "e")
SDS = {"0.65": (0.65,) * 5, "0.2 to 1.1": (1.1, 0.2, 0.425, 0.65, 0.875)}  # points, by variant
TIME_SD = 0.05  # of logarithms, from run to run
EPOCHS_SD = 0.25  # of logarithms of the time in which a loss falls
EPOCHS = 15
SEEDS = ((3, 3), (12, 3), (5, 5), (12, 5))  # then and now
EFFECTS = ((0.0, 1.0), (2.0, 1.0), (3.0, 1.0), (4.0, 1.0), (0.0, 1.3), (0.0, 1.5))


class Regressions(Parameters):
    """What is measured."""

    nights: int = parameter.asked(1000, "Simulated nights of each setting.", int)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is simulated.

    Args:
        then, now: seeds of each variant.
        points: by which the first variant is worse.
        slower: how many times as long an epoch of it takes.
        variants: how many there are.
        sds: of the accuracy of their runs; the first is that which changes.
    """

    then: int
    now: int
    points: float = 0.0
    slower: float = 1.0
    variants: int = 5
    sds: str = "0.65"


class Outcome(NamedTuple):
    """What one simulated night came to."""

    false_alarm: bool  # for a variant, or in a metric, that has not changed
    false_better: bool
    found: float  # NaN where nothing has changed


def regressions(asked: Regressions) -> None:
    """Simulate nights, and judge each against another one.

    Prints how often an alarm rings without a cause, and how often a change is found.
    """
    machine = harness.describe_machine()
    settings = [
        Setting(then=then, now=now, points=points, slower=slower, variants=variants, sds=sds)
        for variants, sds in ((5, "0.65"), (5, "0.2 to 1.1"), (1, "0.65"))
        for then, now in SEEDS
        for points, slower in EFFECTS
    ]
    rows = []
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        measured = [processes.submit(measure, one, asked.nights) for one in settings]
        for done, (setting, row) in enumerate(zip(settings, measured, strict=True), start=1):
            rows.append({**asdict(setting), **row.result()})
            progress.update(step="regressions", done=done, total=len(settings))
    progress.update(step="regressions", state="finished")
    table = pd.DataFrame(rows)
    print(readable(table))
    outcomes.publish(
        "regressions",
        targets(table),
        machine=machine,
        conditions={"nights": asked.nights},
        measured=table,
        notes=["The change is in one variant, of so many that may have changed."],
    )


def measure(setting: Setting, nights: int) -> harness.Row:
    """What many nights of a setting come to, on average."""
    generator = np.random.default_rng(1)
    found = pd.DataFrame([night(setting, generator) for _ in range(nights)])
    return {name: float(mean) for name, mean in found.mean().items()}


def night(setting: Setting, generator: np.random.Generator) -> Outcome:
    """One night and the good one before it."""
    return outcome(shifts_of(setting, generator), setting)


def shifts_of(setting: Setting, generator: np.random.Generator) -> list[Shift]:
    """What became of the variants of a night, of which the first has changed."""
    then = _compared(setting, setting.then, generator, prefix="then")
    now = _compared(setting, setting.now, generator, prefix="now")
    changed = now.runs["variant"] == VARIANTS[0]
    now.runs.loc[changed, "test_accuracy"] -= setting.points * POINT
    now.runs.loc[changed, "median_epoch_cpu_seconds"] *= setting.slower
    return shifts(then, now, VARIANTS[: setting.variants])


def outcome(found: list[Shift], setting: Setting) -> Outcome:
    """What the shifts of a night come to; the first variant's has changed, if one has."""
    metrics = {"test_accuracy": setting.points > 0, "median_epoch_seconds": setting.slower > 1}
    true = [
        metrics.get(one.answer.question.metric, False) and one.variant == VARIANTS[0]
        for one in found
    ]
    pairs = list(zip(found, true, strict=True))
    return Outcome(
        false_alarm=any(one.is_regression and not has for one, has in pairs),
        false_better=any(one.answer.verdict is Verdict.BETTER for one in found),
        found=float(np.mean([float(one.is_regression) for one, has in pairs if has] or [np.nan])),
    )


def _compared(
    setting: Setting, seeds: int, generator: np.random.Generator, *, prefix: str
) -> Compared:
    names = VARIANTS[: setting.variants]
    count = len(names) * seeds
    sds = np.repeat(SDS[setting.sds][: setting.variants], seeds)
    night = NIGHTS_SD * generator.normal()
    runs = pd.DataFrame(
        {
            "run_id": [f"{prefix} {place}" for place in range(count)],
            "variant": np.repeat(names, seeds),
            "seed": np.tile(np.arange(seeds), len(names)),
            "test_accuracy": 0.5 + POINT * sds * generator.normal(size=count),
            "median_epoch_cpu_seconds": np.exp(night + TIME_SD * generator.normal(size=count)),
            "processor": "one",
        }
    )
    columns = ["learning_rate", "best_epoch", "best_val_loss", "best_val_accuracy"]
    runs[[*columns, "train_seconds"]] = 1.0
    runs["median_epoch_seconds"] = runs["median_epoch_cpu_seconds"]
    epoch = np.tile(np.arange(1, EPOCHS + 1), count)
    falls = np.repeat(5 * np.exp(EPOCHS_SD * generator.normal(size=count)), EPOCHS)
    curves = pd.DataFrame(
        {
            "run_id": np.repeat(runs["run_id"], EPOCHS),
            "epoch": epoch,
            "val_loss": 1.3 + np.exp(-epoch / falls),
            "elapsed_seconds": epoch,
        }
    )
    return Compared(runs=runs, curves=curves, baseline=names[0])


def readable(table: pd.DataFrame) -> str:
    """The results of every setting as a table: shares in per cent."""
    shares = ["false_alarm", "false_better", "found"]
    shown = {
        one: (100 * table[one]).map(lambda share: "" if np.isnan(share) else f"{share:.1f}%")
        for one in shares
    }
    return table.assign(**shown).to_string(index=False)


def targets(table: pd.DataFrame) -> list[outcomes.Result]:
    """How often it rings without a cause at worst, and what it finds."""
    few = table[(table["then"] >= 5) & (table["variants"] == 5)]
    return [
        outcomes.Result(
            what="nights with a false alarm, at worst",
            ours=[float(table["false_alarm"].max())],
            at_most=0.05,
        ),
        *(
            outcomes.Result(
                what=f"{what}, 5 seeds or more then: found, at worst",
                ours=[float(few.loc[few[column] == size, "found"].min())],
                at_least=0.8,
            )
            for what, column, size in (
                ("4 points", "points", 4.0),
                ("1.5 times as long", "slower", 1.5),
            )
        ),
    ]


if __name__ == "__main__":
    command.run(regressions)
