"""Input that was made to do harm, or by accident: refused by our own errors, nothing else happens.

The properties are tested with a few examples; `HYPOTHESIS_PROFILE=thorough` tries 10,000 of each.
"""

import io
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from browser import free_port
from conftest import PROJECT, copy_database, run_in
from datasets import tiny_arrays, written_npz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.projects import _project_spec

from pipeline import command
from pipeline.base import InputError, markdown
from pipeline.comparing.comparison import Wanted, decided, wanted
from pipeline.comparisons import Comparison, Data
from pipeline.comparisons.twenty_layers import ELU
from pipeline.comparisons.variants import LARGEST_BATCH
from pipeline.data import npz
from pipeline.data.splitting import split_arrays
from pipeline.parameters import Main, Prepare, mlflow_run
from pipeline.parameters.generated import PYTHON
from pipeline.parameters.groups import LARGEST_SEED
from pipeline.parameters.parameter import MOST
from pipeline.prepare import prepare
from pipeline.tracking import outages
from pipeline.tracking.server import server
from pipeline.work.prepare import prepared
from pipeline.work.variant_step import LoggedData

settings.register_profile(
    "few",
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.register_profile(
    "thorough",
    settings.get_profile("few"),
    max_examples=10_000,
    derandomize=False,  # other cases every time
    print_blob=True,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "few"))


# --- .npz files that were made by hand ---------------------------------------------------------


def npy(array: np.ndarray) -> bytes:
    """An array as a .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npy_declaring(header: str, content: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """A .npy file with a header of its own."""
    encoded = header.encode("latin-1")
    length = struct.pack("<H" if version == (1, 0) else "<I", len(encoded))
    return b"\x93NUMPY" + bytes(version) + length + encoded + content


def members(**changes: bytes) -> dict[str, bytes]:
    """The members of a valid .npz file, some of them changed."""
    usual = {f"{name}.npy": npy(array) for name, array in tiny_arrays().items()}
    return usual | {name if "." in name else f"{name}.npy": data for name, data in changes.items()}


def archive(
    path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_STORED
) -> zipfile.ZipFile:
    """Write members to a zip file and leave it open for more."""
    written = zipfile.ZipFile(path, "w", method)
    for name, data in content.items():
        written.writestr(name, data)
    return written


def header(shape: str, descr: str = "'|u1'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


class Touch:
    """Unpickled, it would write a file."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return os.mkdir, ("unpickled",)


def pickled_images(path: Path) -> None:
    archive(path, members(x_train=npy(np.array([Touch()], object)))).close()


def pickle_without_npy(path: Path) -> None:
    import pickle

    archive(path, members(x_train=pickle.dumps(Touch()))).close()


def deflated_bomb(path: Path) -> None:
    """300 MB of zeros in 300 KB."""
    n, images = 3000, 320 * 320
    content = members(
        y_train=npy(np.arange(n) % 3), x_test=npy(np.zeros((12, 320, 320, 1), np.uint8))
    )
    del content["x_train.npy"]
    with (
        archive(path, content, zipfile.ZIP_DEFLATED) as written,
        written.open("x_train.npy", "w") as member,
    ):
        member.write(npy_declaring(header(f"({n}, 320, 320, 1)")))
        for _ in range(n // 100):
            member.write(bytes(100 * images))


def lying_size(path: Path) -> None:
    """A directory that declares a terabyte for a few bytes."""
    with archive(
        path, members(x_train=npy_declaring(header("(60, 4, 5, 3)"), bytes(9)))
    ) as written:
        written.getinfo("x_train.npy").file_size = 2**40


def overlapping_members(path: Path) -> None:
    """Two members whose content is the same bytes of the file."""
    with archive(path, members()) as written:
        written.getinfo("x_test.npy").header_offset = written.getinfo("x_train.npy").header_offset


def beside_itself(path: Path) -> None:
    """A second `x_train`, without the suffix, which `np.load` would read instead of the first."""
    archive(path, members() | {"x_train": npy_declaring(header("(9999999, 9999)"))}).close()


def twice(path: Path) -> None:
    with archive(path, members()) as written, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns about it
        written.writestr("x_train.npy", npy(np.zeros((60, 4, 5, 3), "u1")))


def flagged_as_encrypted(path: Path) -> None:
    with archive(path, members()) as written:
        written.getinfo("x_train.npy").flag_bits |= 1
    content = path.read_bytes()
    start = content.index(b"PK\x03\x04")
    path.write_bytes(content[: start + 6] + b"\x01" + content[start + 7 :])


def truncated_member(path: Path) -> None:
    archive(path, members(y_test=npy(np.arange(12) % 3)[:-5])).close()


def bzip2(path: Path) -> None:
    archive(path, members(), zipfile.ZIP_BZIP2).close()


def lzma(path: Path) -> None:
    archive(path, members(), zipfile.ZIP_LZMA).close()


def changed(name: str, data: bytes) -> Callable[[Path], None]:
    """Writes a valid file but for one member."""
    return lambda path: archive(path, members(**{name: data})).close()


def nothing_but(name: str) -> Callable[[Path], None]:
    return lambda path: archive(path, {name: members()["x_train.npy"]}).close()


HOSTILE_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "pickled images": (pickled_images, "pickled Python objects, which are never read"),
    "a bare pickle": (pickle_without_npy, "magic string is not correct"),
    "deflated bomb": (deflated_bomb, "at most 100 times the file's size; received 308"),
    "lying size": (lying_size, r"received \d+ bytes, with \d+ bytes of memory"),
    "overlapping members": (overlapping_members, "undamaged"),
    "twice": (twice, "every array once; received x_train several times"),
    "encrypted": (flagged_as_encrypted, "undamaged"),
    "truncated member": (truncated_member, "bytes stored"),
    "bzip2": (bzip2, "as NumPy does; received methods 12"),
    "lzma": (lzma, "as NumPy does; received methods 14"),
    "negative sizes": (
        changed("x_train", npy_declaring(header("(-10, -10, 1)"), bytes(100))),
        "empty",
    ),
    "negative labels": (changed("y_train", npy_declaring(header("(-60,)"), b"")), "bytes stored"),
    "no sizes": (changed("x_train", npy_declaring(header("()"), b"1")), r"\(n, h, w, c\)"),
    "900 digits": (changed("x_train", npy_declaring(header(f"({'9' * 900}, 1)"))), "bytes stored"),
    "sizes of 5,000 digits": (
        changed("x_train", npy_declaring(header(f"({'9' * 5000},)"))),
        "large",
    ),
    "sizes that are no integers": (
        changed("x_train", npy_declaring(header("(6e1, 2, 2)"))),
        "shape",
    ),
    "huge images": (
        lambda path: archive(
            path,
            members(
                x_train=npy(np.zeros((60, 1001, 1000), "u1")),
                x_test=npy(np.zeros((12, 9, 9), "u1")),
            ),
            zipfile.ZIP_DEFLATED,
        ).close(),
        "at most 1000000 numbers; received 1001000 in each of 60",
    ),
    "elements of a terabyte": (
        changed("y_train", npy_declaring(header("(60,)", "('|u1', (1048576, 1048576))"))),
        "undamaged|bytes stored",
    ),
    "records with objects": (
        changed("y_train", npy_declaring(header("(60,)", "[('a', '|O')]"))),
        "pickled Python objects",
    ),
    "deep brackets": (changed("x_train", npy_declaring("[" * 900 + "]" * 900)), "undamaged"),
    "deep minus signs": (changed("x_train", npy_declaring("-" * 1000 + "1")), "undamaged"),
    "code in the header": (
        changed("x_train", npy_declaring("__import__('os').mkdir('unpickled')")),
        "undamaged",
    ),
    "4 GB of header": (
        changed("x_train", b"\x93NUMPY\x02\x00" + b"\xff\xff\xff\xff" + bytes(100)),
        "version 1.0",
    ),
    "unknown version": (changed("x_train", npy_declaring("{}", version=(9, 9))), "version 1.0"),
    "path upwards": (nothing_but("../../escaped.npy"), "no x_train"),
    "absolute path": (nothing_but("/tmp/escaped.npy"), "no x_train"),
    "name of 10,000 characters": (nothing_but("x" * 10_000 + ".npy"), "no x_train"),
}


@pytest.mark.parametrize("case", HOSTILE_FILES)
def test_hostile_npz_is_refused_in_seconds_and_leaves_nothing_behind(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, message = HOSTILE_FILES[case]
    monkeypatch.chdir(tmp_path)
    write(Path("bad.npz"))
    started, memory = time.monotonic(), _most_memory(from_here_on=True)
    with pytest.raises(InputError, match=message) as refused:
        npz.read(npz.find("bad.npz"))
    assert len(str(refused.value)) < 4000
    assert time.monotonic() - started < 10
    assert _most_memory() - memory < 100 * 2**20
    assert [path.name for path in tmp_path.iterdir()] == ["bad.npz"]


def _most_memory(*, from_here_on: bool = False) -> int:
    """Bytes of this process's peak: of its life, which may hold a training, or from here on."""
    if from_here_on:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    return 1024 * int(line)


def test_members_that_nobody_asked_for_are_left_alone(tmp_path: Path) -> None:
    beside_itself(tmp_path / "tiny.npz")
    with zipfile.ZipFile(tmp_path / "tiny.npz", "a") as written:
        for name in ("../../escaped.npy", "/escaped.npy", "x_train.npy/", "notes.txt"):
            written.writestr(name, b"x")
    arrays = npz.read(npz.find(str(tmp_path / "tiny.npz")))
    np.testing.assert_array_equal(arrays.x_train, tiny_arrays()["x_train"])
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.npz"]


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    "make", [Path.mkdir, a_pipe, a_link_to_a_device, a_link_to_itself, a_socket]
)
def test_what_is_no_file_is_refused_and_not_waited_for(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "data.npz")
    with pytest.raises(InputError, match=r"path of an \.npz file; received"):
        npz.find(str(tmp_path / "data.npz"))


def test_a_link_to_a_file_is_that_file(tmp_path: Path) -> None:
    written_npz(tmp_path / "tiny.npz")
    (tmp_path / "link.npz").symlink_to(tmp_path / "tiny.npz")
    assert npz.read(npz.find(str(tmp_path / "link.npz"))).name == "link"


@pytest.mark.parametrize(
    "path",
    [
        "\0.npz",
        "~\0.npz",
        "a\nb.npz",
        "\x1b[2J.npz",
        "\udcff.npz",
        "\u202ezpn.npz",
        "x" * 10_000 + ".npz",
    ],
)
def test_paths_that_cannot_be_named_are_refused(path: str) -> None:
    with pytest.raises(InputError, match="data set"):
        npz.find(path)


# --- Names that mean something to a page, a shell or a terminal ---------------------------------

NAMES = [
    "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645",  # a joiner that belongs to the word
    "<b>",
    "\"'`;$(x)",
    "$\\frac{",
    "船舶",
    "سفينة",
    "[red]",
    "a&b",
    "%s{0}",
    "../..",
    "C" * 50,
]


def test_strange_but_printable_names_are_taken_as_they_are(store: Path) -> None:
    arrays = tiny_arrays(n_train=100, n_test=20, n_classes=len(NAMES))
    path = store / "<img src=x onerror=alert(1)> $(touch pwned) 'a' \"b\" 船 [red].npz"
    np.savez(path, **arrays, class_names=np.array(NAMES))
    asked = Prepare(dataset=str(path))
    comparison = Comparison(variants=(ELU,), data=Data(classes=tuple(range(len(NAMES)))))
    data = prepared(asked, comparison)
    assert data.dataset == path.stem
    run = mlflow.MlflowClient().get_run(data.run_id)
    assert run.data.tags["dataset"] == path.stem
    assert run.data.params["dataset"] == str(path)
    text, _, again = run.data.tags["mlflow.note.content"].partition("Run again: ")
    assert text.startswith("`<img src=x onerror=alert(1)> $(touch pwned)")
    assert f"The classes kept are {', '.join(map(markdown.escaped, NAMES))}," in text
    assert again == f"`{mlflow_run('prepare', asked)}`"
    assert prepared(asked, comparison) == data
    assert npz.read(path).class_names == tuple(NAMES)
    assert not list(store.rglob("pwned"))


@pytest.mark.parametrize(
    "name", ["a\nb", "\x1b[2J", "x" * 51, "\x7f", "nul\0inside", "\u202eeeb", "bee\u200b"]
)
def test_class_names_without_a_place_in_a_figure_are_refused(tmp_path: Path, name: str) -> None:
    written_npz(tmp_path / "tiny.npz", class_names=np.array(["ant", "bee", name]))
    with pytest.raises(InputError, match="class_names of at most 50 characters, all visible"):
        npz.read(npz.find(str(tmp_path / "tiny.npz")))


METACHARACTERS = "$(touch pwned) `touch pwned` ; touch pwned | touch pwned & > pwned '\" \\ * \n x"


def test_mlflow_passes_every_parameter_to_the_shell_as_one_word(tmp_path: Path) -> None:
    project = _project_spec.load_project(str(PROJECT))
    for name in project._entry_points:
        entry_point = project.get_entry_point(name)
        given = {key: f"{METACHARACTERS} {key}" for key in entry_point.parameters}
        composed = entry_point.compute_command(given, str(tmp_path))
        module = f"{PYTHON} -m pipeline.{name}"
        assert composed.startswith(module)
        shown = ["bash", "-c", composed.replace(module, "printf '%s\\0'", 1)]
        ran = subprocess.run(shown, cwd=tmp_path, capture_output=True, text=True, check=True)
        words = ran.stdout.split("\0")[:-1]
        assert dict(zip(words[::2], words[1::2], strict=True)) == {
            f"--{key.replace('_', '-')}": value for key, value in given.items()
        }
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_metacharacters_through_mlflow_run_execute_nothing(
    tmp_path: Path, empty_database: Path
) -> None:
    copy_database(empty_database, tmp_path / "mlflow.db", artifacts=str(tmp_path / "mlruns"))
    for name in ("MLproject", "conda.yaml", "pipeline"):
        (tmp_path / name).symlink_to(PROJECT / name)
    given = [
        text
        for name in ("comparison", "dataset", "variants", "storage", "seeds", "reuse")
        for text in ("-P", f"{name}={METACHARACTERS}")
    ]
    ran = run_in(tmp_path, "mlflow", "run", ".", "--env-manager", "local", *given)
    assert ran.returncode != 0
    assert "Error: seeds: expected an integer" in ran.stdout
    assert "Traceback" not in ran.stdout
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (failed,) = client.search_runs(["0"], "attributes.status = 'FAILED'")
    assert "seeds: expected an integer" in failed.data.tags["failure_reason"]
    assert not list(tmp_path.rglob("pwned"))


# --- Passwords ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_password_is_printed_or_stored(
    store: Path, tiny_npz: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setattr(sys, "argv", ["prepare", "--dataset", str(tiny_npz)])

    def said(address: str) -> str:
        monkeypatch.setattr(outages, "_answered", threading.Event())  # as in a new process
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        mlflow.set_tracking_uri(address)
        with pytest.raises(SystemExit):
            command.run(prepare)
        return "".join(capfd.readouterr())

    with server(host="127.0.0.1", port=free_port(), store=f"sqlite:///{store}/mlflow.db") as (
        _,
        address,
    ):
        finished = said(address.replace("//", "//user:hunter2@"))
    away = said("http://user:hunter2@127.0.0.1:9")
    assert "prepare stripes: run " in finished
    assert "127.0.0.1" in away
    assert "hunter2" not in finished + away
    files = [path for path in store.rglob("*") if path.is_file()]
    assert store / "mlflow.db" in files
    assert [path for path in files if b"hunter2" in path.read_bytes()] == []


# --- Properties --------------------------------------------------------------------------------

NASTY = st.sampled_from(
    [
        *("", " ", "auto", "none", "0", "-1", "1", "0.1", "1e-3", "nan", "inf", "-inf", "1e999"),
        *(
            "1,2,3",
            "1,1",
            ",",
            "elu",
            "bn,elu",
            "elu,",
            "ELU",
            "elu\0",
            "१२",
            "1_0",
            "0x10",
            "9" * 30,
        ),
        *("last", "all", "9" * 5000, METACHARACTERS, "<script>", "\udcff", "\x1b[2J", "x" * 10_000),
        *("\0.py", "~\0/x.py", "/", "/dev/zero", "\x1b[2J.py", "x" * 10_000 + ".py"),
        *("sqlite:///optuna.db", "postgresql://u:hunter2@h/d", "a://b:hunter2", "tcp://host:1"),
    ]
)
TEXT = NASTY | st.text(max_size=30) | st.integers().map(str) | st.floats().map(str)
NUMBERS: dict[str, Any] = {
    "mc_samples": st.integers(1, MOST),
    "n_trials": st.integers(1, MOST),
    "learning_rate_min": st.floats() | st.floats(1e-6, 0.01),
    "learning_rate_max": st.floats() | st.floats(0.1, 10),
    "search_seed": st.integers(0, LARGEST_SEED),
    "val_size": st.integers(1, 10**9),
    "split_seed": st.integers(0, LARGEST_SEED),
}
VALID = {
    name: "auto" if default is None else str(default) for _, name, default, _ in Main.options()
} | {"variants": "elu,one_cycle", "seeds": "1,2"}
# Mostly valid, so that every parameter is reached.
GIVEN = st.dictionaries(st.sampled_from(sorted(VALID)), TEXT, max_size=3)


@given(GIVEN, st.fixed_dictionaries({}, optional=NUMBERS))
def test_any_parameters_are_a_comparison_or_one_of_our_errors(
    texts: dict[str, str], numbers: dict[str, Any]
) -> None:
    refusal = ""
    try:
        _check(wanted(Main(**VALID | numbers | texts)))
    except InputError as error:
        refusal = command.shown(str(error))
    assert "hunter2@" not in refusal


def _check(of: Wanted) -> None:
    trainings = decided(of, {of.data: LoggedData(dataset="any")}, None).trainings
    assert len({one.name for one in trainings}) == len(trainings) >= 1
    assert of.baseline in {one.variant.name for one in trainings}
    for one in trainings:
        assert 0 <= one.seed < 2**32
        assert 1 <= one.variant.epochs <= MOST
        assert 1 <= one.variant.batch_size <= LARGEST_BATCH
        assert 1 <= one.variant.search_epochs <= MOST
        assert 0 <= one.variant.dropout_rate < 1
        assert one.asked.learning_rate is None or 0 < one.asked.learning_rate <= MOST
    low, high = of.asked.learning_rate_min, of.asked.learning_rate_max
    assert 0 < low < high < 1e7
    assert 1 <= of.workers() <= MOST


def checked(asked: Main) -> None:
    """The command line of `main`, up to where its first step would start."""
    wanted(asked)


OPTIONS = [f"--{name.replace('_', '-')}" for name in (*VALID, "nonsense")]


@given(st.lists(st.tuples(st.sampled_from(OPTIONS), TEXT), max_size=4))
def test_any_command_line_ends_with_0_or_2_and_one_clean_line(given: list[tuple[str, str]]) -> None:
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        patch.setattr(sys, "argv", ["main", *(text for pair in given for text in pair)])
        patch.setattr(sys, "stderr", said)
        with pytest.raises(SystemExit) as exited:
            command.run(checked)
        assert os.listdir(directory) == []
    assert exited.value.code in (0, 2)
    lines = said.getvalue().splitlines()
    assert len(lines) == (exited.value.code == 2)
    assert all(line.startswith("Error: ") and line.isprintable() for line in lines)
    assert not any("hunter2@" in line for line in lines)


WORD = st.text(st.characters(exclude_characters="@", codec="utf-8"), max_size=20)


@given(st.sampled_from(["sqlite", "postgresql", "mysql+pymysql", "x"]), WORD, WORD, WORD, WORD)
def test_a_password_in_a_storage_is_never_in_the_refusal(
    scheme: str, user: str, password: str, host: str, rest: str
) -> None:
    secret = f"S3CRET{password}"
    with pytest.raises(InputError) as refused:
        Main(storage=f"{scheme}://{user.replace(':', '')}:{secret}@{host}/{rest}")
    assert "S3CRET" not in str(refused.value)


FEW = st.integers(1, 5) | st.sampled_from([20, 10**9])
SOME = st.lists(st.integers(0, 3), max_size=20)
# Some of every class, between others that come in any number and order.
LABELS = st.builds(
    lambda one, n, other: [*one, *list(range(4)) * n, *other], SOME, st.integers(2, 9), SOME
)
CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "classes": st.lists(st.integers(0, 4), min_size=2, max_size=4, unique=True).map(tuple),
    "skipped_per_class": FEW,
    "images_per_class": FEW,
    "val_images_per_class": FEW,
    "val_size": FEW,
    "split": st.just("position"),
    "pairs": st.just(True),
    "split_seed": st.integers(0, LARGEST_SEED),
}


@given(LABELS, LABELS, st.fixed_dictionaries({}, optional=CHOICES))
def test_whatever_is_asked_of_data_is_refused_or_kept_to(
    train: list[int], test: list[int], choices: dict[str, Any]
) -> None:
    numbered = np.arange(len(train) + len(test), dtype=np.uint8).reshape(-1, 1, 1, 1)
    x_train, x_test = np.split(numbered, [len(train)])
    arrays = {"x_train": x_train, "y_train": train, "x_test": x_test, "y_test": test}
    data = Data(**choices)
    try:
        loaded = npz.assemble("numbers", "numbers", {k: np.array(a) for k, a in arrays.items()})
        splits = split_arrays(loaded, data)
    except InputError:
        return
    held_out = splits.x_val[:, 0] if splits.pairs else splits.x_val
    kept = [*splits.x_train.ravel(), *held_out.ravel()]
    assert len(set(kept)) == len(kept) >= 2
    labels = np.array(train)[splits.x_train.ravel()]
    names = [splits.trained_names[label] for label in splits.y_train]
    assert names == [loaded.class_names[label] for label in labels]
    of_each = np.bincount(splits.y_train, minlength=len(splits.trained_names))
    assert of_each.min() >= 1
    if data.images_per_class:
        assert set(of_each) == {data.images_per_class}
    if data.val_images_per_class:
        held = np.unique(np.array(train)[held_out.ravel()], return_counts=True)[1]
        assert held.tolist() == [data.val_images_per_class] * len(of_each)
    elif not data.images_per_class:
        assert len(held_out) == min(data.val_size, len(kept) // 5)
    for pairs in (splits.x_val, splits.x_test) if splits.pairs else ():
        first, second = pairs.reshape(-1, 2).T
        assert len(set(first)) == len(first)
        assert (first != second).all()


@given(st.text())
def test_anything_is_shown_on_one_line(text: str) -> None:
    shown = command.shown(text)
    assert len(shown.encode()) <= 5 * command.LONGEST_MESSAGE
    assert shown.isprintable()
    assert command.shown(shown) == shown or len(text) > 100


PLAIN = members()
DAMAGE = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=8), st.integers(0, 8)),
    max_size=4,
)


@given(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]), DAMAGE, st.floats(0, 1))
def test_any_damage_to_a_file_is_harmless_or_refused(
    method: int, damage: list[tuple[float, bytes, int]], cut: float
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "damaged.npz")
        archive(path, PLAIN, method).close()
        content = path.read_bytes()
        for place, inserted, removed in damage:
            at = int(place * len(content))
            content = content[:at] + inserted + content[at + removed :]
        path.write_bytes(content[: int(len(content) * cut)] if cut < 0.1 else content)
        _read_or_refused(path)
        assert os.listdir(directory) == ["damaged.npz"]


def _read_or_refused(path: Path) -> None:
    memory = _most_memory(from_here_on=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, about headers that Python 2 has written
        try:
            arrays = npz.read(npz.find(str(path)))
        except InputError:
            arrays = None
    if arrays:
        assert arrays.x_train.shape[1:] == arrays.x_test.shape[1:]
        assert arrays.x_train.dtype == arrays.x_test.dtype == np.uint8
        assert len(arrays.x_train) == len(arrays.y_train)
        assert arrays.y_train.max() < len(arrays.class_names)
    assert _most_memory() - memory < 300 * 2**20


SIZE = st.integers(-3, 61) | st.sampled_from([12, 60, 2**31, 2**63, 2**64, -(2**63)]) | st.floats()
SHAPE = st.lists(SIZE, max_size=5).map(tuple) | st.sampled_from([(60,), (12,), (60, 4, 5, 3)])
DESCR = st.sampled_from(
    [
        *(
            "|u1",
            "<i8",
            ">i4",
            "<u8",
            "|b1",
            "<f4",
            "|O",
            "<U5",
            "|V4",
            "|S0",
            "<U0",
            "<m8[s]",
            "u9",
        ),
        *([("a", "|u1")], [("a", "|O")], ("|u1", (2, 2)), ("|u1", (2**40,)), None, 7),
    ]
)
HEADER = st.fixed_dictionaries(
    {}, optional={"descr": DESCR, "fortran_order": st.booleans() | st.none(), "shape": SHAPE}
)
MEMBER = st.builds(
    npy_declaring,
    HEADER.map(repr) | st.text(st.characters(codec="latin-1"), max_size=50),
    st.binary(max_size=200) | st.sampled_from([bytes(60), bytes(3600), bytes(480)]),
    st.sampled_from([(1, 0), (1, 0), (1, 0), (2, 0), (3, 0), (0, 255)]),
)
NAME = st.sampled_from(
    [*PLAIN, "class_names.npy", "x_train", "../x.npy", "/x.npy", "x_train.npy\0a"]
)


@given(
    st.dictionaries(NAME, MEMBER | st.binary(max_size=50), max_size=3),
    st.lists(st.tuples(NAME, st.integers(0, 2**33)), max_size=1),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]),
)
def test_any_members_are_a_data_set_or_refused(
    changes: dict[str, bytes], lies: list[tuple[str, int]], method: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "crafted.npz")
        with archive(path, PLAIN | changes, method) as written:
            for name, size in lies:
                if name in written.NameToInfo:
                    written.getinfo(name).file_size = size
        _read_or_refused(path)
        assert os.listdir(directory) == ["crafted.npz"]
