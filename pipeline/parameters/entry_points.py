"""The entry points, each with all that it can be asked for."""

import shlex
from collections.abc import Mapping
from typing import Any, ClassVar

from pipeline.comparisons import Comparison, Variant, files
from pipeline.parameters.groups import (
    Chosen,
    Compared,
    DataSet,
    OneRun,
    OneVariant,
    Reuse,
    Running,
    Runs,
    Searching,
    Seeded,
    Training,
)
from pipeline.parameters.parameter import REQUIRED, Parameters, again, asked, auto, declared
from pipeline.parameters.searched import check_seeds


class Main(Running, DataSet, Searching, Training, Chosen):
    """The parameters of `main`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate is None and self.seeds is not None:
            check_seeds("seeds", self.seeds, search_seed=self.search_seed)


class Night(Chosen):
    """Answers."""

    minutes: float | None = again(Chosen, "minutes", default="60")
    bisect: str = asked(
        "no",
        "yes: where a variant has become worse and several things have changed, train it again "
        "with one of them taken back: the code, or the data.",
        choices=("no", "yes"),
    )


class Nightly(Night, Main):
    """The parameters of `nightly`."""


class Prepare(Reuse, DataSet):
    """The parameters of `prepare`."""

    called: ClassVar[Mapping[str, str]] = {"split_seed": "seed"}


class Search(Reuse, DataSet, Searching, OneVariant):
    """The parameters of `search`."""

    called: ClassVar[Mapping[str, str]] = {"search_seed": "seed"}


class Train(Reuse, DataSet, Searching, Training, Seeded):
    """The parameters of `train`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate is None:
            check_seeds("seed", (self.seed,), search_seed=self.search_seed)


class McDropout(OneRun):
    """The parameters of `mc_dropout`."""


class Compare(Reuse, Runs):
    """The parameters of `compare`."""


class Answered(Parameters):
    """Answers."""

    comparisons: tuple[str, ...] | None = auto(
        "Comparisons, separated by commas: names, or paths of .py files.",
        "all of pipeline/comparisons",
        many=True,
        value="names or paths",
    )
    dataset: str | None = auto(
        "The data set that they were run on, by its name.",
        "of each comparison that of its newest run",
        value="name",
    )
    readme: str = asked(
        "none",
        "none, or a Markdown file: the answers are put between its comments 'questions' and "
        "'/questions'.",
        value="path",
    )


class Questions(Answered):
    """The parameters of `questions`."""


ENTRY_POINTS: Mapping[str, type[Parameters]] = {
    "main": Main,
    "nightly": Nightly,
    "prepare": Prepare,
    "search": Search,
    "train": Train,
    "mc_dropout": McDropout,
    "compare": Compare,
    "questions": Questions,
}


def comparison_of(asked_for: Compared) -> Comparison:
    """The comparison that is asked for, where no variant says which."""
    name = asked_for.comparison
    return files.load(files.DEFAULT if name == "auto" else name)


def settings_of(variant: Variant, group: type[Parameters]) -> dict[str, Any]:
    """The parameters of a group that are settings of a variant, with its values for them."""
    values = {name: getattr(variant, name) for name in declared(group) if hasattr(variant, name)}
    if "patience" in values:
        values["patience"] = values["patience"] or 0  # which is read from "none"
    return values


def recorded(
    given: Parameters, group: type[Parameters], entry_point: str, variant: Variant | None = None
) -> dict[str, str]:
    """The parameters of a group as texts, by the names that they have for an entry point.

    Those that are settings of the variant are as it has them, the others as they were given.
    """
    called = ENTRY_POINTS[entry_point].called
    settings = settings_of(variant, group) if variant else {}
    return {
        called.get(name, name): parameter.text(settings.get(name, getattr(given, name)))
        for name, parameter in declared(group).items()
    }


def given_texts(entry_point: str, given: Parameters, **instead: Any) -> dict[str, str]:
    """What an entry point is given by some parameters, by names, without the defaults.

    They may be those of another one that shares some; `instead` has values instead of theirs.
    """
    found = {}
    for field, name, default, parameter in ENTRY_POINTS[entry_point].options():
        text = parameter.text(instead.get(field, getattr(given, field, default)))
        if default is REQUIRED or text != parameter.text(parameter.read(name, default)):
            found[name] = text
    return found


def mlflow_run(entry_point: str, given: Parameters, **instead: Any) -> str:
    """The `mlflow run` command that calls an entry point, with what `given_texts` has."""
    words = ["mlflow run ." if entry_point == "main" else f"mlflow run . -e {entry_point}"]
    texts = given_texts(entry_point, given, **instead)
    return " ".join([*words, *(f"-P {shlex.quote(f'{one}={of}')}" for one, of in texts.items())])
