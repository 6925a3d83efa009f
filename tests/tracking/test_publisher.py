import threading
import time

import pytest

from pipeline.base import TrackingUnavailableError, progress
from pipeline.tracking.patience import Publisher


class Server:
    """Takes items while it is there."""

    def __init__(self, *, there: bool = True):
        self.there = threading.Event()
        if there:
            self.there.set()
        self.attempts = 0
        self.taken: list[int] = []

    def take(self, item: int) -> None:
        self.attempts += 1
        if not self.there.is_set():
            raise ConnectionError("connection refused")
        self.taken.append(item)


def test_items_arrive_in_order() -> None:
    server = Server()
    publisher = Publisher(server.take)
    for item in range(100):
        publisher.put(item)
    publisher.close(timeout=10)
    assert server.taken == list(range(100))
    assert server.attempts == 100


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


def test_what_a_server_refuses_is_not_sent_again() -> None:
    def refuse(item: int) -> None:
        sent.append(item)
        raise ValueError(f"no {item}")

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
