"""Two variants side by side: which pairs, what they differ in, and what is said of it."""

import dataclasses
from typing import Any

import numpy as np
from compared_runs import evidence_of, five_variants, make_run

from pipeline.answers import pairs
from pipeline.answers.evidence import Evidence
from pipeline.answers.images import ImageEvidence, Votes
from pipeline.comparisons import Question
from pipeline.comparisons.twenty_layers import COMPARISON

SETTINGS = {variant.name: dataclasses.asdict(variant) for variant in COMPARISON.variants}


def five(**changes: Any) -> Evidence:
    return evidence_of(five_variants([1, 2, 3]), settings=SETTINGS, **changes)


def test_two_of_one_origin_come_first_then_what_is_asked_then_the_others() -> None:
    found = pairs.pairs(five())
    assert [one.names for one in found[:5]] == [
        ("bn", "selu"),  # both derived from elu
        ("bn", "elu"),
        ("selu", "elu"),
        ("alpha_dropout", "selu"),
        ("one_cycle", "alpha_dropout"),
    ]
    assert [one.asked for one in found] == [False] + [True] * 4 + [False] * 5
    assert len({frozenset(one.names) for one in found}) == 10


def test_of_many_variants_what_nothing_is_asked_about_is_left_out() -> None:
    rows = [make_run(f"v{k}", seed) for k in range(8) for seed in (1, 2)]
    asked = [Question(variant=f"v{k}", reference="v0", metric="test_accuracy") for k in range(1, 8)]
    settings = {f"v{k}": {"derived_from": "v0" if k else ""} for k in range(8)}
    of = evidence_of(rows, baseline="v0", questions=asked, settings=settings)
    found = pairs.pairs(of)
    assert [one.names for one in found[:7]] == [(f"v{k}", "v0") for k in range(1, 8)]
    assert len(found) == pairs.MOST_PAIRS
    assert not found[7].asked


def test_settings_are_those_that_differ_with_the_learning_rate() -> None:
    rows = five_variants([1, 2, 3])
    rates = {"bn": 0.000245, "selu": 0.000123}
    rows = [row | {"learning_rate": rates.get(row["variant"], 0.001)} for row in rows]
    names = ("activation", "batch_normalization", "units")
    settings = {name: {one: of[one] for one in names} for name, of in SETTINGS.items()}
    found = {one.names: one for one in pairs.pairs(evidence_of(rows, settings=settings))}
    assert found["selu", "elu"].settings == [
        ("activation", "selu", "elu"),
        ("learning rate", "0.000123", "0.001"),
    ]
    assert ("batch normalization", "yes", "no") in (found["bn", "elu"].settings or ())
    assert found["alpha_dropout", "selu"].settings == [("learning rate", "0.001", "0.000123")]
    assert {one.settings for one in pairs.pairs(evidence_of(rows))} == {None}  # not recorded


def test_differences_are_the_answer_where_there_is_one_and_else_described() -> None:
    evidence = five()
    found = {one.names: one for one in pairs.pairs(evidence)}
    header, accuracy, *_ = pairs.differences(evidence, found["bn", "elu"])
    assert header[:3] == ["Metric", "bn", "elu"]
    (answer,) = [one for one in evidence.answers if one.question.id == "bn_quality_over_elu"]
    assert found["bn", "elu"].answers[0] is answer
    assert accuracy[-1] == str(answer.verdict)
    _, accuracy, epochs, _, total = pairs.differences(evidence, found["bn", "selu"])
    assert [row[-1] for row in (accuracy, epochs, total)] == ["described, not tested"] * 3
    assert accuracy[5] == "95%"
    rows = {row["variant"]: row for row in evidence.summary.to_dict("records")}
    effect = rows["bn"]["test_accuracy"] - rows["selu"]["test_accuracy"]
    assert accuracy[3] == f"{100 * effect:+.2f} points"
    assert pairs.in_short(found["bn", "selu"]) == f"{accuracy[3]}, described, not tested"


def test_an_answer_the_other_way_round_is_taken_as_it_was_given() -> None:
    asked = [
        Question(variant="bn", reference="elu", metric="test_accuracy"),
        Question(variant="elu", reference="bn", metric="median_epoch_seconds"),
    ]
    rows = [make_run(name, seed) for name in ("elu", "bn") for seed in (1, 2, 3)]
    evidence = evidence_of(rows, questions=asked)
    (pair,) = pairs.pairs(evidence)
    assert pair.names == ("bn", "elu")
    assert pairs.differences(evidence, pair)[3][-1].endswith("(elu over bn)")


def test_who_gets_which_images_right_is_said_in_words_or_not_known() -> None:
    labels = np.zeros(1000, int)
    right = np.arange(1000) < np.array([[500], [480]])
    of = {
        name: Votes(1, np.stack([one, ~one], axis=1).astype(int), np.full((1000, 2), 0.5, "f4"))
        for name, one in zip(("bn", "selu"), right, strict=True)
    }
    evidence = five(images=ImageEvidence(labels, ("cat", "dog"), of))
    first, second, *_ = pairs.pairs(evidence)
    assert second.only_right is None  # of elu nothing is known
    assert pairs.only_right(evidence, first) == (
        "Of 1,000 test images `bn` gets 20 right that `selu` gets wrong, and `selu` 0 that `bn` "
        "gets wrong: means over all pairs of seeds."
    )
    assert [one.place for one in first.only_one] == [480, 481, 482, 483]
    assert list(first.only_other) == []


def test_one_variant_alone_has_no_pair() -> None:
    assert pairs.pairs(evidence_of([make_run("bn", 1)])) == []


def test_the_generalization_gap_is_compared_where_it_was_logged() -> None:
    def metrics(**logged: float) -> list[str]:
        rows = [make_run(name, seed, **logged) for name in ("elu", "bn") for seed in (1, 2, 3)]
        found = evidence_of(rows, settings=SETTINGS)
        return [row[0] for row in pairs.differences(found, pairs.pairs(found)[0])]

    assert metrics(generalization_gap=0.02)[1:3] == ["Test accuracy", "Generalization gap"]
    assert metrics()[1:3] == ["Test accuracy", "Epochs to the target"]


def test_what_one_of_two_does_not_start_from_is_said_to_be_none() -> None:
    rows = [make_run(name, 1) for name in ("elu", "bn")]
    settings = {"elu": {"starts_from": ""}, "bn": {"starts_from": "digits_bn"}}
    (pair,) = pairs.pairs(evidence_of(rows, settings=settings))
    assert ("starts from", "digits_bn", "none") in (pair.settings or ())
