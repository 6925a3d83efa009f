import hashlib
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import fingerprints
from pipeline.data.fingerprints import fingerprint_of, parts

PIXELS = np.arange(60, dtype=np.int16).reshape(10, 6)


def test_every_name_shape_dtype_byte_and_the_order_count() -> None:
    arrays = {"a": PIXELS, "b": np.array(1.5), "c": np.array(b"text"), "d": np.zeros((0, 3))}
    content = b"".join(
        f"{name} {array.shape} {array.dtype.str}\n".encode() + array.tobytes()
        for name, array in arrays.items()
    )
    assert fingerprint_of(arrays) == hashlib.sha256(content).hexdigest()
    others = [
        {"a": PIXELS, "b": np.array(1.5), "c": np.array(b"text"), "e": np.zeros((0, 3))},
        arrays | {"a": PIXELS.reshape(6, 10)},
        arrays | {"a": PIXELS.view(np.uint16)},
        arrays | {"b": np.array(1.25)},
        dict(reversed(arrays.items())),
    ]
    assert len({fingerprint_of(one) for one in (arrays, *others)}) == 6


@pytest.mark.parametrize("order", ["C", "F"])
def test_parts_and_the_order_in_memory_change_nothing(
    order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fingerprint_of({"a": PIXELS})
    np.save(tmp_path / "a.npy", np.array(PIXELS, order=order))  # type: ignore[call-overload]
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    monkeypatch.setattr(fingerprints, "_PART_BYTES", 3 * PIXELS[0].nbytes)
    assert [len(part) for part in parts(mapped)] == [3, 3, 3, 1]
    assert fingerprint_of({"a": mapped}) == expected
