"""An Optuna study of a learning rate: what it is asked for, where it is kept, what it tries."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from pipeline.base import InputError
from pipeline.base.rounding import three_digits
from pipeline.comparisons import Variant
from pipeline.parameters import Searching
from pipeline.work.rate_curve import RateCurve, Tried, curve_through, lowest_of

N_SPREAD = 5
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
DIVERGED = "diverged"  # a trial's attribute: with what it diverged
MEASURE = "Validation loss (nats per image)"
NOTE, NOTE_VERSION = "dashboard:note_str:0", "dashboard:note_ver"  # where optuna-dashboard has it
NOTE_LENGTH = 2045  # characters, of a part


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What a study is asked for: by the parameters of the search, and by its variant."""

    variant: Variant
    asked: Searching

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of learning rates that is asked for."""
        return self.asked.learning_rate_min, self.asked.learning_rate_max

    def judged_epoch(self, losses: Sequence[float]) -> int:
        """The epoch, from 1, that a trial with these validation losses is judged by.

        That is the one with the lowest, whose weights early stopping keeps, of those by which a
        training of so many epochs may be judged; where the variant never stops early, the last.
        """
        if self.variant.patience is None:
            return len(losses)
        first = min(self.variant.first_judged(self.variant.search_epochs), len(losses))
        return first + losses[first - 1 :].index(min(losses[first - 1 :]))

    @property
    def extra_trials(self) -> int:
        """Trials added where the range is widened."""
        return max(2, self.asked.n_trials // 3)

    @property
    def first_judged(self) -> int:
        """The first epoch after which a trial that is not far behind may be pruned.

        Good rates differ by less than the noise of the first epoch, and a schedule's validation
        loss says little before its rate comes down.
        """
        scheduled = self.variant.schedule == "one_cycle"
        epochs = self.variant.search_epochs
        return math.ceil(0.9 * epochs) if scheduled else max(2, epochs // 5)

    @property
    def first_look(self) -> int:
        """The first epoch after which a trial may be pruned at all, a tenth of all.

        A variant with few mini-batches in an epoch is searched with more epochs: after some
        mini-batches, rates that are too high are ahead.
        """
        return max(1, self.variant.search_epochs // 10)

    @property
    def early_tolerance(self) -> float:
        """How far behind the best one a trial may be before that, as a fraction of its loss.

        On CIFAR-10, rates of elu, bn and selu that end within 2% of the best begin within 5%.
        """
        return 0.1 if self.variant.schedule == "one_cycle" else 0.05


@dataclass(frozen=True)
class FarBehindPruner(optuna.pruners.BasePruner):
    """Prunes a trial that is far behind the best one, from its first epochs on.

    Rates that are orders of magnitude off show it at once, where good ones differ by less than the
    noise of their first epochs: those are left to another pruner. A tolerance is how far the lowest
    value so far may lie above the best trial's at the same epoch, as a fraction of that.
    """

    otherwise: optuna.pruners.BasePruner
    first_judged: int  # the first epoch whose noise is small
    early_tolerance: float  # before that epoch
    tolerance: float = 0.01  # from it on
    first_look: int = 1  # the first epoch that says anything

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        epoch = trial.last_step
        if epoch is None or epoch < self.first_look:
            return False
        # The losses of a rate that is too high may fall fastest before they rise.
        others = [
            one
            for one in study.get_trials(deepcopy=False)
            if one.number != trial.number and DIVERGED not in one.user_attrs
        ]
        best = min((_lowest(one, epoch) for one in others), default=math.inf)
        tolerance = self.early_tolerance if epoch < self.first_judged else self.tolerance
        too_far = _lowest(trial, epoch) > (1 + tolerance) * best
        return too_far or self.otherwise.prune(study, trial)


def _lowest(trial: FrozenTrial, epoch: float = math.inf) -> float:
    """The lowest value that a trial has reported, up to an epoch."""
    values = [value for step, value in trial.intermediate_values.items() if step <= epoch]
    return min(values, default=math.inf)


def create_study(
    name: str, settings: StudySettings, storage: optuna.storages.BaseStorage
) -> optuna.Study:
    """Create a study, or open the one of that name; its first trials are spread over the range."""
    first = settings.first_judged
    otherwise = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=first)
    tolerance = settings.early_tolerance
    pruner = FarBehindPruner(otherwise, first, tolerance, first_look=settings.first_look)
    study = optuna.create_study(
        storage=storage, pruner=pruner, study_name=name, load_if_exists=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # its version is pinned
        study.set_metric_names([MEASURE])
    for rate in spread_rates(*settings.bounds)[: settings.asked.n_trials]:
        study.enqueue_trial({"learning_rate": rate}, skip_if_exists=True)
    return study


def set_note(study: optuna.Study, markdown: str) -> None:
    """Set the note that optuna-dashboard shows of a study; one that a person has edited stays."""
    storage, number = study._storage, study._study_id
    if storage.get_study_system_attrs(number).get(NOTE_VERSION, 0) < 2:  # it counts edits
        storage.set_study_system_attr(number, NOTE, markdown[:NOTE_LENGTH])
        storage.set_study_system_attr(number, NOTE_VERSION, 1)


def spread_rates(low: float, high: float) -> list[float]:
    """Rates spread evenly over a range on the log scale, from its middle outwards.

    Chance leaves gaps when it draws few trials; TPE refines around the best of these.
    """
    fractions = [(index + 0.5) / N_SPREAD for index in range(N_SPREAD)]
    fractions.sort(key=lambda fraction: abs(fraction - 0.5))
    return [_rounded(low * (high / low) ** fraction, low, high) for fraction in fractions]


def _rounded(rate: float, low: float, high: float) -> float:
    """A rate as it is shown, so that what was tried can be given again; within its range."""
    return min(max(three_digits(rate), low), high)


class RateSampler(optuna.samplers.TPESampler):
    """TPE, whose rates are rounded."""

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        drawn = super().sample_relative(study, trial, search_space)
        return {name: _within(search_space[name], rate) for name, rate in drawn.items()}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, among: BaseDistribution
    ) -> float:
        return _within(among, super().sample_independent(study, trial, name, among))


def _within(among: BaseDistribution, rate: float) -> float:
    assert isinstance(among, FloatDistribution)
    return _rounded(rate, among.low, among.high)


def next_trial(study: optuna.Study, seed: int) -> optuna.Trial:
    """The trial to go on with, or else a new one."""
    if trial := open_trial(study):
        return trial
    ended = len(ended_trials(study))
    # A seed for every trial: a search that goes on draws what it would have drawn.
    own_seed = int(np.random.SeedSequence([seed, ended]).generate_state(1)[0])
    study.sampler = RateSampler(seed=own_seed, n_startup_trials=N_SPREAD)
    return study.ask()


def ended_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that came to their end, or were pruned, or diverged."""
    return study.get_trials(deepcopy=False, states=ENDED)


def open_trial(study: optuna.Study) -> optuna.Trial | None:
    """The trial to go on with, or None where another is to begin; nobody else runs this study.

    The enqueued ones are all begun, for an epoch each, before the best of them goes on: against it
    the others are judged, and no epoch is spent on one that it leaves far behind. A trial that was
    cut off is the one that goes on.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    cut_off = [one for one in running if not one.intermediate_values]
    if not cut_off and study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        return None
    best = min(cut_off or running, key=_lowest, default=None)
    return optuna.Trial(study, best._trial_id) if best else None


def rate_curve(study: optuna.Study, settings: StudySettings, first: int | None = None) -> RateCurve:
    """The curve through the trials of a study, or through its first ones.

    Where none of them finished it is the lowest rate that did not diverge, or else the lowest, if
    its variant may diverge: that is an answer, too.

    Raises:
        InputError: if none of them finished: the rates of the range diverge.
    """
    tried = [_tried(one, settings) for one in ended_trials(study)[:first]]
    if not any(one.completed for one in tried):
        if settings.variant.may_diverge:
            return lowest_of(tried)
        low, high = settings.bounds
        raise InputError(
            "learning_rate_min and learning_rate_max",
            expected="a range in which training converges for at least one rate",
            received=f"{low:g} to {high:g}: none of {len(tried)} trials came to its end, "
            f"{sum(one.diverged for one in tried)} diverged",
            action="Lower both ends.",
        )
    return curve_through(tried)


def _tried(trial: FrozenTrial, settings: StudySettings) -> Tried:
    losses = [loss for _, loss in sorted(trial.intermediate_values.items())]
    so_far = (losses[:epoch] for epoch in range(1, len(losses) + 1))
    return Tried(
        rate=trial.params["learning_rate"],
        losses=[one[settings.judged_epoch(one) - 1] for one in so_far],
        completed=trial.state == TrialState.COMPLETE,
        diverged=DIVERGED in trial.user_attrs,
    )


def widened(bounds: tuple[float, float], rate: float) -> tuple[float, float]:
    """The range to search on: tenfold at an edge that the chosen rate lies at, else unchanged.

    A rate lies at an edge when it is within a twentieth of the range, on the log scale.
    """
    low, high = bounds
    margin = (high / low) ** (1 / 20)
    if rate > high / margin:
        return low, high * 10
    if rate < low * margin:
        return low / 10, high
    return bounds


def rates_beyond(
    bounds: tuple[float, float], wider: tuple[float, float], number: int
) -> list[float]:
    """Rates spread evenly over what a range was widened by, on the log scale, its end among them.

    So it is seen whether a rate beyond that may be better still.
    """
    edge, end = (bounds[1], wider[1]) if wider[1] > bounds[1] else (bounds[0], wider[0])
    shares = (place / number for place in range(1, number + 1))
    return [_rounded(edge * (end / edge) ** share, *wider) for share in shares]
