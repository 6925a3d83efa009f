"""What a comparison is made of: data, variants and questions; what differs is the experiment."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipeline.base import InputError, unknown_name
from pipeline.comparisons.settings import check_all, check_different, check_name, check_settings

# The colour-blind safe palette of Okabe and Ito (2008).
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
LARGEST_BATCH = 65_536


def _of(*steps: str, default: Any) -> Any:
    """A setting that decides what these steps come to, and no others."""
    return field(default=default, metadata={"steps": steps})


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One architecture variant of the deep dense network, with how it is trained by default.

    Args:
        name: what it is called on the command line, in MLflow and in figures.
        description: one line for ``--help`` and notes.
        color: hex colour of its curves; left out, the comparison gives it the next of `OKABE_ITO`.
        derived_from: the variant that it was derived from.
        hidden_layers: number of hidden dense layers.
        units: units of each hidden layer.
        activation: Keras name of the activation of the hidden layers.
        kernel_initializer: Keras name of the initializer of the hidden layers.
        batch_normalization: whether batch normalisation stands between dense layer and activation.
        self_normalizing: whether the network must keep mean 0 and variance 1 through its layers
            (Klambauer et al. 2017); settings that break this are refused.
        dropout: kind of dropout, or None.
        dropout_rate: fraction of the units dropped, in [0, 1).
        dropout_layers: ``last``: before the output layer only; ``all``: after every hidden layer.
        optimizer: ``nadam``, or ``sgd`` with Nesterov momentum 0.9.
        schedule: ``constant`` learning rate, or ``one_cycle`` (Smith 2018) over all epochs.
        batch_size: images per mini-batch.
        epochs: most epochs trained.
        patience: epochs without a lower ``val_loss`` after which training stops; None: train all
            epochs and judge the model at the end.
        search_epochs: most epochs of a trial when its learning rate is searched.

    Raises:
        InputError: if a setting is unknown, out of range, or breaks self-normalisation.
    """

    name: str
    description: str = _of(default="")
    color: str = _of(default="")
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
        required: Mapping[str, tuple[object, ...]] = {
            "activation": ("selu",),
            "kernel_initializer": ("lecun_normal",),
            "batch_normalization": (False,),
            "dropout": (None, "alpha"),
        }
        for setting, allowed in required.items():
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
        """A variant that differs from this one in some settings: the difference is the experiment.

        Raises:
            InputError: if there is no such setting, or its value is refused.
        """
        known = [one.name for one in dataclasses.fields(self)]
        for setting in changes:
            if setting not in known:
                raise unknown_name(f"setting of variant '{name}'", setting, known)
        described = description or f"{self.name} with " + ", ".join(
            f"{setting} {value}" for setting, value in changes.items()
        )
        changes |= {"name": name, "description": described, "color": color}
        return replace(self, derived_from=self.name, **changes)

    def content(self, step: str) -> dict[str, Any]:
        """What a step's result is decided by: the settings that are not the defaults.

        Args:
            step: `search` or `train`.
        """
        return {
            one.name: value
            for one in dataclasses.fields(self)
            if one.name != "name"
            and step in one.metadata.get("steps", (step,))
            and (value := getattr(self, one.name)) != one.default
        }


def default_setting(name: str) -> Any:
    """The default of a variant's setting; None where there is none."""
    defaults = {one.name: one.default for one in dataclasses.fields(Variant)}
    return defaults.get(name)


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data set of a comparison.

    Args:
        source: what `-P dataset=` takes: the name of a data set, or the path of an `.npz`.
        classes: the labels kept, numbered anew in this order; None: all.
        images_per_class: training images kept of each class, those for validation among them;
            None: all.
        val_size: images held out of the training images; at most a fifth of them.
        split_seed: decides which images are held out, and which are kept of each class.
        standardized: whether the network gets pixels of mean 0 and variance 1 by feature, or
            from 0 to 1.

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


@dataclass(frozen=True, kw_only=True)
class _Metric:
    """What a question can ask about: which sign of a difference is good, and how it is asked."""

    topic: str
    better: int
    text: str


METRICS: Mapping[str, _Metric] = {
    "test_accuracy": _Metric(
        topic="quality", better=1, text="Does `{variant}` give a better model than `{reference}`?"
    ),
    "best_val_accuracy": _Metric(
        topic="quality",
        better=1,
        text="Is the validation accuracy of `{variant}` higher than that of `{reference}`?",
    ),
    "epochs_to_baseline": _Metric(
        topic="convergence", better=-1, text="Does `{variant}` converge faster than `{reference}`?"
    ),
    "median_epoch_seconds": _Metric(
        topic="speed",
        better=-1,
        text="Is an epoch of `{variant}` shorter than one of `{reference}`?",
    ),
    "mc_gain": _Metric(
        topic="mc", better=1, text="Does MC Dropout make `{variant}` more accurate?"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """A planned comparison of two variants, or of a variant with itself under MC Dropout.

    Args:
        variant: the name of the variant that the question is about.
        reference: what it is compared with; of `mc_gain` the variant itself.
        metric: what is tested, one or several of `METRICS`; `mc_gain` is MC Dropout's test accuracy
            less the plain one.
        margin: a difference too small to matter, in the metric's own unit (accuracies are
            fractions); 0: any difference matters.
        text: the question as a person asks it; left out, it follows from the others.
        describes: whether the figures are the answer, and not yes or no.

    Raises:
        InputError: if a metric is unknown, or the margin is below 0.
    """

    variant: str
    reference: str
    metric: str | tuple[str, ...]
    margin: float = 0.0
    text: str = ""
    describes: bool = False

    def __post_init__(self) -> None:
        for metric in self.metrics:
            if metric not in METRICS:
                raise unknown_name(f"metric of a question about '{self.variant}'", metric, METRICS)
        if not (isinstance(self.margin, int | float) and 0 <= self.margin < float("inf")):
            raise InputError(
                f"margin of a question about '{self.variant}'",
                expected="a number of at least 0, in the unit of its metric",
                received=repr(self.margin),
                action="0.01 of test_accuracy is one point; 0 lets any difference matter.",
            )
        if not self.text:
            text = METRICS[self.metrics[-1]].text
            filled = text.format(variant=self.variant, reference=self.reference)
            object.__setattr__(self, "text", filled)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is tested."""
        return (self.metric,) if isinstance(self.metric, str) else tuple(self.metric)

    @property
    def better(self) -> int:
        """The sign of the difference, variant less reference, that means yes."""
        return METRICS[self.metrics[0]].better

    @property
    def id(self) -> str:
        """Its name in tables."""
        other = "" if self.reference == self.variant else f"_over_{self.reference}"
        return f"{self.variant}_{METRICS[self.metrics[-1]].topic}{other}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Variants on the same data, and what is asked about them.

    Args:
        variants: what is compared; the first is the baseline that the others are timed against.
        questions: left out: whether every variant is better, faster to converge and shorter per
            epoch than the one it was derived from, or else than the first.
        data: the data set.
        name: the name of its file; `files.load` fills it in.
        title: what it asks, the first line of its file; `files.load` fills it in.
        location: what `-P comparison=` takes to find it again; `files.load` fills it in.

    Raises:
        InputError: if two variants or questions are the same, or a question is about none of them.
    """

    variants: Sequence[Variant]
    questions: Sequence[Question] | None = None
    data: Data = Data()
    name: str = ""
    title: str = ""
    location: str = ""

    def __post_init__(self) -> None:
        check_all("variants", self.variants, Variant)
        names = [variant.name for variant in self.variants]
        check_different("variants", names)
        object.__setattr__(self, "variants", tuple(_colored(self.variants)))
        if self.questions is None:
            object.__setattr__(self, "questions", tuple(_questions_of(self.variants)))
        check_all("questions", self.questions or (), Question, least=0)
        for question in self.questions or ():
            for asked in (question.variant, question.reference):
                if asked not in names:
                    raise unknown_name(f"variant of the question '{question.text}'", asked, names)
        check_different("questions", [question.id for question in self.questions or ()])

    @property
    def baseline(self) -> str:
        """The name of the variant that the others are timed against by default."""
        return self.variants[0].name

    @property
    def asked(self) -> Sequence[Question]:
        """Its questions."""
        return self.questions or ()


def _colored(variants: Sequence[Variant]) -> Iterator[Variant]:
    """The variants, each with a colour; no two share one as long as there are enough."""
    free = [color for color in OKABE_ITO if color not in {one.color for one in variants}]
    colors = itertools.chain(free, itertools.cycle(OKABE_ITO))
    return (one if one.color else replace(one, color=next(colors)) for one in variants)


def _questions_of(variants: Sequence[Variant]) -> Iterator[Question]:
    """The questions of a comparison that asks none."""
    names = [variant.name for variant in variants]
    for variant in variants[1:]:
        reference = variant.derived_from if variant.derived_from in names else names[0]
        for metric in ("test_accuracy", "epochs_to_baseline", "median_epoch_seconds"):
            yield Question(variant=variant.name, reference=reference, metric=metric)
