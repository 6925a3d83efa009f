"""Comparisons whose true effects are known, judged by the code that `main` judges by.

Five variants, four primary questions with a margin of one point. Accuracies are drawn: a run's is
its variant's true one, moved by its seed and, where that is simulated, by the test images.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks import harness, outcomes
from pipeline import command
from pipeline.answers.rounds import next_round
from pipeline.answers.verdicts import Answer, Verdict, answers
from pipeline.base import progress
from pipeline.comparisons import Question
from pipeline.parameters import Parameters, parameter

POINT = 0.01
VARIANTS = ("a", "b", "c", "d", "e")
# As those of `twenty_layers`: two variants against the first, and then each against the last.
PAIRS = (("b", "a"), ("c", "a"), ("d", "c"), ("e", "d"))
QUESTIONS = [
    Question(variant=variant, reference=reference, metric="test_accuracy", margin=POINT)
    for variant, reference in PAIRS
]
MOST = 12  # seeds
EQUAL = {"0.5": (0.5,) * 5, "0.75": (0.75,) * 5, "1.0": (1.0,) * 5}
SDS = {
    **EQUAL,
    "0.2 to 1.1": (0.2, 0.425, 0.65, 0.875, 1.1),
    "1.1 and 0.2": (1.1, 0.2, 1.1, 0.2, 1.1),
    "0.5, one 4.0": (0.5, 0.5, 0.5, 0.5, 4.0),
}
EFFECTS = (0.0, 0.5, 1.0, 2.0, 4.0)
ALL, HALF = (1, 1, 1, 1), (1, 0, 0, 1)  # of which questions the effect is


class Verdicts(Parameters):
    """What is measured."""

    comparisons: int = parameter.asked(2000, "Simulated comparisons of each setting.", int)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is simulated; in points, hundredths of accuracy.

    Args:
        sds: of a run of each variant.
        effect: of the variant over its reference, in the questions that have it.
        having: 1 for a question that has it, else 0.
        variants: how many there are, and one question less.
        fixed: how many seeds each variant gets; 0: one after the other, as many as are needed.
        images: the SD of a variant's accuracy over other test images.
    """

    sds: str
    effect: float
    having: tuple[int, ...] = ALL
    variants: int = 5
    fixed: int = 0
    images: float = 0.0


class Outcome(NamedTuple):
    """What one simulated comparison came to."""

    false_verdict: bool  # some better or worse where there is no effect, or the contrary one
    false_equal: bool  # some equal where the effect is the margin or beyond
    right: float  # of the questions that have an effect, the share with the right better
    equal: float  # of the questions whose effect is below the margin, the share called equal
    covered: float  # of the intervals, the share that holds the effect
    seeds: float  # of a question when it was decided, on average
    trainings: int


def verdicts(asked: Verdicts) -> None:
    """Simulate comparisons, one seed after the other and in fixed designs, and judge them.

    Prints how often some verdict of a family of questions is false, how often effects are found and
    equality is shown, how many intervals hold the true effect, and how many trainings it takes.
    """
    machine = harness.describe_machine()
    settings = all_settings()
    rows = []
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        measured = [processes.submit(measure, one, asked.comparisons) for one in settings]
        for done, (setting, row) in enumerate(zip(settings, measured, strict=True), start=1):
            rows.append({**asdict(setting), **row.result()})
            progress.update(step="verdicts", done=done, total=len(settings))
    progress.update(step="verdicts", state="finished")
    table = pd.DataFrame(rows)
    print(readable(table))
    outcomes.publish(
        "verdicts",
        targets(table),
        machine=machine,
        conditions={"comparisons": asked.comparisons, "questions": len(QUESTIONS), "margin": POINT},
        measured=table,
        notes=["A family is the four questions of a comparison; SDs and effects are in points."],
    )


def all_settings() -> list[Setting]:
    """Every effect in all questions and in half of them, one by one and fixed; then images."""
    designs = [
        Setting(sds=sds, effect=effect, having=having, fixed=fixed)
        for sds in SDS
        for effect in EFFECTS
        for having in (ALL, HALF)
        for fixed in (0, 3, 5)
        if having == ALL or (effect and not fixed)
    ]
    images = [Setting(sds="0.75", effect=effect, images=0.25) for effect in EFFECTS]
    # Two runs that differ much in spread, and no others that tell of it: the hardest to judge.
    two = [Setting(sds=sds, effect=0.0, variants=2) for sds in ("0.75", "1.1 and 0.2")]
    return [*designs, *images, *two]


def measure(setting: Setting, comparisons: int) -> harness.Row:
    """What many comparisons of a setting come to, on average."""
    generator = np.random.default_rng(1)
    found = pd.DataFrame([compare(setting, generator) for _ in range(comparisons)])
    return {name: float(mean) for name, mean in found.mean().items()}


def compare(setting: Setting, generator: np.random.Generator) -> Outcome:
    """One comparison: seeds are added as `main` adds them, until it is decided or at its limit."""
    names, questions = VARIANTS[: setting.variants], QUESTIONS[: setting.variants - 1]
    effects = setting.effect * POINT * np.array(setting.having)
    truth = dict.fromkeys(names, 0.5)
    for (variant, reference), effect in zip(PAIRS[: len(questions)], effects, strict=False):
        truth[variant] = truth[reference] + effect
    accuracies = {
        name: truth[name]
        + POINT * setting.images * generator.normal()
        + POINT * sd * generator.normal(size=MOST)
        for name, sd in zip(names, SDS[setting.sds], strict=False)
    }
    decided: dict[str, int] = {}

    def judged(seeds: Mapping[str, int]) -> list[Answer]:
        runs = {
            name: {"test_accuracy": of[: seeds[name]], "train_seconds": np.ones(seeds[name])}
            for name, of in accuracies.items()
        }
        image_variances = {one.id: 2 * (setting.images * POINT) ** 2 for one in questions}
        found = answers(questions, runs, image_variances)
        for one in found:
            if one.verdict is not Verdict.UNDECIDED:
                decided.setdefault(one.question.id, max(one.sizes))
        return found

    seeds, found = dict.fromkeys(names, setting.fixed), list[Answer]()
    if setting.fixed:
        found = judged(seeds)
    while not setting.fixed and (added := next_round(found, seeds, MOST)):
        seeds = {name: count + added.get(name, 0) for name, count in seeds.items()}
        found = judged(seeds)
    effect_of = dict(zip([one.id for one in questions], effects, strict=False))
    return outcome(found, effect_of, decided, seeds)


def outcome(
    found: Sequence[Answer],
    effect_of: Mapping[str, float],
    decided: Mapping[str, int],
    seeds: Mapping[str, int],
) -> Outcome:
    """What the answers of a comparison come to.

    Args:
        found: the answers.
        effect_of: the true effects, by the ids of questions.
        decided: with how many seeds questions were decided first, of those that were.
        seeds: how many every variant has in the end.
    """
    effects = {one: effect_of[one.question.id] for one in found}
    right = [one.verdict is Verdict.BETTER for one, effect in effects.items() if effect]
    small = [one.verdict is Verdict.EQUAL for one, effect in effects.items() if effect < POINT]
    return Outcome(
        false_verdict=any(
            one.winner is not None and not (effect and one.verdict is Verdict.BETTER)
            for one, effect in effects.items()
        ),
        false_equal=any(
            one.verdict is Verdict.EQUAL and effect >= POINT for one, effect in effects.items()
        ),
        right=float(np.mean(right)) if right else np.nan,
        equal=float(np.mean(small)) if small else np.nan,
        covered=float(np.mean([one.low <= effect <= one.high for one, effect in effects.items()])),
        seeds=float(np.mean([decided.get(one, MOST) for one in effect_of])),
        trainings=sum(seeds.values()),
    )


SHOWN = {
    "variants": "variants",
    "sds": "SD",
    "images": "images' SD",
    "design": "seeds",
    "effect": "effect",
    "questions": "in questions",
    "false_verdict": "false verdict",
    "false_equal": "false equal",
    "right": "found",
    "equal": "equal shown",
    "covered": "covered",
    "seeds": "seeds to decide",
    "trainings": "trainings",
}


def readable(table: pd.DataFrame) -> str:
    """The results of every setting as a table: shares in per cent."""
    shown = table.assign(
        design=table["fixed"].map(lambda fixed: str(fixed) if fixed else f"3 to {MOST}"),
        questions=[
            f"{sum(having[: variants - 1])} of {variants - 1}"
            for having, variants in zip(table["having"], table["variants"], strict=True)
        ],
        **{
            name: (100 * table[name]).map(lambda share: "" if np.isnan(share) else f"{share:.1f}%")
            for name in ("false_verdict", "false_equal", "right", "equal", "covered")
        },
    )
    return shown[[*SHOWN]].rename(columns=SHOWN).round(2).to_string(index=False)


def targets(table: pd.DataFrame) -> list[outcomes.Result]:
    """What the settings come to at worst, and in those that are asked about."""

    def at(effect: float, column: str) -> list[float]:
        chosen = (table["sds"] == "0.75") & (table["effect"] == effect) & (table["fixed"] == 0)
        chosen &= (table["having"] == ALL) & (table["images"] == 0)
        return table.loc[chosen, column].tolist()

    one_by_one = table[table["fixed"] == 0]
    large = one_by_one[(one_by_one["effect"] >= 2) & (one_by_one["having"] == ALL)]
    by_sd = large[large["images"] == 0].groupby("sds", sort=False)["trainings"].max()
    worst = {"false verdict": table["false_verdict"], "false equal": table["false_equal"]}
    return [
        *(
            outcomes.Result(
                what=f"families with a {name}, at worst", ours=[float(one.max())], at_most=0.05
            )
            for name, one in worst.items()
        ),
        outcomes.Result(
            what="intervals that cover", ours=[float(table["covered"].min())], at_least=0.94
        ),
        outcomes.Result(what="4 points, SD 0.75: seeds", ours=at(4, "seeds"), at_most=4),
        outcomes.Result(what="found", ours=at(4, "right"), at_least=0.99),
        outcomes.Result(what="2 points, SD 0.75: seeds", ours=at(2, "seeds"), at_most=6),
        outcomes.Result(what="found", ours=at(2, "right"), at_least=0.95),
        *(
            outcomes.Result(
                what=f"trainings of {MOST * len(VARIANTS)}, 2 points or more, SD {sds}, at worst",
                ours=[float(most) / (MOST * len(VARIANTS))],
                at_most=0.5,
            )
            for sds, most in by_sd.items()
        ),
    ]


if __name__ == "__main__":
    command.run(verdicts)
