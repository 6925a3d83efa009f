from errno import ENOSPC
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from pipeline.training.checkpoints import Checkpoint, Checkpoints


def checkpoint(epoch: int) -> Checkpoint:
    return Checkpoint(
        epoch=epoch,
        arrays={"weight_0": np.full((3, 2), epoch, np.float32), "step": np.array(epoch)},
        state={"history": [{"loss": 0.1 * epoch}], "best": None},
    )


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "run")


def newest(checkpoints: Checkpoints) -> Checkpoint:
    found = checkpoints.newest()
    assert found is not None
    return found


def test_without_a_checkpoint_there_is_none(checkpoints: Checkpoints) -> None:
    assert checkpoints.newest() is None


def test_a_disk_that_is_full_is_told_with_the_file(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a write does, of which the system knows no name.
    full = Mock(side_effect=OSError(ENOSPC, "No space left on device"))
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/run/epoch-000003\.npz'"):
        checkpoints.save(checkpoint(3))
    assert list(checkpoints.directory.iterdir()) == []


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
    names = sorted(path.name for path in checkpoints.directory.iterdir())
    assert names == ["epoch-000010.npz", "epoch-000011.npz"]
    assert newest(checkpoints).epoch == 11


@pytest.mark.parametrize("damage", ["cut short", "one bit", "a header", "emptied", "other text"])
def test_of_a_damaged_checkpoint_the_one_before_is_used(
    checkpoints: Checkpoints, damage: str
) -> None:
    for epoch in (1, 2):
        checkpoints.save(checkpoint(epoch))
    path = checkpoints.directory / "epoch-000002.npz"
    content = bytearray(path.read_bytes())
    header = content.copy()
    header[content.index(b"PK\x01\x02") + 10] ^= 4  # how the first member is compressed
    content[content.index(np.full(6, 2, np.float32).tobytes())] ^= 1
    path.write_bytes(
        {
            "cut short": bytes(content[: len(content) // 2]),
            "one bit": bytes(content),
            "a header": bytes(header),
            "emptied": b"",
            "other text": b"epoch 2",
        }[damage]
    )
    assert newest(checkpoints).epoch == 1


def test_a_checkpoint_that_could_not_be_written_leaves_those_before(
    checkpoints: Checkpoints,
) -> None:
    checkpoints.save(checkpoint(1))
    unwritable = Checkpoint(epoch=2, arrays={"weight_0": np.array([{}])}, state={})
    with pytest.raises(ValueError, match="allow_pickle"):
        checkpoints.save(unwritable)
    assert [path.name for path in checkpoints.directory.iterdir()] == ["epoch-000001.npz"]


def test_an_unfinished_file_is_not_taken_for_a_checkpoint(checkpoints: Checkpoints) -> None:
    checkpoints.save(checkpoint(1))
    (checkpoints.directory / "epoch-000002.unfinished").write_bytes(b"half")
    assert newest(checkpoints).epoch == 1


def test_deleted_checkpoints_leave_no_directory(checkpoints: Checkpoints) -> None:
    checkpoints.save(checkpoint(1))
    checkpoints.delete()
    checkpoints.delete()
    assert not checkpoints.directory.exists()
