"""Numbers and names in sentences."""

import pytest

from pipeline.base import phrases


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "less than 1 min"),
        (59, "less than 1 min"),
        (60, "about 1 min"),
        (237, "about 4 min"),
        (5399, "about 90 min"),
        (9000, "about 2.5 h"),
    ],
)
def test_a_time_that_is_left_is_said_in_minutes(seconds: float, said: str) -> None:
    assert phrases.minutes(seconds) == said


def test_steps_that_differ_in_their_seed_alone_are_named_together() -> None:
    steps = ["search bn", *(f"train bn seed {seed}" for seed in (1, 2, 3)), "train elu seed 4"]
    assert phrases.together([*steps, "train seed 1 seed 2", "prepare a seed x"]) == [
        "search bn",
        "train bn seeds 1 to 3",
        "train elu seed 4",
        "train seed 1 seed 2",
        "prepare a seed x",
    ]
