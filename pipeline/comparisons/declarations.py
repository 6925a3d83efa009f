"""What a comparison is made of: data, variants and questions; what differs is the experiment."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipeline.base import InputError, unknown_name
from pipeline.comparisons.checks import check_all, check_different, check_name, check_settings
from pipeline.comparisons.colors import in_order
from pipeline.comparisons.questions import IMPLIED, Question

LARGEST_BATCH = 65_536


_SELF_NORMALIZING: Mapping[str, tuple[object, ...]] = {
    "activation": ("selu",),
    "kernel_initializer": ("lecun_normal",),
    "batch_normalization": (False,),
    "dropout": (None, "alpha"),
}


def _of(*steps: str, default: Any) -> Any:
    """A setting that decides what these steps come to, and no others."""
    return field(default=default, metadata={"steps": steps})


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One architecture variant of the deep dense network, with how it is trained by default.

    Args:
        name: what it is called on the command line, in MLflow and in figures.
        description: one line for ``--help`` and notes.
        color: hex colour of its curves; left out, the comparison gives it one, see `colors`.
        derived_from: the variant that it was derived from.
        hidden_layers, units: number of hidden dense layers, and of units in each.
        activation, kernel_initializer: Keras names, for the hidden layers.
        batch_normalization: whether batch normalisation stands between dense layer and activation.
        self_normalizing: whether the network must keep mean 0 and variance 1 through its layers
            (Klambauer et al. 2017); settings that break this are refused.
        dropout, dropout_rate: its kind, and the fraction of the units dropped, in [0, 1).
        dropout_layers: ``last``: before the output layer only; ``all``: after every hidden layer.
        optimizer: ``nadam``, or ``sgd`` with Nesterov momentum 0.9.
        schedule: ``constant`` learning rate, or ``one_cycle`` (Smith 2018) over all epochs.
        batch_size, epochs: images per mini-batch, and most epochs trained.
        patience: epochs without a lower ``val_loss`` after which training stops; None: train all
            epochs and judge the model at the end.
        search_epochs: most epochs of a trial when its learning rate is searched.

    Raises:
        InputError: if a setting is unknown, out of range, or breaks self-normalisation.
    """

    name: str
    description: str = _of(default="")
    color: str = field(default="", metadata={"steps": (), "pattern": "(#[0-9A-Fa-f]{6})?"})
    derived_from: str = _of(default="")
    hidden_layers: int = 20
    units: int = 100
    activation: str = "elu"
    kernel_initializer: str = "he_normal"
    batch_normalization: bool = False
    self_normalizing: bool = False
    dropout: Literal["alpha", "standard"] | None = None
    dropout_rate: float = 0.0
    dropout_layers: Literal["last", "all"] = "last"
    optimizer: Literal["nadam", "sgd"] = "nadam"
    schedule: Literal["constant", "one_cycle"] = "constant"
    batch_size: int = field(default=32, metadata={"most": LARGEST_BATCH})
    epochs: int = _of("train", default=100)
    patience: int | None = _of("train", default=20)
    search_epochs: int = _of(default=10)  # given or not, it is a parameter of the search

    def __post_init__(self) -> None:
        check_name("variant", self.name)
        check_settings(f"of variant '{self.name}'", self)
        if not 0 <= self.dropout_rate < 1:
            raise InputError(
                f"dropout_rate of variant '{self.name}'",
                expected="a number of at least 0 and below 1",
                received=str(self.dropout_rate),
                action="0.1 is the default; 0.05 to 0.3 is usual.",
            )
        if self.self_normalizing:
            self._check_self_normalization()

    def _check_self_normalization(self) -> None:
        for setting, allowed in _SELF_NORMALIZING.items():
            received = getattr(self, setting)
            if received not in allowed:
                raise InputError(
                    f"{setting} of variant '{self.name}'",
                    expected=f"{' or '.join(map(repr, allowed))}, so that it self-normalises",
                    received=repr(received),
                    action="Derive a variant with self_normalizing=False to try this setting.",
                )

    def derive(
        self, *, name: str, description: str = "", color: str = "", **changes: Any
    ) -> "Variant":
        """A variant that differs from this one in some settings: these are the experiment."""
        known = [one.name for one in dataclasses.fields(self)]
        for setting in changes:
            if setting not in known:
                raise unknown_name(f"setting of variant '{name}'", setting, known)
        changed = ", ".join(f"{setting} {value}" for setting, value in changes.items())
        changes |= {"description": description or f"{self.name} with {changed}", "color": color}
        return replace(self, name=name, derived_from=self.name, **changes)

    def content(self, step: str) -> dict[str, Any]:
        """The settings that decide what a step, `search` or `train`, comes to, but the defaults."""
        return {
            one.name: value
            for one in dataclasses.fields(self)
            if one.name != "name"
            and step in one.metadata.get("steps", (step,))
            and (value := getattr(self, one.name)) != one.default
        }


def default_setting(name: str) -> Any:
    """The default of a variant's setting; None where there is none."""
    return {one.name: one.default for one in dataclasses.fields(Variant)}.get(name)


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data set of a comparison.

    Args:
        source: what `-P dataset=` takes: the name of a data set, or the path of an `.npz`.
        classes: the labels kept, numbered anew in this order; None: all.
        images_per_class: training images kept of each, also those for validation; None: all.
        val_size: images held out of the training images; at most a fifth of them.
        split_seed: decides which images are held out, and which are kept of each class.
        standardized: pixels of mean 0 and variance 1 by feature, or else from 0 to 1.

    Raises:
        InputError: if a setting is out of range.
    """

    source: str = "auto"
    classes: tuple[int, ...] | None = None
    images_per_class: int | None = field(default=None, metadata={"most": 10**9})
    val_size: int = field(default=5000, metadata={"most": 10**9})
    split_seed: int = field(default=1, metadata={"least": 0, "most": 2**32 - 1})
    standardized: bool = True

    def __post_init__(self) -> None:
        check_settings("of the data", self)
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))
            different = len(set(self.classes)) == len(self.classes) >= 2
            if not different or not all(type(one) is int and one >= 0 for one in self.classes):
                raise InputError(
                    "classes of the data",
                    expected="at least two different labels, numbers from 0",
                    received=repr(self.classes),
                    action="For example classes=(0, 1, 2, 3, 4); None keeps all.",
                )

    @property
    def selection(self) -> dict[str, Any]:
        """Which images are kept and how they are scaled, but for the defaults."""
        names = ("classes", "images_per_class", "standardized")
        return {one: value for one in names if (value := getattr(self, one)) != getattr(Data, one)}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Variants on the same data, and what is asked about them.

    Args:
        variants: what is compared; the first is the baseline that the others are timed against.
        questions: left out: whether every variant is better, faster to converge and shorter per
            epoch than the one it was derived from, or else than the first.
        side_by_side: pairs of variants that are read beside one another, whatever is asked.
        data: the data set.
        name, title, location: of its file, what the first line asks, and what `-P comparison=`
            takes to find it again; `files.load` fills them in.

    Raises:
        InputError: if two variants or questions are the same, or a question is about none of them,
            or about MC Dropout in one without dropout.
    """

    variants: Sequence[Variant]
    questions: Sequence[Question] | None = None
    side_by_side: Sequence[tuple[str, str]] = ()
    data: Data = Data()
    name: str = ""
    title: str = ""
    location: str = ""

    def __post_init__(self) -> None:
        check_all("variants", self.variants, Variant)
        names = [variant.name for variant in self.variants]
        check_different("variants", names)
        colors = in_order([variant.color for variant in self.variants])
        colored = (replace(one, color=next(colors)) for one in self.variants)
        object.__setattr__(self, "variants", tuple(colored))
        if self.questions is None:
            object.__setattr__(self, "questions", tuple(self._implied()))
        check_all("questions", self.questions or (), Question, least=0)
        for name in (name for pair in self.side_by_side for name in pair):
            if name not in names:
                raise unknown_name("variant of side_by_side", name, names)
        for question in self.asked:
            for asked in (question.variant, question.reference):
                if asked not in names:
                    raise unknown_name(f"variant of the question '{question.text}'", asked, names)
            if question.metric == "mc_gain":
                self._check_dropout(question)
        check_different("questions", [question.id for question in self.asked])

    def _check_dropout(self, question: Question) -> None:
        if any(one.name == question.variant and not one.dropout for one in self.variants):
            raise InputError(
                f"metric of a question about '{question.variant}'",
                expected="mc_gain of a variant with dropout",
                received="one without",
                action="Ask about a variant with dropout, or by another metric.",
            )

    def _implied(self) -> Iterator[Question]:
        """The questions of a comparison that asks none."""
        names = [variant.name for variant in self.variants]
        for variant in self.variants[1:]:
            reference = variant.derived_from if variant.derived_from in names else names[0]
            for metric in IMPLIED:
                yield Question(variant=variant.name, reference=reference, metric=metric)

    @property
    def baseline(self) -> str:
        """The name of the variant that the others are timed against by default."""
        return self.variants[0].name

    @property
    def asked(self) -> Sequence[Question]:
        """Its questions."""
        return self.questions or ()
