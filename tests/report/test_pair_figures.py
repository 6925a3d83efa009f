"""What the figures of two variants show, and the sections of the report that they stand in."""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from compared_runs import evidence_of, five_variants, make_run
from drawn import labels_of, xs, ys
from matplotlib.axes import Axes

from pipeline.answers import pairs
from pipeline.answers.changes import changes
from pipeline.answers.evidence import Before, Evidence
from pipeline.answers.images import ImageEvidence, Votes
from pipeline.comparisons.twenty_layers import COMPARISON
from pipeline.report import drawing, page, pair_figures
from pipeline.report.drawing import Panel

HOSTILE = "<script>alert('x')</script>"


def images(n_classes: int = 3, *, per_class: int = 10, name: str = "class {}") -> ImageEvidence:
    """Of class k, bn's only seed has the first k images wrong, selu's none."""
    labels = np.repeat(np.arange(n_classes), per_class)
    every = np.arange(len(labels))
    wrong = {"bn": every % per_class < labels, "selu": np.zeros_like(labels, bool)}
    votes = {}
    for variant, of in wrong.items():
        counts = np.eye(n_classes, dtype=int)[np.where(of, (labels + 1) % n_classes, labels)]
        votes[variant] = Votes(1, counts, (0.9 * counts).astype(np.float32))
    names = [name.format(k) for k in range(n_classes)]
    pictures = np.zeros((len(labels), 8, 8, 3), np.uint8)
    return ImageEvidence(labels, names, votes, pictures)


def five(**changed: Any) -> Evidence:
    settings = {one.name: dataclasses.asdict(one) for one in COMPARISON.variants}
    return evidence_of(five_variants([1, 2, 3]), settings=settings, **changed)


def drawn(panel: Panel) -> Axes:
    axes = drawing.blank_figure(3, 4).subplots()
    panel.draw(axes)
    return axes


def first_panels(evidence: Evidence) -> dict[str, Panel]:
    found = pair_figures.pair_panels(evidence, pairs.pairs(evidence)[0], 0)
    return {panel.name.removeprefix("pair_0_"): panel for panel in found}


def test_accuracy_by_class_has_a_row_for_each_class_the_largest_difference_at_an_end() -> None:
    panels = first_panels(five(images=images()))
    axes = drawn(panels["class_accuracy"])
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "class 0",
        "class 1",
        "class 2",
    ]
    bn, selu = (np.asarray(dots.get_offsets())[:, 0].tolist() for dots in axes.collections[1:])
    assert (bn, selu) == ([100, 90, 80], [100, 100, 100])
    assert "class 2 80.0% against 100.0%" in panels["class_accuracy"].alt


def test_of_many_classes_those_that_differ_most_are_shown() -> None:
    panels = first_panels(five(images=images(20, per_class=100)))
    axes = drawn(panels["class_accuracy"])
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"class {k}" for k in range(8, 20)
    ]
    assert axes.get_title() == "The 12 classes that differ most"


def test_activations_are_a_mean_in_a_band_by_the_last_moment_of_both() -> None:
    layers = {"mean": [0.5, 0.25], "standard_deviation": [1.0, 2.0]}
    moments = {"at initialisation": layers, "after training": layers}
    panels = first_panels(five(activations={"bn": moments, "selu": {"after training": layers}}))
    axes = drawn(panels["activations"])
    assert labels_of(axes) == ("Hidden layer", "Activation")
    assert axes.get_title() == "Activations after training"
    assert (xs(axes.lines[3]), ys(axes.lines[3])) == ([1, 2], [0.5, 0.25])
    assert axes.dataLim.intervaly.tolist() == [-1.75, 2.25]
    assert panels["activations"].alt.endswith("selu has mean 0.25 and deviation 2.00.")


def test_what_is_not_known_is_not_drawn() -> None:
    assert list(first_panels(five())) == ["val_loss_by_epoch", "val_accuracy_by_epoch"]


def test_of_many_variants_only_what_is_asked_about_is_drawn() -> None:
    rows = [make_run(f"v{k}", seed) for k in range(7) for seed in (1, 2)]
    rows += [make_run(name, seed) for name in ("elu", "bn") for seed in (1, 2)]
    evidence = evidence_of(rows, settings={f"v{k}": {"derived_from": "x"} for k in range(7)})
    counts = {
        pair.names: len(pair_figures.pair_panels(evidence, pair, 0))
        for pair in pairs.pairs(evidence)
    }
    assert counts.pop(("bn", "elu")) == 2
    assert set(counts.values()) == {0}


@pytest.fixture
def in_words() -> str:
    """The page of everything, without its figures."""
    evidence = five(images=images(name=HOSTILE + "{}"))
    return page.html_report(evidence, {})


def test_sections_show_pictures_with_what_they_were_taken_for(in_words: str) -> None:
    said = "&lt;/script&gt;2, taken for &lt;script&gt;"
    assert said in in_words
    assert "by 1 of 1 seed<" in in_words
    # bn's three mistakes, and in `bn` and `selu` those that only selu has right.
    assert in_words.count('src="data:image/png') == 3 + 3
    assert len(re.findall('<details class="pair"', in_words)) == 10
    assert len(re.findall('<details class="pair" open>', in_words)) == 1
    assert in_words.count("Which images each gets right is not known") == 9


def test_without_pictures_and_predictions_the_sections_say_so() -> None:
    gone = dataclasses.replace(images(), pictures=None)
    html = page.html_report(five(images=gone), {})
    assert "The images themselves are gone." in html
    assert "class 2, taken for class 0" in html
    assert "<img" not in html
    without = page.html_report(evidence_of([make_run("bn", 1), make_run("elu", 1)]), {})
    assert "Misclassified images" not in without
    assert "Their settings were not recorded." in without


def test_what_changed_stands_in_the_report_in_a_sentence_and_a_table() -> None:
    evidence = five()
    summary = evidence.summary.assign(test_accuracy=0.4)
    evidence.before = Before(
        run_id="1", ended=0, runs=evidence.runs, summary=summary, answers=evidence.answers
    )
    html = page.html_report(evidence, {})
    assert changes(evidence).sentence in html
    assert html.count("<td>beyond the interval before</td>") == 5


def test_three_pairs_with_all_that_stands_with_them_are_light() -> None:
    """Ten may have 800 KB, with their data."""
    layers = {"after training": {"mean": [0.5] * 20, "standard_deviation": [1.0] * 20}}
    noise = np.random.default_rng(0).integers(0, 256, (1000, 32, 32, 3), dtype=np.uint8)
    known = images(10, per_class=100)
    votes = {**known.votes, "elu": known.votes["bn"]}
    rows = [row for row in five_variants([1, 2, 3]) if row["variant"] in votes]
    evidence = evidence_of(
        [row | {"best_epoch": 40} for row in rows],
        images=dataclasses.replace(known, votes=votes, pictures=noise),
        activations=dict.fromkeys(votes, layers),
    )
    html = page.html_report(evidence, {"none": []})
    start, end = (html.index(f">{of}</h2>") for of in ("Side by side", "Learning-rate searches"))
    assert html.count('role="img"') == 3 * 4
    assert end - start < 3 * 80_000
