"""What a comparison is made of: data, variants and questions; what differs is the experiment."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipeline.base import InputError, unknown_name
from pipeline.comparisons.checks import check_all, check_different, check_settings
from pipeline.comparisons.colors import in_order
from pipeline.comparisons.questions import IMPLIED, Question
from pipeline.comparisons.variants import Variant

# Figures of a report that only some questions need, drawn from what every training logs.
FIGURES = ("layers", "first_losses", "sparsity", "inference")


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data set of a comparison.

    Args:
        source: what `-P dataset=` takes: the name of a data set, or the path of an `.npz`.
        classes: the labels kept, numbered anew in this order; None: all.
        skipped_per_class: how many training images of each class are left out, so that another
            comparison can use them.
        images_per_class: how many images of each class are trained with; None: all that are left.
        val_size: how many of the training images are held out to validate with, at most a fifth.
        val_images_per_class: how many of each class are held out instead; None: `val_size` images,
            in the proportions of the classes.
        split: ``stratified``: images are drawn class by class, in an order that `split_seed`
            decides. ``position``: in that of the data set; `val_size` then holds out the last ones,
            whichever class they are of.
        split_seed: decides which images are held out, and which are kept of each class.
        standardized: whether pixels have mean 0 and variance 1 over the training images; else they
            are scaled from 0 to 1.
        pairs: whether the network is to tell if two images are of the same class. Training draws
            new pairs in every epoch; validation and test have as many fixed pairs as images.

    Raises:
        InputError: if a setting is out of range.
    """

    source: str = "auto"
    classes: tuple[int, ...] | None = None
    skipped_per_class: int = field(default=0, metadata={"least": 0, "most": 10**9})
    images_per_class: int | None = field(default=None, metadata={"most": 10**9})
    val_size: int = field(default=5000, metadata={"most": 10**9})
    val_images_per_class: int | None = field(default=None, metadata={"most": 10**9})
    split: Literal["stratified", "position"] = "stratified"
    split_seed: int = field(default=1, metadata={"least": 0, "most": 2**32 - 1})
    standardized: bool = True
    pairs: bool = False

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

    def check_arms(self, variant: Variant) -> None:
        """Refuse a variant with two arms for single images, or with one for pairs."""
        if (variant.arms != "one") != self.pairs:
            two, one = "two or shared, as its data are pairs", "one, as its data are no pairs"
            raise InputError(
                f"arms of variant '{variant.name}'",
                expected=two if self.pairs else one,
                received=repr(variant.arms),
                action="Change the variant, or pairs of the comparison's Data.",
            )

    @property
    def selection(self) -> dict[str, Any]:
        """Which images are kept, how they are held out, scaled and paired, but for the defaults."""
        others = ("source", "val_size", "split_seed")  # which can be given on the command line
        return {
            one.name: value
            for one in dataclasses.fields(self)
            if one.name not in others and (value := getattr(self, one.name)) != one.default
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Variants on the same data, and what is asked about them.

    Args:
        variants: what is compared; the first is the baseline that the others are timed against.
        questions: left out: whether every variant is better, faster to converge and shorter per
            epoch than the one it was derived from, or else than the first.
        side_by_side: pairs of variants that are read beside one another, whatever is asked.
        figures: of `FIGURES`, those that the questions need besides what every report has.
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
    figures: Sequence[str] = ()
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
            object.__setattr__(self, "questions", tuple(self._implied(self.variants[1:])))
        check_all("questions", self.questions or (), Question, least=0)
        for name in (name for pair in self.side_by_side for name in pair):
            if name not in names:
                raise unknown_name("variant of side_by_side", name, names)
        for figure in self.figures:
            if figure not in FIGURES:
                raise unknown_name("figure of a comparison", str(figure), FIGURES)
        for question in self.asked:
            for asked in (question.variant, question.reference):
                if asked not in names:
                    raise unknown_name(f"variant of the question '{question.text}'", asked, names)
            if question.metric == "mc_gain":
                self._check_dropout(question)
        check_different("questions", [question.id for question in self.asked])
        for variant in self.variants:
            self.data.check_arms(variant)

    def _check_dropout(self, question: Question) -> None:
        if any(one.name == question.variant and not one.dropout for one in self.variants):
            raise InputError(
                f"metric of a question about '{question.variant}'",
                expected="mc_gain of a variant with dropout",
                received="one without",
                action="Ask about a variant with dropout, or by another metric.",
            )

    def _implied(self, variants: Sequence[Variant]) -> Iterator[Question]:
        """The questions about variants of which none are asked."""
        names = [variant.name for variant in self.variants]
        for variant in variants:
            reference = variant.derived_from if variant.derived_from in names else names[0]
            for metric in IMPLIED:
                yield Question(variant=variant.name, reference=reference, metric=metric)

    def including(
        self, *variants: Variant, questions: Sequence[Question] | None = None
    ) -> "Comparison":
        """This comparison with other variants besides, and questions about them.

        Args:
            variants: to add.
            questions: to add; left out: as of a comparison, about these variants.

        Raises:
            InputError: as a comparison does.
        """
        larger = replace(self, variants=(*self.variants, *variants))
        added = larger._implied(variants) if questions is None else questions
        return replace(larger, questions=(*larger.asked, *added))

    @property
    def baseline(self) -> str:
        """The name of the variant that the others are timed against by default."""
        return self.variants[0].name

    @property
    def asked(self) -> Sequence[Question]:
        """Its questions."""
        return self.questions or ()
