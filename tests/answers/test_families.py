"""Variants that differ in the number of images alone, and what they are called together."""

from typing import Any

from compared_runs import evidence_of, make_run

from pipeline.answers.families import Family, families


def found(settings: dict[str, dict[str, Any]], **numbers: int) -> list[Family]:
    rows = [make_run(name, 1) for name in numbers]
    baseline = next(iter(numbers))
    return families(
        evidence_of(rows, baseline=baseline, settings=settings, images_per_class=numbers)
    )


def test_a_family_differs_in_the_images_and_in_what_follows_from_its_past_alone() -> None:
    settings: dict[str, dict[str, Any]] = {
        "elu": {"units": 100, "images_per_class": None, "derived_from": ""},
        "elu_20": {"units": 100, "images_per_class": 20, "derived_from": "elu"},
        "elu_200": {"units": 100, "images_per_class": 200, "derived_from": "elu_20"},
        "wide_20": {"units": 300, "images_per_class": 20, "derived_from": "elu"},
    }
    elu, wide = found(settings, elu=5000, elu_200=200, elu_20=20, wide_20=20)
    assert (elu.name, list(elu.variants.items())) == (
        "elu",
        [(20, "elu_20"), (200, "elu_200"), (5000, "elu")],
    )
    assert wide == ("wide", {20: "wide_20"})


def test_there_is_none_where_no_two_of_one_kind_differ_in_their_images() -> None:
    settings = {"elu": {"units": 100}, "bn": {"units": 200}}
    assert found(settings, elu=20, bn=100) == []
    assert found({"elu": {"units": 100}, "bn": {"units": 100}}, elu=20, bn=0) == []
