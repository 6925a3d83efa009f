"""What parameters are read as, which are refused, and what a variant becomes by them."""

import dataclasses
import math
from typing import Any, TypeVar

import pytest

from pipeline.answers.intervals import FEWEST
from pipeline.base import InputError
from pipeline.comparisons import Comparison, Data, Variant, twenty_layers
from pipeline.comparisons.twenty_layers import ALPHA_DROPOUT, ELU, ONE_CYCLE
from pipeline.parameters import Main, Parameters, Prepare, Search, Train, recorded, settings_of
from pipeline.parameters.groups import ModelSettings, Searching, Training
from pipeline.parameters.parameter import Parameter

VARIANTS = twenty_layers.COMPARISON.variants
Asked = TypeVar("Asked", bound=Parameters)


def from_texts(of: type[Asked], **given: Any) -> Asked:
    """Parameters as a command gives them, texts too, which type checkers would refuse."""
    return of(**given)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [("32", int, 32), ("1_000", int, 1000), ("0.5", float, 0.5), ("1e-3", float, 0.001)],
)
def test_a_number_is_read_from_text(text: str, kind: type, expected: float) -> None:
    read = Parameter(help="", kind=kind, least=0.001, most=1000).read("name", text)
    assert read == expected
    assert type(read) is kind


@pytest.mark.parametrize("text", ["nan", "-nan", "inf", "-inf", "1e999", "many", "", "0", "-1"])
@pytest.mark.parametrize("most", [9.0, math.inf])
def test_what_is_no_finite_number_in_range_is_refused(text: str, most: float) -> None:
    parameter = Parameter(help="", kind=float, least=0.5, most=most, words={"auto": None})
    with pytest.raises(InputError) as error:
        parameter.read("mc_samples", text)
    assert str(error.value) == (
        f"mc_samples: expected auto or a number from 0.5 to {most}; received {text!r}. "
        "Give it as --mc-samples or -P mc_samples=..."
    )


@pytest.mark.parametrize("text", ["2.0", "1e3", "11", "0x4", "9" * 5000])
def test_what_is_no_integer_in_range_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="epochs: expected an integer from 1 to 10; received"):
        Parameter(help="", kind=int, most=10).read("epochs", text)


def test_words_stand_for_values_and_are_written_again() -> None:
    asked = from_texts(Train, variant="elu", epochs="auto", patience="none", learning_rate="0.5")
    assert (asked.epochs, asked.patience, asked.learning_rate) == (None, 0, 0.5)
    again = dataclasses.replace(asked, seed=7)  # values stay what they are
    assert (again.epochs, again.patience, again.learning_rate) == (None, 0, 0.5)
    texts = recorded(again, Training, "train")
    assert (texts["epochs"], texts["patience"], texts["learning_rate"]) == ("auto", "none", "0.5")
    with pytest.raises(InputError, match="auto or an integer from 1 to 1000000; received 'Auto'"):
        from_texts(Train, variant="elu", epochs="Auto")


def test_a_list_is_stripped_and_may_end_with_a_comma() -> None:
    assert from_texts(Main, variants=" elu, bn ,selu,").variants == ("elu", "bn", "selu")
    assert from_texts(Main, seeds="3, 2,12").seeds == (3, 2, 12)
    assert from_texts(Main, seeds=[3, 2]).seeds == (3, 2)
    assert Main().variants is None
    assert Main().seeds is None


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1..5", (1, 2, 3, 4, 5)), ("1..3, 7", (1, 2, 3, 7)), ("9,2 .. 3", (9, 2, 3)), ("4..4", (4,))],
)
def test_seeds_can_be_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert from_texts(Main, seeds=text).seeds == seeds


@pytest.mark.parametrize("text", ["", " , ", "elu,bn,elu", "elu, elu"])
def test_an_empty_list_and_duplicates_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"variants: .*different items.*-P variants=elu,bn"):
        from_texts(Main, variants=text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "different items"),
        ("1,2,1", "different items"),
        (",".join(map(str, range(1001))), "at most 1000, separated by commas; received 1001"),
        ("1,01", "different items"),
        ("1,-2", "seeds: expected an integer from 0 to 4294967295; received '-2'"),
        ("1,two", "seeds: expected an integer from 0 to 4294967295; received 'two'"),
        ("1,auto", "seeds: expected an integer from 0 to 4294967295; received 'auto'"),
        ("5..1", "from the lower integer to the higher; received '5..1'. .* -P seeds=1..5"),
        ("1..2000", "at most 1000, separated by commas; received 2000"),
        ("0..4294967295", "received 4294967296"),
        ("1..3,2", "different items"),
        ("1..x", "seeds: expected an integer from 0 to 4294967295; received 'x'"),
        ("..5", "seeds: expected an integer from 0 to 4294967295; received ''"),
        ("1.0", "seeds: expected an integer from 0 to 4294967295; received '1.0'"),
        ("4294967296", "seeds: expected an integer from 0 to 4294967295; received '4294967296'"),
    ],
)
def test_seeds_that_are_none_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_texts(Main, seeds=text)


def test_there_are_as_many_seeds_at_most_as_a_verdict_takes() -> None:
    assert from_texts(Main, max_seeds=str(FEWEST)).max_seeds == FEWEST
    with pytest.raises(InputError, match="max_seeds: expected an integer from 3 to 1000"):
        from_texts(Main, max_seeds=str(FEWEST - 1))


def test_minutes_are_a_number_or_none() -> None:
    assert (Main().minutes, from_texts(Main, minutes="90.5").minutes) == (None, 90.5)
    for text in ("0", "nan", "1h", "auto"):
        with pytest.raises(InputError, match="minutes: expected none or a number from 1 to 100"):
            from_texts(Main, minutes=text)


@pytest.mark.parametrize(
    ("of", "given", "refused"),
    [
        (Main, {"seeds": "2,0,1"}, "seeds: expected other than search_seed, 0, .*received 2,0,1"),
        (
            Main,
            {"seeds": "1..3", "search_seed": 3},
            "seeds: expected other than search_seed, 3, .*received 1,2,3",
        ),
        (Train, {"seed": 0}, "seed: expected other than search_seed, 0, .*received 0"),
        (Train, {"search_seed": 1}, "seed: expected other than search_seed, 1, .*received 1"),
    ],
)
def test_the_seed_that_chooses_the_rate_is_not_one_that_judges_it(
    of: type[Parameters], given: dict[str, Any], refused: str
) -> None:
    given = given | ({"variant": "elu"} if of is Train else {})
    with pytest.raises(InputError, match=refused):
        from_texts(of, **given)
    from_texts(of, **given, learning_rate=0.001)  # no search has chosen it


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0.0, 0.1),
        (0.1, 0.01),
        (0.1, 0.1),
        (0.1, 0.1000001),
        (0.1, math.inf),
        (math.nan, 0.1),
        (0.1, math.nan),
        (5e-324, 0.1),
        (0.1, 1e300),
    ],
)
def test_range_that_is_empty_or_out_of_bounds_is_refused(low: float, high: float) -> None:
    with pytest.raises(InputError, match="learning_rate_m"):
        from_texts(Search, variant="elu", learning_rate_min=low, learning_rate_max=high)


@pytest.mark.parametrize("name", ["reuse", "plan"])
@pytest.mark.parametrize("text", ["", "always", "nevr", "Auto", "onyl", "None"])
def test_a_choice_is_one_of_those_named(name: str, text: str) -> None:
    expected = {"reuse": "auto, never", "plan": "none, only"}[name]
    with pytest.raises(InputError, match=f"{name}: expected one of {expected}; received '{text}'"):
        from_texts(Main, **{name: text})


def test_a_refusal_names_the_parameter_as_the_command_does() -> None:
    with pytest.raises(InputError, match=r"^seed: .*--seed or -P seed="):
        from_texts(Prepare, split_seed="-1")
    with pytest.raises(InputError, match=r"^split_seed: "):
        from_texts(Search, variant="elu", split_seed="-1")


# --- Variants by what is given -----------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda one: one.name)
def test_auto_keeps_a_variants_own_settings(variant: Variant) -> None:
    asked = from_texts(Train, variant=variant.name)
    assert asked.configured(variant) == variant
    assert asked.given(variant) == {}


def test_given_settings_replace_a_variants_own() -> None:
    asked = from_texts(
        Train,
        variant="one_cycle",
        batch_size="64",
        dropout_rate="0",
        dropout_layers="all",
        epochs="3",
        patience="2",
        search_epochs="7",
    )
    variant = asked.configured(ONE_CYCLE)
    assert (variant.name, variant.color) == ("one_cycle", ONE_CYCLE.color)
    assert (variant.batch_size, variant.epochs, variant.patience) == (64, 3, 2)
    assert (variant.dropout_rate, variant.dropout_layers, variant.search_epochs) == (0.0, "all", 7)
    assert from_texts(Train, variant="elu", patience="none").configured(ELU).patience is None
    assert from_texts(Train, variant="elu", patience="none").given(ELU) == {"patience": None}


def test_dropout_of_a_variant_that_has_none_is_refused_or_left_out() -> None:
    asked = from_texts(Main, dropout_rate="0.2", dropout_layers="all", epochs="7")
    with pytest.raises(InputError, match=r"dropout_rate and dropout_layers: .*no dropout"):
        asked.configured(ELU)
    assert asked.configured(ELU, strict=False) == dataclasses.replace(ELU, epochs=7)
    assert asked.given(ELU) == {"epochs": 7}
    assert asked.configured(ALPHA_DROPOUT).dropout_rate == 0.2


@pytest.mark.parametrize(
    ("variant", "changes", "message"),
    [
        (ELU, {"batch_size": "0"}, "batch_size: expected auto or an integer from 1 to 65536"),
        (ELU, {"batch_size": "65537"}, "batch_size: expected auto or an integer from 1 to 65536"),
        (ELU, {"epochs": "none"}, "epochs: expected auto or an integer from 1 to 1000000"),
        (ELU, {"epochs": "9" * 400}, "epochs: expected auto or an integer from 1 to 1000000"),
        (ELU, {"patience": "0"}, "patience: expected auto or none or an integer from 1 to 1000000"),
        (ELU, {"search_epochs": "0"}, "search_epochs: expected auto or an integer from 1 to"),
        (ELU, {"dropout_rate": "0.2"}, "variant 'elu' has no dropout"),
        (ELU, {"dropout_layers": "all"}, "variant 'elu' has no dropout"),
        (ONE_CYCLE, {"dropout_rate": "1"}, "dropout_rate of variant 'one_cycle': .*below 1"),
        (ONE_CYCLE, {"dropout_rate": "inf"}, "dropout_rate: expected auto or a number"),
        (ONE_CYCLE, {"dropout_layers": "frist"}, "dropout_layers: expected one of auto, last, all"),
    ],
)
def test_settings_out_of_range_are_refused(
    variant: Variant, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        from_texts(Train, variant=variant.name, **changes).configured(variant)


def test_a_size_to_validate_with_that_is_given_replaces_one_of_each_class() -> None:
    data = Data(val_images_per_class=30, images_per_class=100)
    comparison = Comparison(variants=(ELU,), data=data)
    assert from_texts(Prepare, split_seed="2").data_of(comparison) == dataclasses.replace(
        data, split_seed=2
    )
    assert from_texts(Prepare, val_size="40").data_of(comparison) == Data(
        val_size=40, images_per_class=100
    )


def test_what_is_recorded_of_a_group_is_spelt_out() -> None:
    asked = from_texts(Train, variant="one_cycle", n_trials=3)
    variant = asked.configured(ONE_CYCLE)
    assert settings_of(variant, ModelSettings) == {
        "batch_size": 128,
        "dropout_rate": 0.1,
        "dropout_layers": "last",
    }
    assert recorded(asked, Searching, "search", variant) == {
        "checkpoints": "checkpoints",
        "batch_size": "128",
        "dropout_rate": "0.1",
        "dropout_layers": "last",
        "n_trials": "3",
        "search_epochs": "5",
        "learning_rate_min": "1e-05",
        "learning_rate_max": "0.1",
        "seed": "0",
        "storage": "sqlite:///optuna.db",
    }
    assert recorded(asked, Training, "train", variant) == {
        "checkpoints": "checkpoints",
        "batch_size": "128",
        "dropout_rate": "0.1",
        "dropout_layers": "last",
        "mc_samples": "100",
        "learning_rate": "auto",
        "epochs": "15",
        "patience": "none",
    }


def test_what_does_not_go_with_a_variant_is_refused_by_what_was_given() -> None:
    not_restored = ELU.derive(name="not_restored", restore_best_weights=False)
    asked = from_texts(Train, variant="not_restored", patience="none")
    with pytest.raises(InputError, match=r"restore_best_weights .*what is given: patience\.$"):
        asked.configured(not_restored)
