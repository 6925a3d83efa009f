import pickle

import pytest

from pipeline.base import (
    InputError,
    TrackingUnavailableError,
    did_you_mean,
    hide_passwords,
    unknown_name,
)


def test_message_says_what_was_expected_what_was_received_and_what_to_do() -> None:
    error = InputError("epochs", expected="at least 1", received="'0'", action="Give more.")
    assert str(error) == "epochs: expected at least 1; received '0'. Give more."


def test_input_error_survives_the_way_from_another_process() -> None:
    error = InputError("epochs", expected="at least 1", received="'0'", action="Give more.")
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is InputError
    assert vars(restored) == vars(error)
    assert str(restored) == str(error)


def test_an_unavailable_server_is_said_the_same_way_in_another_process() -> None:
    error = TrackingUnavailableError("connection refused")
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is TrackingUnavailableError
    assert str(restored) == (
        "The tracking server did not take everything: connection refused. What was trained is "
        "kept: the same command, once the server is well, logs the rest without training again."
    )


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sqlite:///optuna.db", "sqlite:///optuna.db"),
        ("sqlite:////data/a@b.db", "sqlite:////data/a@b.db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://me:secret@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql+psycopg2://me:se:cr@et@host/db", "postgresql+psycopg2://me:***@host/db"),
        (
            "postgresql://host/db?user=me&password=secret&sslmode=require",
            "postgresql://host/db?user=me&password=***&sslmode=require",
        ),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("no url", "no url"),
        ("postgresql://us/er:secret@host/db", "postgresql://us/er:***@host/db"),
        ("at http://user:hunter2@host:5000/#/x.", "at http://user:***@host:5000/#/x."),
        ("postgresql+psycopg2://u:hun/t@er2@h/d", "postgresql+psycopg2://u:***@h/d"),
        ("postgresql://h/d?a=b&PASSWORD=hunter2&c=d", "postgresql://h/d?a=b&PASSWORD=***&c=d"),
        ("http://host:5000 and https://other/path", "http://host:5000 and https://other/path"),
        ("sqlite:///a@b.db", "sqlite:///a@b.db"),
        ("mssql://h/d?odbc_connect=PWD%3Dhunter2", "mssql://h/d?odbc_connect=***"),
        (
            "postgresql://h/d?sslpassword=a&token=b&x=c",
            "postgresql://h/d?sslpassword=***&token=***&x=c",
        ),
        ("postgresql://h/d?passfile=/etc/pgpass", "postgresql://h/d?passfile=/etc/pgpass"),
    ],
)
def test_passwords_of_urls_are_hidden(text: str, shown: str) -> None:
    assert hide_passwords(text) == shown
