"""Passwords in URLs: found, so that they are refused, and hidden wherever a URL is shown."""

import re


def hide_passwords(text: str) -> str:
    """A text in which the passwords of URLs are stars."""

    def hidden(option: re.Match[str]) -> str:
        return f"{option[1]}***" if is_secret(option[2]) else option[0]

    text = re.sub(r"(://[^\s:@]*):\S*@", r"\1:***@", text)
    return re.sub(r"([?&;]([^\s=&;?]+)=)[^\s&;]*", hidden, text)


def has_password(url: str) -> bool:
    """Whether something stands between a colon and an @, also where a / or ? was not escaped."""
    before, at, _ = url.partition("://")[2].partition("@")
    return bool(at and before.partition(":")[2])


def is_secret(option: str) -> bool:
    """Whether an option of a URL's query holds a password; `passfile` says where one is."""
    words = ("pass", "pwd", "secret", "token", "odbc_connect")
    return option.lower() != "passfile" and any(word in option.lower() for word in words)
