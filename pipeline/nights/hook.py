"""Telling people: one JSON POST to the address that the environment has.

One body for all. Slack and Mattermost show `text` and the `fields` of an attachment, and pass over
what they do not know; a workflow of Teams shows the `content` of each attachment, and nothing else.
Mattermost refuses a `type` at the top, which Teams does without.

The address is a secret, as whoever knows it can post: it is in no other process, and no message.
"""

import logging
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from pipeline.base import InputError, hide_passwords, output, progress

if TYPE_CHECKING:
    from pipeline.answers.night import NightReport

VARIABLE = "TWENTY_LAYERS_NOTIFY_URL"
TIMEOUT = 10.0  # seconds in all: schedulers that end a command give it 30 and more
LONGEST = 800  # characters of a sentence; Teams takes 28 KB in all
MOST = 5  # alarms
EXIT_ALARM = 3
# Names come from anybody's file: they are to mention nobody, and link, load and format nothing.
_PLAIN = str.maketrans("<>@`[]|", "\u2039\u203a\uff20'()/")
_WHY = {  # by the exceptions of requests, the more special first
    "Timeout": f"no answer within {TIMEOUT:.0f} s",
    "ProxyError": "no connection through the proxy",
    "SSLError": "no connection that is secure, by its certificate",
    "ConnectionError": "no connection",
}

_address = ""


def take() -> None:
    """Take the address out of the environment, so that no other process inherits it."""
    global _address
    _address = os.environ.pop(VARIABLE, "").strip()


def refuse_unusable() -> None:
    """Refuse an address that nothing can be posted to, without showing it.

    Raises:
        InputError: so that nobody waits for an alarm that could not come.
    """
    if _address and not _host():
        raise InputError(
            VARIABLE,
            expected="an address that begins with https:// or http://",
            received="something else, which is not shown",
            action="Correct or unset it.",
        )


def tell(report: "NightReport") -> None:
    """Tell people of a night's alarms, if it has any and there is an address."""
    if report.alarms:
        _post(told(report))


def tell_failure(code: int, message: str) -> None:
    """Tell people of a night that failed, by the message that was shown."""
    facts = {
        "host": _plain(socket.gethostname()),
        "ended": _minute(datetime.now(UTC)),
        "exit_code": code,
    }
    title = f"The night failed on {facts['host']}"
    _post(_body(title, [f"{title} (exit code {code}): {_plain(message)}"], facts, {}))


def told(report: "NightReport") -> dict[str, Any]:
    """What people are told of a night's alarms: the body of a request."""
    title = f"Alarm: {_plain(report.comparison)} on {_plain(report.dataset)}"
    alarms = [
        {"text": _plain(one.text), "since": _plain(one.since), "cause": _plain(one.cause)}
        for one in report.alarms[:MOST]
    ]
    more = len(report.alarms) - len(alarms)
    lines = [title, *map(_line, alarms), *([f"• and {more} more"] if more else [])]
    facts = {
        "comparison": _plain(report.comparison),
        "dataset": _plain(report.dataset),
        "began": _minute(report.began),
        "minutes": round(report.minutes, 1),
        "exit_code": EXIT_ALARM,
    }
    links = {_plain(name): _link(address) for name, address in report.links.items()}
    return {**_body(title, lines, facts, links), "alarms": alarms, "links": links}


def _line(alarm: Mapping[str, str]) -> str:
    since = f" Since {alarm['since']}." if alarm["since"] else " Since this night."
    cause = f" Likely cause: {alarm['cause']}" if alarm["cause"] else ""
    return f"• {alarm['text']}{since}{cause}"


def _body(
    title: str, lines: Sequence[str], facts: Mapping[str, Any], links: Mapping[str, str]
) -> dict[str, Any]:
    table = [{"title": name.replace("_", " "), "value": str(of)} for name, of in facts.items()]
    card = {
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            *({"type": "TextBlock", "text": line, "wrap": True} for line in lines),
            {"type": "FactSet", "facts": table},
        ],
        "actions": [
            {"type": "Action.OpenUrl", "title": name, "url": url} for name, url in links.items()
        ],
    }
    attachment = {
        "fallback": title,
        "fields": [{**fact, "short": True} for fact in table],
        "contentType": "application/vnd.microsoft.card.adaptive",
        "content": card,
    }
    text = "\n".join([*lines, *(f"{name}: {url}" for name, url in links.items())])
    return {"text": text, **facts, "attachments": [attachment]}


def _plain(text: str) -> str:
    """Text on one line, of bounded length, in which no hook finds anything to obey."""
    line = output.printable(hide_passwords(" ".join(text.split())))
    cut = line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
    return cut.translate(_PLAIN)


def _link(address: str) -> str:
    return quote(hide_passwords(address), safe=":/?#=&;%+,~*-._")


def _minute(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _host() -> str:
    """The name of the host at the address; empty where that is none."""
    try:
        parts = urlsplit(_address)
        _ = parts.port  # raises, too
    except ValueError:
        return ""
    readable = _address.isprintable() and " " not in _address
    return parts.hostname or "" if parts.scheme in ("http", "https") and readable else ""


def _post(body: Mapping[str, Any]) -> None:
    """Post, and say where that was not taken; without an address, do nothing."""
    if not _address or not (host := _host()):
        return
    ended: list[str] = []
    # In a thread, since requests waits for each byte anew, and for a name server without an end.
    posting = threading.Thread(target=lambda: ended.append(_posted(body)), daemon=True)
    posting.start()
    posting.join(TIMEOUT)
    if why := ended[0] if ended else _WHY["Timeout"]:
        progress.update(message=f"The hook at {host} was not told: {why}.")


def _posted(body: Mapping[str, Any]) -> str:
    """Post; why it was not taken, or nothing. No exception may leave: they hold the address."""
    import requests

    logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)  # so do its lines
    try:
        # Without the answer's content, which may be without end.
        with requests.post(
            _address, json=body, timeout=TIMEOUT, allow_redirects=False, stream=True
        ) as answer:
            status = answer.status_code
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return next((why for name, why in _WHY.items() if name in kinds), kinds[0])
    if 200 <= status < 300:
        return ""
    redirect = ", a redirect, which is not followed" if 300 <= status < 400 else ""
    return f"it answered {status}{redirect}"
