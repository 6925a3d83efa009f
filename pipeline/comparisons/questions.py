"""What can be asked about two variants: the metrics, and the questions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pipeline.base import InputError, unknown_name

CLAIMS = ("better", "worse", "equal")  # what the verdict may be said to be


class Metric(NamedTuple):
    """What a question can ask about.

    Ratios are of the variant's value to the reference's; a margin of 0.1 then is a tenth.
    """

    topic: str
    better: int  # the sign of the effect, variant against reference, that is good
    is_ratio: bool  # whether variants are compared by the ratio of their values, or the difference
    role: Literal["primary", "secondary"]
    margin: float  # what is too small to matter, unless a question says otherwise
    text: str  # how it is asked


METRICS: Mapping[str, Metric] = {
    "test_accuracy": Metric(
        "quality", 1, False, "primary", 0.01, "Does `{0}` give a better model than `{1}`?"
    ),
    "generalization_gap": Metric(
        "overfitting", -1, False, "secondary", 0.005, "Does `{0}` overfit less than `{1}`?"
    ),
    "epochs_to_target": Metric(
        "convergence", -1, True, "secondary", 0.1, "Does `{0}` converge faster than `{1}`?"
    ),
    "median_epoch_seconds": Metric(
        "speed", -1, True, "secondary", 0.05, "Is an epoch of `{0}` shorter than one of `{1}`?"
    ),
    "train_seconds": Metric(
        "duration", -1, True, "secondary", 0.1, "Is a training of `{0}` shorter than of `{1}`?"
    ),
    "inference_microseconds": Metric(
        "inference", -1, True, "secondary", 0.1, "Does `{0}` predict faster than `{1}`?"
    ),
    "zero_weights": Metric(
        "sparsity", 1, False, "secondary", 0.1, "Has `{0}` more weights that are 0 than `{1}`?"
    ),
    "dead_units": Metric(
        "dead_units", -1, False, "secondary", 0.02, "Has `{0}` fewer dead units than `{1}`?"
    ),
    "distinct_units": Metric(
        "distinct_units",
        1,
        False,
        "secondary",
        1.0,
        "Has every layer of `{0}` more units that differ than of `{1}`?",
    ),
    "highest_first_loss": Metric(
        "overshooting",
        -1,
        True,
        "secondary",
        0.1,
        "Is the highest loss of the first epoch lower in `{0}` than in `{1}`?",
    ),
    "mc_gain": Metric(
        "mc", 1, False, "secondary", 0.005, "Does MC Dropout make `{0}` more accurate?"
    ),
}
TIMES = ("median_epoch_seconds", "train_seconds", "inference_microseconds")
IMPLIED = ("test_accuracy", "epochs_to_target", "median_epoch_seconds")  # where nothing is asked


@dataclass(frozen=True, kw_only=True)
class Question:
    """A planned comparison of two variants, or of a variant with itself under MC Dropout.

    Args:
        variant: the name of the variant that the question is about.
        reference: what it is compared with; of `mc_gain` the variant itself.
        metric: what is compared, one of `METRICS`; `generalization_gap` is training accuracy less
            test accuracy, `mc_gain` MC Dropout's test accuracy less the plain one.
        margin: an effect too small to matter, in the metric's own unit (accuracies are fractions;
            of a ratio, its distance from 1); 0: any matters; left out, the metric's own.
        role: ``primary``: seeds are added until it is decided, and all primary questions of a
            comparison share one error rate; ``secondary``: those share another; ``described``: it
            is answered by figures, without a verdict. Left out, quality is primary.
        text: the question as a person asks it; left out, it follows from the others.
        claimed: what is commonly said the verdict to be; empty: nothing is.
        claim: that in a sentence.

    Raises:
        InputError: if a metric or role is unknown, the margin is below 0, or a variant is compared
            with itself by another metric than `mc_gain`.
    """

    variant: str
    reference: str
    metric: str
    margin: float | None = None
    role: Literal["", "primary", "secondary", "described"] = ""
    text: str = ""
    claimed: Literal["", "better", "worse", "equal"] = ""
    claim: str = ""

    def __post_init__(self) -> None:
        about = f"of a question about '{self.variant}'"
        if str(self.metric) not in METRICS:
            raise unknown_name(f"metric {about}", str(self.metric), METRICS)
        metric = METRICS[self.metric]
        role = self.role or metric.role
        if role not in (roles := ("primary", "secondary", "described")):
            raise unknown_name(f"role {about}", str(role), roles)
        if self.claimed not in ("", *CLAIMS):
            raise unknown_name(f"claimed {about}", str(self.claimed), CLAIMS)
        margin = metric.margin if self.margin is None else self.margin
        if not (isinstance(margin, int | float) and 0 <= margin < float("inf")):
            raise InputError(
                f"margin {about}",
                expected="a number of at least 0, in the unit of its metric",
                received=repr(self.margin),
                action="0.01 of test_accuracy is one point; 0 lets any difference matter.",
            )
        if (self.variant == self.reference) != (self.metric == "mc_gain"):
            raise InputError(
                f"reference {about}",
                expected="the variant itself for mc_gain, else another variant",
                received=f"{self.reference!r} for {self.metric}",
                action="Name the variant that it is to be compared with.",
            )
        text = self.text or metric.text.format(self.variant, self.reference)
        for name, value in {"margin": margin, "role": role, "text": text}.items():
            object.__setattr__(self, name, value)

    @property
    def is_of_times(self) -> bool:
        """Whether runs are compared with those of the other that are close in time."""
        return self.metric in TIMES

    @property
    def about(self) -> Metric:
        """What its metric is."""
        return METRICS[self.metric]

    @property
    def smallest(self) -> float:
        """The smallest effect that matters: of a ratio, as the logarithm."""
        margin = self.margin or 0.0
        return math.log1p(margin) if self.about.is_ratio else margin

    @property
    def id(self) -> str:
        """Its name in tables."""
        other = "" if self.reference == self.variant else f"_over_{self.reference}"
        return f"{self.variant}_{self.about.topic}{other}"


def ask(
    *rows: Sequence[str],
    margins: Mapping[str, float] | None = None,
    role: Literal["", "primary", "secondary", "described"] = "",
) -> tuple[Question, ...]:
    """Questions, a row each: about which variant, against which, by which metric, in words.

    Args:
        rows: of these four; where something is commonly said, `claimed` and `claim` follow.
        margins: by metric, other ones than the metrics' own.
        role: of all of them; left out, that of their metrics.
    """
    columns = ("variant", "reference", "metric", "text", "claimed", "claim")
    named: list[dict[str, Any]] = [dict(zip(columns, row, strict=False)) for row in rows]
    margins = margins or {}
    return tuple(Question(**row, margin=margins.get(row["metric"]), role=role) for row in named)
