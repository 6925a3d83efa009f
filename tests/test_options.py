import math
from typing import Any

import pytest
from pipeline.comparisons.variants import VARIANTS

from pipeline import options
from pipeline.base import InputError


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [("32", int, 32), ("1_000", int, 1000), ("0.5", float, 0.5), ("1e-3", float, 0.001)],
)
def test_number_reads_text(text: str, kind: type, expected: float) -> None:
    read = options.number("name", text, minimum=0.001, maximum=1000, kind=kind)
    assert read == expected
    assert type(read) is kind


@pytest.mark.parametrize("text", ["nan", "-nan", "inf", "-inf", "1e999", "many", "", "0", "-1"])
@pytest.mark.parametrize("maximum", [9.0, math.inf])
def test_number_refuses_what_is_no_finite_number_in_range(text: str, maximum: float) -> None:
    bounds = "from 0.5 to 9.0" if maximum == 9 else "at least 0.5"
    with pytest.raises(InputError) as error:
        options.number("mc_samples", text, minimum=0.5, maximum=maximum, kind=float)
    assert str(error.value) == (
        f"mc_samples: expected auto or a number {bounds}; received {text!r}. "
        "Give it as --mc-samples or -P mc_samples=..."
    )


@pytest.mark.parametrize("text", ["2.0", "1e3", "11", "0x4", "9" * 5000])
def test_number_refuses_what_is_no_integer_in_range(text: str) -> None:
    with pytest.raises(InputError, match="expected auto or an integer from 1 to 10; received"):
        options.number("epochs", text, minimum=1, maximum=10, kind=int)


def test_auto_stands_for_what_the_caller_says() -> None:
    assert options.auto_or("epochs", "auto", auto=None, minimum=1, kind=int) is None
    assert options.auto_or("epochs", "10", auto=None, minimum=1, kind=int) == 10
    with pytest.raises(InputError, match="auto or an integer from 1 to 1000000; received 'Auto'"):
        options.auto_or("epochs", "Auto", auto=None, minimum=1, kind=int)


def test_split_list_strips_spaces_and_ignores_a_trailing_comma() -> None:
    assert options.split_list("variants", " elu, bn ,selu,") == ["elu", "bn", "selu"]


@pytest.mark.parametrize("text", ["", " , ", "elu,bn,elu", "elu, elu"])
def test_split_list_refuses_an_empty_list_and_duplicates(text: str) -> None:
    with pytest.raises(InputError, match=r"variants: .*different items.*-P variants=elu,bn"):
        options.split_list("variants", text)


def test_seed_list_reads_integers() -> None:
    assert options.seed_list("3, 0,12") == [3, 0, 12]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "different items"),
        ("1,2,1", "different items"),
        ("1,01", "different items"),
        ("1,-2", "seeds: expected an integer from 0 to 4294967295; received '-2'"),
        ("1,two", "seeds: expected an integer from 0 to 4294967295; received 'two'"),
        ("auto", "seeds: expected an integer from 0 to 4294967295; received 'auto'"),
        ("1.0", "seeds: expected an integer from 0 to 4294967295; received '1.0'"),
        ("4294967296", "seeds: expected an integer from 0 to 4294967295; received '4294967296'"),
    ],
)
def test_seed_list_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        options.seed_list(text)


def configured(variant: str, **changes: str) -> Any:
    own = {"batch_size": "auto", "dropout_rate": "auto", "dropout_layers": "auto"}
    return options.configured_variant(variant, **{**own, **changes})


@pytest.mark.parametrize("name", VARIANTS)
def test_auto_keeps_a_variants_own_settings(name: str) -> None:
    assert configured(name, epochs="auto", patience="auto") == VARIANTS[name]


@pytest.mark.parametrize(("variant", "own"), [("elu", 10), ("one_cycle", 5)])
def test_trials_are_as_long_as_the_variant_says_or_as_is_asked(variant: str, own: int) -> None:
    assert options.search_epochs("auto", VARIANTS[variant]) == own
    assert options.search_epochs("7", VARIANTS[variant]) == 7
    with pytest.raises(InputError, match="search_epochs: expected auto or an integer from 1 to"):
        options.search_epochs("0", VARIANTS[variant])


def test_given_settings_replace_a_variants_own() -> None:
    variant = configured(
        "one_cycle",
        batch_size="64",
        dropout_rate="0",
        dropout_layers="all",
        epochs="3",
        patience="2",
    )
    assert (variant.name, variant.color) == ("one_cycle", VARIANTS["one_cycle"].color)
    assert (variant.batch_size, variant.epochs, variant.patience) == (64, 3, 2)
    assert (variant.dropout_rate, variant.dropout_layers) == (0.0, "all")
    assert configured("elu", patience="none").patience is None


@pytest.mark.parametrize(
    ("variant", "changes", "message"),
    [
        ("droput", {}, "variant: expected one of elu, bn.*received 'droput'"),
        ("alpha-dropout", {}, "Did you mean 'alpha_dropout'"),
        ("elu", {"batch_size": "0"}, "batch_size: expected auto or an integer from 1 to 65536"),
        ("elu", {"batch_size": "65537"}, "batch_size: expected auto or an integer from 1 to 65536"),
        ("elu", {"epochs": "none"}, "epochs: expected auto or an integer from 1 to 1000000"),
        ("elu", {"epochs": "9" * 400}, "epochs: expected auto or an integer from 1 to 1000000"),
        ("elu", {"patience": "0"}, "patience: expected auto or an integer from 1 to 1000000"),
        ("elu", {"dropout_rate": "0.2"}, "variant 'elu' has no dropout"),
        ("elu", {"dropout_layers": "all"}, "variant 'elu' has no dropout"),
        ("one_cycle", {"dropout_rate": "1"}, "dropout_rate: expected .*below 1"),
        ("one_cycle", {"dropout_rate": "inf"}, "dropout_rate: expected auto or a number"),
        ("one_cycle", {"dropout_layers": "frist"}, "dropout_layers: expected one of last, all"),
    ],
)
def test_settings_out_of_range_are_refused(
    variant: str, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        configured(variant, **changes)


@pytest.mark.parametrize("plan", ["", "auto", "onyl", "None"])
def test_plan_is_none_or_only(plan: str) -> None:
    options.check_plan("none")
    options.check_plan("only")
    with pytest.raises(InputError, match="plan: expected one of none, only"):
        options.check_plan(plan)


@pytest.mark.parametrize("reuse", ["", "always", "nevr", "Auto"])
def test_reuse_is_auto_or_never(reuse: str) -> None:
    options.check_reuse("auto")
    options.check_reuse("never")
    with pytest.raises(InputError, match="reuse: expected one of auto, never"):
        options.check_reuse(reuse)
