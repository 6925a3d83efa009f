import os
from collections.abc import Iterator
from errno import ENOSPC
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from object_store import BUCKET, ObjectStore, object_store

from pipeline.base import disks
from pipeline.training import checkpoints as checkpoints_module
from pipeline.training.checkpoints import Checkpoint, Checkpoints


def checkpoint(epoch: int) -> Checkpoint:
    return Checkpoint(
        epoch=epoch,
        arrays={"weight_0": np.full((3, 2), epoch, np.float32), "step": np.array(epoch)},
        state={"history": [{"loss": 0.1 * epoch}], "best": None},
    )


@pytest.fixture(params=["a folder", "file:", "memory:"])
def checkpoints(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Checkpoints:
    """Those of a run, in a folder and in a store that knows none."""
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    where = {"a folder": "", "file:": "file://", "memory:": "memory://"}[request.param]
    return Checkpoints(f"{where}{tmp_path}/run")


@pytest.fixture
def in_a_folder(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "run")


def names(checkpoints: Checkpoints) -> list[str]:
    """What lies where they are kept."""
    files, path = checkpoints._store
    return sorted(one.rpartition("/")[2] for one in files.ls(path, detail=False))


def newest(checkpoints: Checkpoints) -> Checkpoint:
    found = checkpoints.newest()
    assert found is not None
    return found


def test_without_a_checkpoint_there_is_none(checkpoints: Checkpoints) -> None:
    assert checkpoints.newest() is None


def test_a_disk_that_is_full_is_told_with_the_file(
    in_a_folder: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a write does, of which the system knows no name.
    full = Mock(side_effect=OSError(ENOSPC, "No space left on device"))
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/run/epoch-000003\.npz'"):
        in_a_folder.save(checkpoint(3))
    assert names(in_a_folder) == []


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    in_a_folder: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[list[str]] = []
    monkeypatch.setattr(os, "fsync", lambda _: there.append(names(in_a_folder)))
    in_a_folder.save(checkpoint(3))
    assert there == [["epoch-000003.unfinished"]]
    assert names(in_a_folder) == ["epoch-000003.npz"]


def test_what_was_saved_is_read_to_the_last_digit(checkpoints: Checkpoints) -> None:
    checkpoints.save(checkpoint(3))
    found = newest(checkpoints)
    assert found.epoch == 3
    assert found.state == checkpoint(3).state
    assert set(found.arrays) == {"weight_0", "step"}
    np.testing.assert_array_equal(found.arrays["weight_0"], np.full((3, 2), 3, np.float32))
    assert found.arrays["weight_0"].dtype == np.float32
    assert found.arrays["step"].shape == ()


def test_arrays_of_any_shape_and_type_are_read_as_they_were(checkpoints: Checkpoints) -> None:
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {
        "kernel": generator.standard_normal((4, 3)).astype(np.float32),
        "epoch": np.array(7, np.int64),
        "rate": np.array(np.nan, np.float32),
        "none": np.zeros((0, 3), np.float32),
        "transposed": generator.standard_normal((2, 5)).astype(np.float32).T,
        "double": generator.standard_normal(3),
    }
    checkpoints.save(Checkpoint(epoch=1, arrays=arrays, state={}))
    read = newest(checkpoints).arrays
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def test_without_arrays_the_state_is_read(checkpoints: Checkpoints) -> None:
    checkpoints.save(Checkpoint(epoch=1, arrays={}, state={"wait": 2}))
    assert (newest(checkpoints).arrays, newest(checkpoints).state) == ({}, {"wait": 2})


def test_the_last_two_are_kept(checkpoints: Checkpoints) -> None:
    for epoch in (8, 9, 10, 11):
        checkpoints.save(checkpoint(epoch))
    assert names(checkpoints) == ["epoch-000010.npz", "epoch-000011.npz"]
    assert newest(checkpoints).epoch == 11


@pytest.mark.parametrize("damage", ["cut short", "one bit", "a header", "emptied", "other text"])
def test_of_a_damaged_checkpoint_the_one_before_is_used(
    checkpoints: Checkpoints, damage: str
) -> None:
    for epoch in (1, 2):
        checkpoints.save(checkpoint(epoch))
    files, directory = checkpoints._store
    path = f"{directory}/epoch-000002.npz"
    content = bytearray(files.cat_file(path))
    header = content.copy()
    header[content.index(b"PK\x01\x02") + 10] ^= 4  # how the first member is compressed
    content[content.index(np.full(6, 2, np.float32).tobytes())] ^= 1
    files.pipe_file(
        path,
        {
            "cut short": bytes(content[: len(content) // 2]),
            "one bit": bytes(content),
            "a header": bytes(header),
            "emptied": b"",
            "other text": b"epoch 2",
        }[damage],
    )
    assert newest(checkpoints).epoch == 1


def test_of_a_checkpoint_that_a_disk_cannot_read_the_one_before_is_used(
    in_a_folder: Checkpoints,
) -> None:
    in_a_folder.save(checkpoint(1))
    Path(str(in_a_folder), "epoch-000002.npz").mkdir()
    assert newest(in_a_folder).epoch == 1


def test_a_checkpoint_that_could_not_be_written_leaves_those_before(
    checkpoints: Checkpoints,
) -> None:
    checkpoints.save(checkpoint(1))
    unwritable = Checkpoint(epoch=2, arrays={"weight_0": np.array([{}])}, state={})
    with pytest.raises(ValueError, match="allow_pickle"):
        checkpoints.save(unwritable)
    assert names(checkpoints) == ["epoch-000001.npz"]


def test_an_unfinished_file_is_not_taken_for_a_checkpoint(in_a_folder: Checkpoints) -> None:
    in_a_folder.save(checkpoint(1))
    Path(str(in_a_folder), "epoch-000002.unfinished").write_bytes(b"half")
    assert newest(in_a_folder).epoch == 1


def test_deleted_checkpoints_leave_nothing(checkpoints: Checkpoints) -> None:
    assert not checkpoints.exist()
    checkpoints.save(checkpoint(1))
    assert checkpoints.exist()
    checkpoints.delete()
    checkpoints.delete()
    assert not checkpoints.exist()
    assert not checkpoints._files.exists(checkpoints._path)


def test_those_that_are_moved_are_another_runs(checkpoints: Checkpoints) -> None:
    other = Checkpoints(f"{checkpoints.location}-other")
    checkpoints.move_to(other)  # there are none
    checkpoints.save(checkpoint(1))
    checkpoints.move_to(other)
    assert newest(other).epoch == 1
    assert not checkpoints.exist()


def test_a_folder_in_the_home_directory_and_one_with_a_pattern_s_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    kept = Checkpoints("~/of [a] * run::x")
    kept.save(checkpoint(1))
    assert str(kept) == f"{tmp_path}/of [a] * run::x"
    assert newest(kept).epoch == 1


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStore]:
    with object_store() as started, pytest.MonkeyPatch.context() as patch:
        for name, value in started.environment.items():
            patch.setenv(name, value)
        yield started


@pytest.fixture
def kept(s3: ObjectStore, request: pytest.FixtureRequest) -> Checkpoints:
    return Checkpoints(f"s3://{BUCKET}/nights/{request.node.name}")


def test_checkpoints_are_saved_read_moved_and_deleted(kept: Checkpoints) -> None:
    assert kept.newest() is None
    for epoch in (9, 10, 11):
        kept.save(checkpoint(epoch))
    assert names(kept) == ["epoch-000010.npz", "epoch-000011.npz"]
    elsewhere = Checkpoints(kept.location)  # another host's
    assert newest(elsewhere).epoch == 11
    kept.save(checkpoint(12))
    assert newest(elsewhere).epoch == 12  # what was listed before is not kept
    moved = Checkpoints(f"{kept.location}-moved")
    kept.move_to(moved)
    assert not elsewhere.exist()
    assert newest(moved).epoch == 12
    moved.delete()
    assert not moved.exist()


def test_one_that_is_away_for_a_moment_is_waited_for(
    kept: Checkpoints, s3: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.save(checkpoint(1))
    with s3.failing(507, times=1):  # at which its client does not ask again by itself
        kept.save(checkpoint(2))
        assert newest(kept).epoch == 2
    said = capsys.readouterr().out
    assert said.startswith("The store of checkpoints fails: waiting for it for up to 60 s (")
    assert said.count("\n") == 1


@pytest.mark.parametrize(("status", "wait"), [(507, 0.0), (403, 60.0)])
def test_one_that_stays_full_or_closed_is_told_as_a_disk_is(
    kept: Checkpoints,
    s3: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    wait: float,
) -> None:
    monkeypatch.setattr(checkpoints_module, "WAIT_SECONDS", wait)
    kept.save(checkpoint(1))
    with s3.failing(status), pytest.raises(OSError, match="store of checkpoints") as full:
        kept.save(checkpoint(2))
    said = disks.failure(full.value)
    assert said
    assert said.endswith(f"'{kept}/epoch-000002.npz'")
    assert "\n" not in said
    assert newest(kept).epoch == 1


def test_one_that_is_away_is_not_taken_for_empty(
    kept: Checkpoints, s3: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints_module, "WAIT_SECONDS", 0.0)
    kept.save(checkpoint(1))
    for ask in (kept.newest, kept.exist):
        with s3.failing(507), pytest.raises(OSError, match="store of checkpoints"):
            ask()


def test_a_bucket_that_does_not_exist_is_told_and_not_made(s3: ObjectStore) -> None:
    lost = Checkpoints("s3://no-such-bucket/run")
    assert lost.newest() is None
    with pytest.raises(OSError, match="The specified bucket does not exist"):
        lost.save(checkpoint(1))
