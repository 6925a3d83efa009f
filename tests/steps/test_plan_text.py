"""How long the steps that are left take, and how a plan is said."""

import itertools
import random
from typing import Any

import pytest

from pipeline.steps.plan_text import (
    MOST_LINES,
    Estimate,
    Planned,
    as_text,
    decided_steps,
    time_left,
)
from pipeline.steps.running import Decision


def step(name: str, seconds: float | None, reason: str = "", **changes: Any) -> Planned:
    estimate = None if seconds is None else Estimate(seconds, 2 * seconds, "1 run", False)
    decision = Decision(name=name, reason=reason)
    after = () if name.startswith("search") else (f"search {name.split()[1]}",)
    usual: dict[str, Any] = {"timed": True, "estimate": estimate, "after": after}
    return Planned(decision=decision, **{**usual, **changes})


def test_time_left_is_that_of_the_steps_to_run() -> None:
    steps = [step("search elu", 10), step("train elu seed 1", 20), step("train elu seed 2", 20)]
    assert time_left(steps, 1) == (50, 100)
    assert time_left(steps, 2) == (30, 50 + 30)  # after the search both train at once
    assert time_left(steps, 64) == time_left(steps, 3)
    assert time_left([*steps, step("train bn seed 1", None)], 1) is None
    assert time_left([*steps, Planned(decision=Decision(name="compare"))], 1) == (50, 100)


@pytest.mark.parametrize("seed", range(20))
def test_no_order_of_the_steps_ends_later_or_earlier_than_said(seed: int) -> None:
    """Against workers that take any step that is ready, in every random order."""
    generator = random.Random(seed)
    steps = []
    for variant in ("elu", "bn", "selu")[: generator.randint(1, 3)]:
        if generator.random() < 0.7:
            steps.append(step(f"search {variant}", generator.randint(1, 9)))
        steps += [
            step(f"train {variant} seed {seed}", generator.randint(1, 9))
            for seed in range(generator.randint(1, 4))
        ]
    jobs = generator.randint(1, 4)
    bounds = time_left(steps, jobs)
    assert bounds
    for _ in range(50):
        order = generator.sample(steps, len(steps))
        assert bounds[0] <= makespan(order, jobs)
        assert makespan(order, jobs, times=2) <= bounds[1]


def makespan(order: list[Planned], jobs: int, times: int = 1) -> float:
    """When the last step ends, if free workers take the first step of an order that is ready."""
    left, now = list(order), 0.0
    running: dict[str, float] = {}
    while left or running:
        waited_for = {one.decision.name for one in left} | running.keys()
        ready = [one for one in left if not waited_for & set(one.after)]
        for one in ready[: jobs - len(running)]:
            left.remove(one)
            assert one.estimate
            running[one.decision.name] = now + times * one.estimate.expected
        now = min(running.values())
        for name in [name for name, end in running.items() if end == now]:
            del running[name]
    return now


def test_a_chain_is_as_long_as_all_that_comes_before_its_last_step() -> None:
    chain = [
        step("search digits", 10),
        step("train digits seed 1", 20),
        step("search frozen", 30, after=("train digits seed 1",)),
        step("train frozen seed 1", 40, after=("train digits seed 1", "search frozen")),
    ]
    assert time_left(chain, jobs=9) == (100, 200)


# --- Text --------------------------------------------------------------------------------------


def test_a_plan_of_80_columns_says_every_reason_once_and_how_long_each_takes() -> None:
    changed = "parameter epochs changed from 2 to 3; code of training.models changed"
    steps = [
        Planned(
            decision=Decision(name="prepare [bold]x[/bold]", reason="no finished run of it yet")
        ),
        step("search elu", 100, reason=changed),
        step("train elu seed 1", 7200, reason=changed),
        step("train elu seed 2", 7200, reason=changed),
        step("train elu seed 3", 7200, reason=changed),
        step("train bn seed 1", None, reason="reuse=never"),
    ]
    lines = as_text(steps, jobs=2, scheduler="none").splitlines()
    assert lines == [
        "To run (no finished run of it yet): prepare [bold]x[/bold]",
        "To run (parameter epochs changed from 2 to 3; code of training.models changed):",
        "  search elu; train elu seeds 1 to 3",
        "To run (reuse=never): train bn seed 1",
        "",
        "Each of                 expected  at most  measured on",
        "search elu                 2 min    3 min  1 run",
        "train elu seeds 1 to 3     2.0 h    4.0 h  1 run",
        "train bn seed 1          unknown",
        "",
        "6 of 6 steps to run on 2 workers: the time is unknown, since nothing like some",
        "  of them has been measured yet. Preparing and comparing take seconds.",
    ]
    assert "Each of" not in as_text(steps[-1:], jobs=2, scheduler="none")
    assert as_text(steps[:1], jobs=2, scheduler="none").endswith(
        "1 of 1 steps to run: preparing and comparing take seconds."
    )


def test_the_time_is_said_in_words() -> None:
    steps = [step("train elu seed 1", 60), step("train bn seed 1", 60)]
    assert "2 of 2 steps to run on 2 workers: about 60 s, at most 3 min," in as_text(
        steps, jobs=2, scheduler="none"
    )
    one = " ".join(as_text(steps, jobs=2, scheduler="tcp://host:8786").split())
    assert "on one worker of tcp://host:8786 (sooner on several): about 2 min, at most 4 min" in one
    rough = [step("train bn seed 1", 0, estimate=Estimate(10, 20, "1 run", True))]
    assert "about 10 s, at most ~20 s" in as_text(rough, jobs=1, scheduler="none")
    assert all(
        f"{number} of {number} steps" in as_text(steps[:number], jobs=2, scheduler="none")
        for number in itertools.chain([1, 2])
    )


def test_what_is_decided_of_very_many_steps_takes_few_lines() -> None:
    steps = [step(f"train v{place} seed {seed}", 1) for place in range(90) for seed in (1, 2, 4)]
    text = decided_steps([one.decision for one in steps])
    assert text.startswith("To run (): train v0 seeds 1, 2 and 4; train v1 seeds 1, 2 and 4; ")
    assert text.count("\n") < MOST_LINES
    assert text.endswith(" more")
    assert max(map(len, text.splitlines())) <= 80
