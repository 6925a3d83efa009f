"""The steps of a comparison's variants, each after those that it needs the results of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pipeline.base import InputError
from pipeline.comparisons import Comparison, Data, Variant
from pipeline.comparisons.files import DEFAULT, find_variant, named_by, searched_for, source_of
from pipeline.parameters import DataSet, Main, Search, Train, declared
from pipeline.work.prepare import prepared
from pipeline.work.search import SearchStep
from pipeline.work.train import TrainStep
from pipeline.work.variant_step import LoggedData, logged_splits

DataSets: TypeAlias = Mapping[Data, LoggedData]  # by what is declared and asked for


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Makes the steps of a comparison's variants.

    Args:
        asked: the parameters of the steps, also of those of the variants that others start from.
        comparison: that declares the variants.
        data: the data set of the comparison, and those of the comparisons of their sources.
    """

    asked: Main | Train | Search
    comparison: Comparison
    data: DataSets

    def search(self, variant: Variant) -> SearchStep:
        """The search of the learning rate of a variant, or of the one whose rate it has.

        Its trials start from the source with the lowest seed there is. That is 1, unless this is
        the seed of the search, which no training may have.
        """
        if variant.learning_rate_of:
            other, place = searched_for(variant, self.comparison)
            return self._at(place).search(self.asked.configured(other, strict=False))
        first = 2 if self.asked.search_seed == 1 else 1
        return SearchStep(**self._of(variant, first))

    def training(self, variant: Variant, seed: int) -> TrainStep:
        """The training of a variant with a seed; it starts from its source with the same seed."""
        has_rate = variant.learning_rate is not None or variant.epochs == 0
        search = None if has_rate else self.search(variant)
        return TrainStep(**self._of(variant, seed), seed=seed, search=search)

    def _of(self, variant: Variant, seed: int) -> dict[str, Any]:
        data = self.data[self.asked.data_of(self.comparison)]
        about = {"variant": variant, "data": data, "asked": self.asked}
        if not variant.starts_from:
            return about
        source, place = source_of(variant, self.comparison)
        asked = self.asked
        if isinstance(asked, Search):  # the source is trained, too
            shared = {name: getattr(asked, name) for name in declared(Train).keys() & vars(asked)}
            asked = Train(**{**shared, "seed": seed})
        graph = replace(self, asked=asked)._at(place)
        training = graph.training(asked.configured(source, strict=False), seed)
        if variant.reused_output:
            _check_classes(variant, data, training.data)
        return {**about, "source": training}

    def _at(self, place: Comparison) -> "Graph":
        """The same for a comparison that declares what a variant of this one names."""
        asked = self.asked if place == self.comparison else _in(self.asked, place)
        return replace(self, asked=asked, comparison=place)


def comparisons_of(comparison: Comparison, variants: Iterable[Variant]) -> list[Comparison]:
    """A comparison, and those that declare what its variants start from, or have the rate of."""
    found = [comparison]
    waiting = [(variant, comparison) for variant in variants]
    for variant, place in waiting:
        waiting += named_by(variant, place).values()
        found += [place] if place not in found else []
    return found


def data_sets(
    asked: DataSet, comparison: Comparison, variants: Iterable[Variant], reuse: str = "auto"
) -> dict[Data, LoggedData]:
    """The data of variants and of their sources, prepared now where no run has done so.

    Raises:
        InputError: as `prepared`.
    """
    found: dict[Data, LoggedData] = {}
    for one in comparisons_of(comparison, variants):
        data = asked.data_of(one)
        if data not in found:
            found[data] = prepared(_in(asked, one), one, reuse)
    return found


def _in(asked: Any, place: Comparison) -> Any:
    """The same parameters for another comparison, which a command has to name unless it is known.

    So what a run says of how to make it again finds its variant.
    """
    is_named = place.location in (DEFAULT, asked.comparison)
    return asked if is_named else replace(asked, comparison=place.location)


def graph_of(asked: Train | Search) -> tuple[Graph, Variant]:
    """The steps of one variant, and the variant with the settings that are given.

    Raises:
        InputError: if the variant is unknown, has a learning rate and is to be searched, or a
            setting does not go with it; or as `prepared`.
    """
    found, comparison = find_variant(asked.variant, asked.comparison)
    variant = asked.configured(found)
    if isinstance(asked, Search):
        _check_searched(variant, comparison)
    data = data_sets(asked, comparison, [variant])
    return Graph(asked=asked, comparison=comparison, data=data), variant


def _check_classes(variant: Variant, data: LoggedData, of_source: LoggedData) -> None:
    """Refuse an output layer of other classes, where both data sets are prepared."""
    if data.fingerprint == of_source.fingerprint or not (data.run_id and of_source.run_id):
        return
    own, theirs = (
        logged_splits(one.run_id, one.fingerprint).n_classes for one in (data, of_source)
    )
    if own != theirs:
        raise InputError(
            f"reused_output of variant '{variant.name}'",
            expected=f"False, as its source tells {theirs} classes apart",
            received=f"True, with {own} classes",
            action="Reuse its hidden layers alone, or change the classes of the data.",
        )


def _check_searched(variant: Variant, comparison: Comparison) -> None:
    """Refuse to search a learning rate that no training would have."""
    if variant.learning_rate is None and not variant.learning_rate_of and variant.epochs:
        return
    rate, action = f"learning_rate={variant.learning_rate}", "Its training needs no search."
    if variant.learning_rate_of:
        other = searched_for(variant, comparison)[0].name
        rate, action = f"the rate of '{other}'", f"Search that: -P variant={other}"
    elif not variant.epochs:
        rate = "epochs=0"
    raise InputError(
        "variant",
        expected="one whose learning rate is searched",
        received=f"'{variant.name}', which has {rate}",
        action=action,
    )
