"""Of what other test images are allowed for: the predictions that all runs of a question logged."""

from typing import Any

import numpy as np
import pytest
from compared_runs import evidence_of, make_run

from pipeline.answers.evidence import Evidence
from pipeline.answers.intervals import image_variance
from pipeline.answers.verdicts import Answer
from pipeline.comparisons import Question

IMAGES = 500
NAMES = [f"{variant}-{seed}" for variant in ("elu", "alpha_dropout") for seed in (1, 2, 3)]
CORRECT = {
    name: np.random.default_rng(place).random(IMAGES) < np.linspace(0, 1, IMAGES)
    for place, name in enumerate(NAMES)
}
SAMPLED = {name: np.roll(of, 25) for name, of in CORRECT.items() if name.startswith("alpha")}


def evidence(**logged: Any) -> Evidence:
    rows = [
        make_run(variant, seed, test_accuracy=0.5 + seed / 100, mc_accuracy=0.51 + seed / 50)
        for variant in ("elu", "alpha_dropout")
        for seed in (1, 2, 3)
    ]
    quality = Question(variant="alpha_dropout", reference="elu", metric="test_accuracy")
    gain = Question(variant="alpha_dropout", reference="alpha_dropout", metric="mc_gain")
    return evidence_of(rows, questions=[quality, gain], **logged)


def answers(**logged: Any) -> list[Answer]:
    return list(evidence(**logged).answers)


def half_widths(found: list[Answer]) -> np.ndarray:
    return np.array([(one.high - one.low) / 2 for one in found])


def test_intervals_cover_other_images_where_all_runs_logged_what_they_predicted() -> None:
    without, covering = answers(), answers(correct=CORRECT, mc_correct=SAMPLED)
    assert [one.covers_images for one in without] == [False, False]
    assert [one.covers_images for one in covering] == [True, True]
    assert (half_widths(covering) > half_widths(without)).all()


@pytest.mark.parametrize(
    ("missing", "covered"), [("elu-2", [False, True]), ("alpha_dropout-2", [False, False])]
)
def test_one_run_that_logged_nothing_leaves_its_questions_to_seeds_alone(
    missing: str, covered: list[bool]
) -> None:
    correct = {name: of for name, of in CORRECT.items() if name != missing}
    found = answers(correct=correct, mc_correct=SAMPLED)
    assert [one.covers_images for one in found] == covered


def test_a_gain_of_mc_dropout_varies_with_the_images_that_it_changes() -> None:
    names = NAMES[3:]
    gain = [SAMPLED[name].astype(int) - CORRECT[name] for name in names]
    of = evidence(correct=CORRECT, mc_correct=SAMPLED)
    found = of._image_variances(of.questions)
    assert found["alpha_dropout_mc"] == pytest.approx(image_variance(np.stack(gain)))
    plain = [np.stack([CORRECT[name] for name in of]) for of in (names, NAMES[:3])]
    assert found["alpha_dropout_quality_over_elu"] == pytest.approx(image_variance(*plain))


def test_a_generalization_gap_varies_with_the_images_as_the_accuracy_does() -> None:
    of = evidence(correct=CORRECT)
    asked = [
        Question(variant="alpha_dropout", reference="elu", metric=metric)
        for metric in ("test_accuracy", "generalization_gap")
    ]
    accuracy, gap = of._image_variances(asked).values()
    assert accuracy == gap > 0
