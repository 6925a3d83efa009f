import pickle

import pytest

from pipeline.base import InputError, did_you_mean, unknown_name


def test_message_says_what_was_expected_what_was_received_and_what_to_do() -> None:
    error = InputError("epochs", expected="at least 1", received="'0'", action="Give more.")
    assert str(error) == "epochs: expected at least 1; received '0'. Give more."


def test_input_error_survives_the_way_from_another_process() -> None:
    error = InputError("epochs", expected="at least 1", received="'0'", action="Give more.")
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is InputError
    assert vars(restored) == vars(error)
    assert str(restored) == str(error)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("alpha_droput", "Did you mean 'alpha_dropout'?"),
        ("alpha-dropout", "Did you mean 'alpha_dropout'?"),
        ("resnet", ""),
        ("", ""),
    ],
)
def test_the_nearest_name_is_suggested_or_none(name: str, sentence: str) -> None:
    assert did_you_mean(name, iter(("elu", "alpha_dropout"))) == sentence


@pytest.mark.parametrize(
    ("name", "action"),
    [("sleu", "Did you mean 'selu'?"), ("resnet", "Choose one of the names above.")],
)
def test_unknown_name_lists_the_known_ones(name: str, action: str) -> None:
    error = unknown_name("variant", name, iter(("elu", "selu")))
    assert str(error) == f"variant: expected one of elu, selu; received '{name}'. {action}"
