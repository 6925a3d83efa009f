"""The hook: what it is posted, that nothing depends on it, and that its address stays a secret."""

import logging
import os
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from receivers import receiver

from pipeline.answers.night import Finding, NightReport
from pipeline.base import InputError
from pipeline.nights import hook

WORSE = Finding(
    text="bn is worse: 51.2% instead of 54.0% of the test images right.",
    is_alarm=True,
    since="2026-11-26",
    cause="Its learning rate in the code changed.",
)
TURNED = Finding(text="bn over elu turned from better into worse.", is_alarm=True)
EQUAL = Finding(text="elu is equal to the last good night.")


def report(
    *findings: Finding, comparison: str = "twenty_layers", dataset: str = "cifar10"
) -> NightReport:
    return NightReport(
        comparison=comparison,
        dataset=dataset,
        began=datetime(2026, 11, 28, 2, 0, tzinfo=UTC),
        minutes=61.23,
        findings=findings,
        links={"the night": "http://mlflow:5000/#/experiments/1/runs/abc"},
    )


@pytest.fixture(autouse=True)
def no_address() -> Iterator[None]:
    yield
    hook.take()


def set_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(hook.VARIABLE, address)
    hook.take()


def test_an_alarm_is_posted_once_with_what_changed_since_when_why_and_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiver() as received:
        set_address(monkeypatch, received.address)
        hook.tell(report(WORSE, TURNED, EQUAL))
    (body,) = received.bodies
    assert received.headers[0]["Content-Type"] == "application/json"
    assert body["text"].splitlines() == [
        "Alarm: twenty_layers on cifar10",
        "• bn is worse: 51.2% instead of 54.0% of the test images right. Since 2026-11-26. "
        "Likely cause: Its learning rate in the code changed.",
        "• bn over elu turned from better into worse. Since this night.",
        "the night: http://mlflow:5000/#/experiments/1/runs/abc",
    ]
    facts = {"comparison": "twenty_layers", "dataset": "cifar10", "minutes": 61.2, "exit_code": 3}
    assert body.items() >= {**facts, "began": "2026-11-28 02:00 UTC"}.items()
    assert body["alarms"][0]["since"] == "2026-11-26"
    assert body["links"] == report().links
    assert capsys.readouterr().out == ""


def test_a_body_is_one_that_slack_mattermost_and_teams_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = hook.told(report(WORSE))
    # Of Mattermost's own: a type that it does not know is refused, the others are settings.
    assert not body.keys() & {"type", "channel", "username", "props", "priority", "icon_url"}
    (attachment,) = body["attachments"]
    assert {one["title"]: one["value"] for one in attachment["fields"]}["exit code"] == "3"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert [one["type"] for one in card["body"]] == ["TextBlock", "TextBlock", "FactSet"]
    assert "Its learning rate" in card["body"][1]["text"]
    assert card["actions"] == [
        {"type": "Action.OpenUrl", "title": name, "url": url}
        for name, url in report().links.items()
    ]


def test_a_quiet_night_and_one_without_an_address_post_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiver() as received:
        set_address(monkeypatch, received.address)
        hook.tell(report(EQUAL))
        set_address(monkeypatch, "")
        hook.tell(report(WORSE))
        hook.tell_failure(1, "a step failed")
    assert received.bodies == []
    assert capsys.readouterr().out == ""


def test_the_address_is_taken_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_address(monkeypatch, "https://hooks.example/the-secret")
    assert hook.VARIABLE not in os.environ


def test_names_and_messages_mention_nobody_link_nothing_and_have_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hostile = "<!channel> @all `x` [a](b) \x1b[2J\r\n\u202e <http://x|y> " + 9000 * "!"
    finding = Finding(text=hostile, is_alarm=True, since=hostile, cause=hostile)
    with receiver() as received:
        set_address(monkeypatch, received.address)
        hook.tell(report(*99 * [finding], comparison=hostile, dataset=hostile))
        hook.tell_failure(1, f"https://user:hunter2@host/ {hostile}")
    alarm, failure = (body["text"] for body in received.bodies)
    for text in (alarm, failure):
        assert not set("<>@`[]|\x1b\r\u202e") & set(text)
    assert "• and 94 more" in alarm.splitlines()
    assert len(alarm.splitlines()) == 1 + hook.MOST + 1 + 1
    assert len(alarm) < 16_000  # Mattermost splits longer ones
    assert "hunter2" not in failure
    assert len(failure.splitlines()) == 1


@pytest.mark.parametrize(
    "address",
    [
        *("hooks.example/secret", "ftp://host/secret", "https:///secret", "file:///secret"),
        *("https://host:port/secret", "https://[::1/secret"),
        *("https://host/a secret", "https://host/\x00secret"),
    ],
)
def test_an_address_that_is_none_is_refused_but_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "_address", address)  # a variable can hold no zero byte
    with pytest.raises(InputError, match=r"an address that begins with https://") as refused:
        hook.refuse_unusable()
    assert "secret" not in str(refused.value)
    hook.tell(report(WORSE))  # does nothing


@pytest.mark.parametrize("address", ["", "http://127.0.0.1:1/x", " https://hooks.example/x?y=z\n"])
def test_an_address_or_none_is_not_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_address(monkeypatch, address)
    hook.refuse_unusable()


def status(code: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"the-secret was not found")

    return answer


def trickles(handler: BaseHTTPRequestHandler) -> None:
    for letter in b"HTTP/1.1 200 OK\r\nX: " + 60 * b"x":  # three seconds
        handler.wfile.write(bytes([letter]))
        handler.wfile.flush()
        time.sleep(0.05)


def has_no_header(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 500 x\r\n : \x00no header\r\n\r\n")  # of which urllib3 warns


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (status(404), "it answered 404"),
        (status(500), "it answered 500"),
        (status(302, Location="/elsewhere"), "it answered 302, a redirect, which is not followed"),
        (trickles, "no answer within"),
        (lambda _: time.sleep(2), "no answer within"),
        (lambda handler: handler.connection.close(), "no connection"),
        (has_no_header, "it answered 500"),
    ],
    ids=["missing", "broken", "moved", "trickles", "silent", "hangs up", "no header"],
)
def test_a_hook_that_does_not_take_it_is_said_and_fails_nothing(
    answer: Callable[[BaseHTTPRequestHandler], None],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(hook, "TIMEOUT", 0.7)
    began = time.monotonic()
    with receiver(answer) as received, caplog.at_level(logging.DEBUG):
        set_address(monkeypatch, received.address)
        hook.tell(report(WORSE))
        assert time.monotonic() - began < 1.5
    shown = capsys.readouterr().out
    assert shown.startswith("The hook at 127.0.0.1 was not told: " + why)
    assert len(received.bodies) == shown.count("\n") == 1
    assert "the-secret" not in shown + caplog.text


def test_an_answer_without_an_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def long(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.05)

    began = time.monotonic()
    with receiver(long) as received:
        set_address(monkeypatch, received.address)
        hook.tell(report(WORSE))
    assert time.monotonic() - began < 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/the-secret", "http://x.invalid/the-secret"]
)
def test_a_hook_that_is_away_is_said(
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    set_address(monkeypatch, "http://127.0.0.1:1/the-secret")
    with caplog.at_level(logging.DEBUG):
        hook.tell_failure(2, "bad input")
    assert capsys.readouterr().out == "The hook at 127.0.0.1 was not told: no connection.\n"
    assert "the-secret" not in caplog.text


def self_signed(directory: Path) -> tuple[Path, Path]:
    """A certificate that nobody has signed but itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now, alternative = datetime.now(UTC), x509.SubjectAlternativeName([x509.DNSName("localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    signed = made.add_extension(alternative, critical=True).sign(key, hashes.SHA256())
    files = directory / "certificate.pem", directory / "key.pem"
    pem = serialization.Encoding.PEM
    files[0].write_bytes(signed.public_bytes(pem))
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(pem, form, none))
    return files


def test_a_certificate_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, key = self_signed(tmp_path)

    def speak_tls(server: ThreadingHTTPServer) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)

    with receiver(prepare=speak_tls) as received:
        address = received.address.replace("http://127.0.0.1", "https://localhost")
        set_address(monkeypatch, address)
        hook.tell(report(WORSE))
        assert received.bodies == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))  # one's own authority
        hook.tell(report(WORSE))
        assert len(received.bodies) == 1
    assert capsys.readouterr().out == (
        "The hook at localhost was not told: no connection that is secure, by its certificate.\n"
    )
