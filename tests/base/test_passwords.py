import pytest

from pipeline.base import hide_passwords


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
