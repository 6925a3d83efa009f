"""A step has one owner in a tracking store: whoever it is, wherever its folder is."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.base import progress
from pipeline.steps import claims, owners
from pipeline.steps.claims import PREFIX, Claim, HeldError, LostClaimError, hold
from pipeline.tracking import client

HOLD_OFTEN = """
import sys, time
from pathlib import Path
from pipeline.steps.claims import hold

inside = Path(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with hold("a-step", "train bn"):
        inside.touch(exist_ok=False)  # fails where another process is inside
        time.sleep(0.01)
        inside.unlink()
print("done")
"""


def claims_in_store() -> dict[str, dict[str, Any]]:
    tags = client.connect().get_experiment("0").tags
    return {tag: json.loads(said) for tag, said in tags.items() if tag.startswith(PREFIX)}


def claim_of_another(key: str = "a-step", **said: Any) -> str:
    """The tag of a claim of a process on another machine; of this one where it says so."""
    tag = f"{PREFIX}{key}.0"
    owner = owners.owner_tags() | {"process_table": "elsewhere", "host": "elsewhere", "pid": "7"}
    said = {"number": 1, "holds": True, **owner, **said}
    client.connect().set_experiment_tag("0", tag, json.dumps(said))
    return tag


def said_while(work: Callable[[], object]) -> list[str]:
    said: list[str] = []
    with progress.sending_to(lambda news: said.append(news["message"])):
        work()
    return said


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are not heard of are in doubt soon."""
    monkeypatch.setattr(owners, "HEARTBEAT_SECONDS", 0.1)


@pytest.mark.slow
def test_processes_of_different_folders_are_never_inside_at_once(
    store: Path, tmp_path: Path
) -> None:
    client.experiment_id()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db",
    }
    processes = []
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", HOLD_OFTEN, str(tmp_path / "inside"), "10"]
        processes.append(
            subprocess.Popen(
                command, cwd=tmp_path / name, env=environment, stdout=subprocess.PIPE, text=True
            )
        )
    said = [process.communicate(timeout=120)[0].splitlines() for process in processes]
    assert [lines[-1:] for lines in said] == [["done"]] * 3
    assert claims_in_store() == {}


def test_a_step_that_nobody_claims_is_held_at_once_and_let_go_of(store: Path) -> None:
    with hold("a-step", "train bn") as claim:
        assert not claim.waited
        (said,) = claims_in_store().values()
        assert (said["number"], said["holds"], said["pid"]) == (1, True, str(os.getpid()))
    assert claims_in_store() == {}


def test_a_claim_to_another_step_is_not_waited_for(store: Path) -> None:
    tag = claim_of_another("another-step")
    with hold("a-step", "train bn") as claim:
        assert not claim.waited
    assert list(claims_in_store()) == [tag]


def test_who_came_first_is_waited_for_and_named(store: Path) -> None:
    tag = claim_of_another()

    def let_go() -> None:
        time.sleep(0.3)
        client.connect().delete_experiment_tag("0", tag)

    def wait() -> None:
        threading.Thread(target=let_go).start()
        with hold("a-step", "train bn") as claim:
            assert claim.waited

    waiting = "train bn: waiting for process 7 on elsewhere, which runs it now."
    assert said_while(wait) == [waiting]


def test_a_number_that_is_being_chosen_is_waited_for(store: Path) -> None:
    tag, held = claim_of_another(number=0, holds=False), threading.Event()

    def wait() -> None:
        with hold("a-step", "train bn"):
            held.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not held.wait(0.5)
    claim_of_another(number=2, holds=False)  # it took a higher one than this process
    thread.join(10)
    assert held.is_set()
    client.connect().delete_experiment_tag("0", tag)


def test_a_step_is_taken_over_from_a_process_that_is_gone(store: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = {"process_table": owners.process_table(), "pid": str(ended.pid), "host": "here"}
    claim_of_another(**here, process_started=str(time.time()))

    def take_over() -> None:
        with hold("a-step", "train bn") as claim:
            assert not claim.waited
            assert len(claims_in_store()) == 1

    gone = f"train bn: taken over from process {ended.pid} on here, which is gone."
    assert said_while(take_over) == [gone]


def test_a_step_is_taken_over_from_a_process_that_is_not_heard_of(store: Path, quick: None) -> None:
    claim_of_another(heartbeat=str(time.time() + 1e6))  # of a clock that is far ahead
    started = time.monotonic()
    with hold("a-step", "train bn") as claim:
        assert claim.waited
    assert 0.3 < time.monotonic() - started < 5


def test_a_process_that_is_heard_of_keeps_its_step(store: Path, quick: None) -> None:
    with hold("a-step", "train bn"):
        other = Claim("a-step", "train bn")
        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert len(other._others()) == 1
            time.sleep(0.05)


def test_a_process_that_was_taken_for_dead_notices(store: Path, quick: None) -> None:
    with hold("a-step", "train bn") as claim:
        claim.check()
        claim.confirm()
        claim_of_another()
        with pytest.raises(LostClaimError):
            claim.confirm()
    with hold("another-step", "train bn") as claim:
        claim_of_another("another-step")
        while not claim._lost.is_set():  # the heartbeat finds out
            time.sleep(0.05)
        with pytest.raises(LostClaimError):
            claim.check()


def test_a_waiting_process_that_was_taken_for_dead_does_not_go_before_who_holds_the_step(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Claim("a-step", "train bn")
    claim._number = 1
    claim_of_another(number=2)  # it came later, and holds the step
    assert not claim._is_next(claim._others(), say=True)


def test_who_is_not_to_wait_leaves_a_step_to_a_process_that_is_there(store: Path) -> None:
    with hold("a-step", "night"):
        held = claims_in_store()
        with (
            pytest.raises(HeldError, match=rf"^process {os.getpid()} on "),
            hold("a-step", "night", wait=False),
        ):
            pass
        assert claims_in_store().keys() == held.keys()
    with hold("a-step", "night", wait=False) as claim:
        assert not claim.waited


def test_who_is_not_to_wait_takes_over_from_a_process_that_is_not_heard_of(
    store: Path, quick: None
) -> None:
    claim_of_another()
    started = time.monotonic()
    with hold("a-step", "night", wait=False):
        assert 0.3 < time.monotonic() - started < 5


def test_who_is_not_to_wait_leaves_a_step_to_a_process_elsewhere_once_it_is_heard_of(
    store: Path, quick: None
) -> None:
    tag = claim_of_another()

    def beat() -> None:
        time.sleep(0.1)
        said = claims_in_store()[tag] | {"heartbeat": str(time.time())}
        client.connect().set_experiment_tag("0", tag, json.dumps(said))

    threading.Thread(target=beat).start()
    with (
        pytest.raises(HeldError, match=r"^process 7 on elsewhere$"),
        hold("a-step", "night", wait=False),
    ):
        pass


@pytest.mark.parametrize("said", ["", "no JSON", "[]", "{}", '{"number": "x"}'])
def test_a_tag_that_no_process_wrote_claims_nothing(store: Path, said: str) -> None:
    client.connect().set_experiment_tag("0", f"{PREFIX}a-step.0", said)
    with hold("a-step", "train bn") as claim:
        assert not claim.waited
    assert claims_in_store() == {}


def test_claims_of_yesterday_are_deleted_by_whoever_comes_next(store: Path) -> None:
    claim_of_another("another-step", heartbeat=str(time.time() - claims.FORGOTTEN_AFTER - 60))
    with hold("a-step", "train bn"):
        pass
    assert claims_in_store() == {}
