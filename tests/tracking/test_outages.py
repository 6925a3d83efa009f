"""Waiting for a tracking server that is away, and sending it what it did not take."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException, RestException

from pipeline.base import InputError, TrackingUnavailableError, progress
from pipeline.tracking import outages
from pipeline.tracking.outages import (
    Publisher,
    is_away,
    not_waiting,
    patiently,
    set_waiting,
    wait_seconds,
)


@pytest.fixture(autouse=True)
def server_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "_answered", threading.Event())
    monkeypatch.setattr(outages, "LONGEST_PAUSE", 0.01)
    outages._answered.set()


def unavailable(message: str = "connection refused") -> MlflowException:
    return RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": message})


def failing(times: int, error: Exception | None = None) -> Callable[[str], tuple[str, int]]:
    """A call that fails some times, and then says what it was given and how often it failed."""
    failures = 0

    def call(given: str) -> tuple[str, int]:
        nonlocal failures
        if failures < times:
            failures += 1
            raise error or unavailable()
        return given, failures

    return call


def response(status: int) -> requests.Response:
    found = requests.Response()
    found.status_code = status
    return found


def test_a_call_is_made_again_until_the_server_is_back(capsys: pytest.CaptureFixture) -> None:
    assert patiently(failing(3), "run") == ("run", 3)
    printed = capsys.readouterr().out
    assert printed.count("The tracking server does not answer; waiting") == 1
    assert "connection refused" in printed


def test_a_refusal_is_no_outage() -> None:
    error = RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no run"})
    call = failing(1, error)
    with pytest.raises(RestException, match="no run"):
        patiently(call, "run")
    forbidden = RestException({"error_code": "PERMISSION_DENIED", "message": "no"})
    with pytest.raises(InputError, match="permission on"):
        patiently(failing(1, forbidden), "run")
    assert patiently(call, "run") == ("run", 1)


@pytest.mark.parametrize(
    "said",
    [
        '(psycopg2.errors.UniqueViolation) duplicate key value violates "experiment_tag_pk"',
        "(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id",
        "(pymysql.err.IntegrityError) (1062, \"Duplicate entry '1-tag' for key 'PRIMARY'\")",
    ],
)
def test_a_call_that_met_another_process_writing_the_same_is_made_again_a_few_times(
    said: str, capsys: pytest.CaptureFixture
) -> None:
    met = RestException({"error_code": "BAD_REQUEST", "message": said})
    calls = iter([met, met])

    def write() -> str:
        if error := next(calls, None):
            raise error
        return "written"

    assert patiently(write) == "written"
    assert capsys.readouterr().out == ""
    always = []

    def never() -> None:
        always.append(1)
        raise met

    with pytest.raises(RestException):
        patiently(never)
    assert len(always) == outages.MOST_MEETINGS + 1


def test_a_server_that_stays_away_is_given_up_and_its_password_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("TRACKING_WAIT_SECONDS", "0.1")
    started = time.monotonic()
    with pytest.raises(TrackingUnavailableError) as raised:
        patiently(failing(10**6, unavailable("http://me:hunter2@host is away")), "run")
    assert time.monotonic() - started >= 0.1
    assert "http://me:***@host is away" in str(raised.value)
    assert "hunter2" not in str(raised.value) + capsys.readouterr().out


@pytest.mark.parametrize("answers", [True, False])
def test_what_keeps_artifacts_is_told_from_the_server_that_takes_runs(
    answers: bool, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKING_WAIT_SECONDS", "0")
    if not answers:
        mlflow.set_tracking_uri("http://127.0.0.1:9")
    path = "/api/2.0/mlflow-artifacts/artifacts/0/abc/artifacts/weights.h5"
    with pytest.raises(TrackingUnavailableError) as raised:
        patiently(failing(1, unavailable(f"API request to {path} failed: connection reset")), "run")
    assert ("its artifact store takes nothing: full, or away" in str(raised.value)) == answers
    assert "connection reset" in str(raised.value)


def test_a_server_that_never_answered_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "_answered", threading.Event())
    call = failing(1)
    with pytest.raises(InputError, match="a tracking server that answers"):
        patiently(call, "run")
    assert patiently(call, "run") == ("run", 1)
    assert patiently(failing(1), "run") == ("run", 1)


def test_nobody_waits_where_a_process_is_to_end(capsys: pytest.CaptureFixture) -> None:
    with not_waiting(), pytest.raises(TrackingUnavailableError):
        patiently(failing(1), "run")
    assert patiently(failing(1), "run") == ("run", 1)

    def interrupted() -> None:
        set_waiting(False)
        with pytest.raises(TrackingUnavailableError):
            patiently(failing(1), "run")

    thread = threading.Thread(target=interrupted)  # which has a context of its own
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (unavailable(), True),
        (MlflowException("API request to http://host failed with exception refused"), True),
        (RestException({"error_code": "INTERNAL_ERROR", "message": "database"}), True),
        (requests.ConnectionError("refused"), True),
        (requests.HTTPError("artifact", response=response(500)), True),
        (ConnectionError("refused"), True),
        (unavailable("(sqlite3.OperationalError) database is locked"), True),
        (unavailable("(sqlite3.OperationalError) database or disk is full"), False),
        (MlflowException("Model does not have the python_function flavor"), False),
        (RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}), False),
        (
            RestException({"error_code": "BAD_REQUEST", "message": "QueuePool limit of size 5"}),
            True,
        ),
        (RestException({"error_code": "BAD_REQUEST", "message": "no such column"}), False),
        (requests.HTTPError("artifact", response=response(404)), False),
        (ValueError("a defect"), False),
    ],
)
def test_outages_are_told_from_other_errors(error: Exception, away: bool) -> None:
    assert is_away(error) is away


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "inf"])
def test_seconds_that_are_none_are_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKING_WAIT_SECONDS", given)
    with pytest.raises(InputError, match="TRACKING_WAIT_SECONDS: expected a number of seconds"):
        wait_seconds()


class Server:
    """Takes items while it is there."""

    def __init__(self, *, there: bool = True):
        self.there = threading.Event()
        if there:
            self.there.set()
        self.attempts = 0
        self.taken: list[int] = []

    def take(self, items: list[int]) -> None:
        self.attempts += 1
        if not self.there.is_set():
            raise ConnectionError("connection refused")
        self.taken += items


def test_items_arrive_in_order_those_of_a_moment_together() -> None:
    server = Server()
    publisher = Publisher(server.take)
    for item in range(250):
        publisher.put(item)
    publisher.close(timeout=10)
    assert server.taken == list(range(250))
    assert server.attempts == 3  # of at most 100


def test_a_single_item_is_sent_within_a_moment() -> None:
    server = Server()
    publisher = Publisher(server.take)
    publisher.put(1)
    started = time.monotonic()
    while not server.taken:
        assert time.monotonic() - started < 10
        time.sleep(0.01)
    publisher.close(timeout=10)


def test_what_is_put_while_the_server_is_away_arrives_in_order_once_it_is_back() -> None:
    server = Server(there=False)
    publisher = Publisher(server.take, retry_seconds=0.01)
    started = time.monotonic()
    for item in range(20):
        publisher.put(item)
    assert time.monotonic() - started < 0.5  # nobody waited for the server
    while server.attempts < 3:
        time.sleep(0.01)
    assert server.taken == []
    server.there.set()
    publisher.close(timeout=10)
    assert server.taken == list(range(20))


def test_a_server_that_stays_away_is_an_error_that_tells_what_went_wrong() -> None:
    server = Server(there=False)
    publisher = Publisher(server.take, retry_seconds=0.01)
    publisher.put(1)
    with pytest.raises(TrackingUnavailableError, match="connection refused"):
        publisher.close(timeout=0.1)
    publisher._thread.join(5)
    assert not publisher._thread.is_alive()


def test_a_server_that_is_slow_is_waited_for_as_long_as_it_takes_something(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(outages, "MOMENT", 0.05)
    monkeypatch.setattr(outages, "MOST_AT_ONCE", 1)
    taken: list[int] = []

    def take(items: list[int]) -> None:
        time.sleep(0.1)
        taken.extend(items)

    publisher = Publisher(take)
    for item in range(8):
        publisher.put(item)
    publisher.close(timeout=0.25)  # a third of what it takes
    assert taken == list(range(8))
    printed = capsys.readouterr().out
    assert printed.count("The tracking server is slow: waiting for it to take the last") == 1
    assert "None" not in printed
    stuck = threading.Event()
    publisher = Publisher(lambda _items: stuck.wait(5))
    publisher.put(1)
    with pytest.raises(TrackingUnavailableError, match=r"it took nothing for 0\.25 s"):
        publisher.close(timeout=0.25)
    stuck.set()


def test_what_a_server_refuses_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(items: list[int]) -> None:
        sent.extend(items)
        raise ValueError(f"no {items[0]}")

    monkeypatch.setattr(outages, "MOST_AT_ONCE", 1)
    sent: list[int] = []
    publisher = Publisher(refuse)
    publisher.put(1)
    publisher.put(2)
    with pytest.raises(ValueError, match="no 1"):
        publisher.close(timeout=10)
    assert sent == [1]


def test_a_person_is_told_that_the_server_is_away_and_that_it_is_back() -> None:
    news: list[str] = []
    server = Server(there=False)
    with progress.sending_to(lambda update: news.append(update["message"])):
        publisher = Publisher(server.take, retry_seconds=0.01)
        publisher.put(1)
        while server.attempts < 3:
            time.sleep(0.01)
        server.there.set()
        publisher.close(timeout=10)
    assert [one.partition(":")[0] for one in news] == [
        "The tracking server does not answer",
        "The tracking server is back",
    ]


def test_nothing_put_is_nothing_sent() -> None:
    server = Server()
    Publisher(server.take).close(timeout=10)
    assert server.attempts == 0


def test_after_giving_up_nothing_is_sent_and_the_thread_ends() -> None:
    server = Server(there=False)
    publisher = Publisher(server.take, retry_seconds=0.01)
    publisher.put(1)
    publisher.give_up()
    server.there.set()
    publisher._thread.join(5)
    assert not publisher._thread.is_alive()
    assert server.taken == []
