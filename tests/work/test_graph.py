"""The steps of a variant that starts from another: what they come after, on what data, by what."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_rates import RATES
from small_transfer import COMPARISON, FROZEN, SCRATCH, TRANSFER

from pipeline.base import InputError
from pipeline.comparisons import Comparison, Data
from pipeline.comparisons.files import load
from pipeline.parameters import Main, Search, Train
from pipeline.steps.step import Step
from pipeline.work.graph import Graph, comparisons_of, graph_of
from pipeline.work.variant_step import SOURCE_INPUT, LoggedData

DATA = LoggedData(run_id="a1", dataset="digits", fingerprint="f")
Change = Callable[[Comparison], Comparison]


def graph(asked: Any = None, *, comparison: Comparison | None = None, **of_source: Any) -> Graph:
    """That of `small_transfer`, each data set of a fingerprint of its own."""
    asked, comparison = asked or Main(comparison=TRANSFER), comparison or load(TRANSFER)
    places = comparisons_of(comparison, comparison.variants)
    logged = (replace(DATA, fingerprint=str(number)) for number in range(2))
    data = dict(zip(map(asked.data_of, places), logged, strict=True))
    if of_source:
        declared = asked.data_of(places[1])
        data[declared] = replace(data[declared], **of_source)
    return Graph(asked=asked, comparison=comparison, data=data)


def after(step: Step) -> list[str]:
    return [one.name for one in step.after()]


def test_a_training_comes_after_that_of_its_source_with_the_same_seed_and_its_search() -> None:
    training = graph().training(FROZEN, 3)
    source, search = training.after()
    assert after(training) == ["train digits seed 3", "search frozen"]
    assert after(source) == ["search digits"]
    assert after(search) == ["train digits seed 1"]
    assert after(graph().training(SCRATCH, 3)) == ["search scratch"]
    given = graph(Main(comparison=TRANSFER, learning_rate=0.1))
    frozen = given.asked.configured(FROZEN)
    assert after(given.training(frozen, 3)) == ["train digits seed 3"]


def test_no_training_that_trials_start_from_has_the_seed_of_the_search() -> None:
    searched = graph(Main(comparison=TRANSFER, search_seed=1)).search(FROZEN)
    assert after(searched) == ["train digits seed 2"]


def test_a_source_is_on_the_data_of_its_own_comparison_as_the_command_line_has_them() -> None:
    training = graph().training(FROZEN, 1)
    assert training.source
    assert training.data.fingerprint != training.source.data.fingerprint
    assert training.source.search.data == training.source.data  # type: ignore[attr-defined]
    (own, other) = (Main(dataset="mnist", split_seed=3).data_of(one) for one in _places())
    assert own == Data(
        source="mnist", classes=(5, 6, 7, 8, 9), val_images_per_class=30, split_seed=3
    )
    assert other == Data(source="mnist", classes=(0, 1, 2, 3, 4), split_seed=3)


def _places() -> list[Comparison]:
    return comparisons_of(load(TRANSFER), [SCRATCH, FROZEN])


def test_a_source_has_the_settings_that_were_given_and_the_command_for_it_its_comparison() -> None:
    training = graph(Main(comparison=TRANSFER, epochs=7)).training(FROZEN, 2)
    assert training.source
    assert training.source.variant.epochs == 7
    own, sources = training.again(seed=2), training.source.again(seed=2)
    assert f"-P comparison={TRANSFER} " in own
    assert "-P comparison=" + TRANSFER.replace("transfer", "digits") in sources
    # A setting that was not given would be the source's, too.
    assert "batch_size" not in own
    assert "batch_size" in sources


def test_the_key_has_the_source_in_it_and_the_seeds_of_a_training_are_replicates() -> None:
    one, two = (graph().training(FROZEN, seed) for seed in (1, 2))
    assert one.key != two.key
    assert one.replicates_key == two.replicates_key
    assert one.inputs[SOURCE_INPUT] == two.inputs[SOURCE_INPUT]
    other_data = graph(fingerprint="another").training(FROZEN, 1)
    assert {name for name in one.inputs if one.inputs[name] != other_data.inputs[name]} == {
        SOURCE_INPUT,
        "search",
    }
    assert SOURCE_INPUT not in graph().training(SCRATCH, 1).inputs


def test_a_step_waits_for_the_data_of_its_source() -> None:
    waiting = graph(run_id="").training(FROZEN, 1)
    assert waiting.search
    assert waiting.waits_for == waiting.search.waits_for == "the data set is not prepared yet"
    assert graph(run_id="").training(SCRATCH, 1).waits_for == ""
    assert graph().training(FROZEN, 1).waits_for == ""


def test_every_door_makes_the_same_steps() -> None:
    by_main = graph().training(FROZEN, 2)
    by_train = graph(Train(comparison=TRANSFER, variant="frozen", seed=2)).training(FROZEN, 2)
    by_search = graph(Search(comparison=TRANSFER, variant="frozen")).search(FROZEN)
    assert by_train.key == by_main.key
    assert by_main.search
    assert by_search.key == by_main.search.key


def test_a_source_of_the_same_comparison_is_its_training() -> None:
    digits = replace(SCRATCH, name="digits", images_per_class=None)
    same = replace(
        COMPARISON, variants=(digits, replace(FROZEN, starts_from="digits")), questions=()
    )
    asked = Main()
    steps = Graph(asked=asked, comparison=same, data={asked.data_of(same): DATA})
    assert steps.training(same.variants[1], 2).source == steps.training(same.variants[0], 2)


def test_data_that_the_source_cannot_be_trained_on_are_refused(store: Path, tiny_npz: Path) -> None:
    asked = Train(comparison=TRANSFER, variant="frozen", dataset=str(tiny_npz))
    with pytest.raises(InputError, match="classes of the data: expected labels of stripes"):
        graph_of(asked)


def of_rates(**given: Any) -> dict[str, Step]:
    """The trainings of `small_rates` with seed 3, by variant."""
    declared, asked = load(RATES), Main(comparison=RATES, **given)
    made = Graph(asked=asked, comparison=declared, data={asked.data_of(declared): DATA})
    configured = (asked.configured(one) for one in declared.variants)
    return {one.name: made.training(one, 3) for one in configured}


def test_a_training_with_the_rate_of_another_comes_after_that_one_s_search() -> None:
    trainings = of_rates()
    searches = {name: after(one) for name, one in trainings.items()}
    assert searches == {
        "small": ["search small"],
        "same_rate": ["search small"],
        "pruned": ["train small seed 3"],  # nothing is trained
        "tuned": ["train small seed 3", "search small"],
        "diverges": [],
    }
    assert trainings["same_rate"].after() == trainings["small"].after()
    assert trainings["same_rate"].inputs["search"] == trainings["small"].inputs["search"]


def test_a_rate_that_is_given_takes_the_place_of_all_but_epochs_of_what_is_not_trained() -> None:
    trainings = of_rates(learning_rate=0.5, epochs=7)
    assert all("search" not in name for one in trainings.values() for name in after(one))
    assert trainings["same_rate"].parameters()["learning_rate"] == "0.5"
    assert trainings["diverges"].parameters()["learning_rate"] == "0.5"
    assert trainings["pruned"].parameters()["epochs"] == "0"
    assert trainings["tuned"].parameters()["epochs"] == "7"


@pytest.mark.parametrize("theirs", [3, 10])
def test_an_output_layer_of_other_classes_is_refused_before_its_source_is_trained(
    monkeypatch: pytest.MonkeyPatch, theirs: int
) -> None:
    whole = FROZEN.derive(name="whole", reused_output=True)
    n_classes = {"0": 5, "1": 5}  # by fingerprint
    monkeypatch.setattr(
        "pipeline.work.graph.logged_splits",
        lambda _, fingerprint: SimpleNamespace(n_classes=n_classes[fingerprint]),
    )
    assert graph().training(whole, 1).source
    n_classes["1"] = theirs
    said = f"expected False, as its source tells {theirs} .*; received True, with 5 classes"
    with pytest.raises(InputError, match=f"^reused_output of variant 'whole': {said}"):
        graph().training(whole, 1)


def test_an_output_layer_of_data_that_are_not_prepared_yet_is_not_refused() -> None:
    whole = FROZEN.derive(name="whole", reused_output=True)
    assert graph(run_id="").training(whole, 1).waits_for
