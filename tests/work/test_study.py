"""Studies: their storage, and when their range is widened."""

import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from pipeline.base import InputError
from pipeline.comparisons import Variant
from pipeline.comparisons.twenty_layers import ELU, ONE_CYCLE
from pipeline.parameters import Search as Asked
from pipeline.parameters.storage import check_storage
from pipeline.work.storage import create_storage
from pipeline.work.study import (
    DIVERGED,
    FarBehindPruner,
    StudySettings,
    create_study,
    next_trial,
    open_trial,
    rate_curve,
    rates_beyond,
    set_note,
    widened,
)

WORKERS, TRIALS = 4, 10
RATES = FloatDistribution(1e-5, 1e-1, log=True)
_start: Barrier


def test_extra_trials_are_a_third_but_at_least_two() -> None:
    extra = {
        count: StudySettings(variant=ELU, asked=Asked(variant="elu", n_trials=count)).extra_trials
        for count in (1, 6, 8, 9, 12)
    }
    assert extra == {1: 2, 6: 2, 8: 2, 9: 3, 12: 4}


@pytest.mark.parametrize(
    ("variant", "epochs", "judged", "tolerance"),
    [(ELU, 10, 2, 0.05), (ONE_CYCLE, 5, 5, 0.1), (ONE_CYCLE, 20, 18, 0.1)],
)
def test_under_a_schedule_trials_are_judged_late_and_mildly(
    variant: Variant, epochs: int, judged: int, tolerance: float
) -> None:
    asked = Asked(variant=variant.name, search_epochs=epochs)
    settings = StudySettings(variant=asked.configured(variant), asked=asked)
    assert (settings.first_judged, settings.early_tolerance) == (judged, tolerance)


SETTINGS = StudySettings(variant=ELU, asked=Asked(variant="elu"))


def _study(*values: tuple[float, float | None]) -> optuna.Study:
    """A study whose trials had these rates and values after one epoch; None: pruned."""
    study = optuna.create_study()
    distribution = FloatDistribution(1e-9, 1e9, log=True)
    for rate, value in values:
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        study.add_trial(
            optuna.create_trial(
                params={"learning_rate": rate},
                distributions={"learning_rate": distribution},
                value=value,
                intermediate_values={1: 9.0 if value is None else value},
                state=state,
            )
        )
    return study


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (1e-3, (1e-5, 1e-1)),
        (9e-2, (1e-5, 1.0)),
        (1.1e-5, (1e-6, 1e-1)),
        (3e-2, (1e-5, 1e-1)),
    ],
)
def test_range_is_widened_only_at_an_edge(rate: float, expected: tuple[float, float]) -> None:
    assert widened((1e-5, 1e-1), rate) == pytest.approx(expected)


def test_the_rates_beyond_an_edge_are_spread_as_far_as_the_new_one() -> None:
    assert rates_beyond((1e-5, 0.1), (1e-5, 1.0), 4) == [0.178, 0.316, 0.562, 1.0]
    assert rates_beyond((1e-5, 0.1), (1e-6, 0.1), 2) == [3.16e-6, 1e-6]


def test_the_range_is_widened_where_all_trials_say_so_and_not_where_the_best_one_does() -> None:
    falling = ((1e-3, 2.0), (1e-2, 1.8), (3e-2, 1.5), (9e-2, 1.4))
    assert rate_curve(_study(*falling), SETTINGS).chosen == 9e-2
    lucky = ((1e-4, 1.6), (1e-3, 1.4), (1e-2, 1.41), (7e-2, 1.39), (9.5e-2, 1.9))
    assert 1e-3 < rate_curve(_study(*lucky), SETTINGS).chosen < 6e-2


def test_trials_in_the_wider_range_do_not_decide_about_widening() -> None:
    study = _study((1e-4, 2.0), (9e-2, 1.0), (1e-3, 0.5))
    assert rate_curve(study, SETTINGS, first=2).chosen == 9e-2
    assert rate_curve(study, SETTINGS).chosen < 6e-2


def test_no_finished_trial_is_an_error_that_names_the_range() -> None:
    message = r"1e-05 to 0.1: none of 2 trials came to its end, 0 diverged"
    with pytest.raises(InputError, match=message):
        rate_curve(_study((2.0, None), (5.0, None)), SETTINGS)


@pytest.mark.parametrize(("variant", "rate"), [(ELU, 1e-3), (ONE_CYCLE, 1e-2)])
def test_trials_are_compared_at_the_same_epoch_by_what_a_training_keeps(
    variant: Variant, rate: float
) -> None:
    study = optuna.create_study()
    for one, losses in ((1e-3, (1.0, 2.0)), (1e-2, (1.5, 1.4))):  # the first has overfitted
        trial = study.ask({"learning_rate": FloatDistribution(one, one)})
        for epoch, loss in enumerate(losses, start=1):
            trial.report(loss, epoch)
        study.tell(trial, 1.0)
    settings = StudySettings(variant=variant, asked=Asked(variant=variant.name))
    assert rate_curve(study, settings).chosen == rate


def test_a_trial_that_waits_or_diverged_before_its_first_epoch_ends_no_search() -> None:
    study = _study((1e-4, 2.0), (1e-3, 1.0), (1e-2, 2.0))
    study.enqueue_trial({"learning_rate": 0.5})
    study.add_trial(
        optuna.create_trial(
            state=TrialState.PRUNED,
            params={"learning_rate": 0.1},
            distributions={"learning_rate": RATES},
            user_attrs={DIVERGED: "loss became nan in epoch 1"},
        )
    )
    found = rate_curve(study, SETTINGS)
    assert found.chosen == pytest.approx(1e-3, rel=0.1)
    assert found.expected == pytest.approx([2.0, 1.0, 2.0, math.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("values", "pruned"),
    [
        ([2.21], True),
        ([2.19], False),
        ([1.9, 2.4], False),  # the lowest so far counts
        ([2.1, 1.94], True),  # against the best at the second epoch
        ([2.1, 1.92], False),
        ([2.1, 1.92, 1.52], True),  # from the third epoch on, 1% is far
        ([2.1, 1.92, 1.51], False),
    ],
)
def test_a_trial_a_tenth_behind_the_best_at_its_epoch_is_pruned(
    values: list[float], pruned: bool
) -> None:
    pruner = FarBehindPruner(optuna.pruners.NopPruner(), first_judged=3, early_tolerance=0.1)
    study = optuna.create_study(pruner=pruner)
    for curve in ([2.0, 1.8, 1.5], [2.3, 1.75]):
        earlier = study.ask({"learning_rate": RATES})
        for epoch, value in enumerate(curve, start=1):
            earlier.report(value, epoch)
        study.tell(earlier, curve[-1])
    trial = study.ask({"learning_rate": RATES})
    for epoch, value in enumerate(values, start=1):
        trial.report(value, epoch)
    assert trial.should_prune() == pruned


@pytest.mark.parametrize(
    ("search_epochs", "first", "judged"), [(2, 1, 2), (10, 1, 2), (100, 10, 20)]
)
def test_with_more_epochs_trials_are_looked_at_later(
    search_epochs: int, first: int, judged: int
) -> None:
    asked = Asked(variant="elu", search_epochs=search_epochs)
    settings = StudySettings(variant=asked.configured(ELU), asked=asked)
    assert (settings.first_look, settings.first_judged) == (first, judged)
    study = create_study("looked at", settings, optuna.storages.InMemoryStorage())
    best = study.ask({"learning_rate": RATES})
    for epoch in range(1, first + 1):
        best.report(1.0, epoch)
    behind = study.ask({"learning_rate": RATES})
    for epoch in range(1, first + 1):
        behind.report(2.0, epoch)
        assert behind.should_prune() == (epoch == first)


def test_a_trial_that_diverged_later_sets_no_mark() -> None:
    pruner = FarBehindPruner(optuna.pruners.NopPruner(), first_judged=3, early_tolerance=0.1)
    study = optuna.create_study(pruner=pruner)
    wild = study.ask({"learning_rate": RATES})
    wild.report(1.0, 1)
    wild.set_user_attr(DIVERGED, "loss became nan in epoch 2")
    study.tell(wild, state=optuna.trial.TrialState.PRUNED)
    trial = study.ask({"learning_rate": RATES})
    trial.report(2.0, 1)
    assert not trial.should_prune()


def test_enqueued_trials_all_begin_before_the_best_of_them_goes_on() -> None:
    study = optuna.create_study()
    for rate in (1e-3, 1e-4, 1e-2):
        study.enqueue_trial({"learning_rate": rate})
    for value in (1.8, 1.7, 2.3):
        assert open_trial(study) is None
        begun = study.ask({"learning_rate": RATES})
        cut_off = open_trial(study)  # before its first epoch has ended
        assert cut_off is not None
        assert cut_off.number == begun.number
        begun.report(value, 1)
    for number in (1, 0, 2):
        best = open_trial(study)
        assert best is not None
        assert best.number == number
        best.report(2.2, 2)  # a worse epoch gives its place to nobody: cut off, it goes on
        assert open_trial(study)._trial_id == best._trial_id  # type: ignore[union-attr]
        study.tell(best, state=optuna.trial.TrialState.PRUNED)
    assert open_trial(study) is None


def test_a_trial_close_behind_is_left_to_the_other_pruner() -> None:
    everything = optuna.pruners.ThresholdPruner(upper=0.0)
    study = optuna.create_study(
        pruner=FarBehindPruner(everything, first_judged=3, early_tolerance=0.1)
    )
    trial = study.ask({"learning_rate": RATES})
    assert not trial.should_prune()  # nothing is reported yet
    trial.report(1.0, 1)
    assert trial.should_prune()


@pytest.mark.parametrize(
    "storage",
    [
        "sqlite:///missing/folder/optuna.db",
        "sqlite:///.",
        "sqlite:///text.db",
        "nosuch://host/optuna",
        "firebird://user@host/optuna",
    ],
)
def test_storage_that_cannot_be_opened_is_refused(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.db").write_text("no database" * 100)
    check_storage(storage)
    with pytest.raises(InputError, match="storage: expected a database that can be opened"):
        create_storage(storage)
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


@pytest.mark.parametrize(("low", "high"), [(1e-5, 1e-1), (1.2345e-4, 1.4e-4)])
def test_rates_that_are_tried_have_three_digits_or_are_an_end_of_their_range(
    low: float, high: float
) -> None:
    asked = Asked(variant="elu", learning_rate_min=low, learning_rate_max=high)
    settings = StudySettings(variant=ELU, asked=asked)
    study = create_study("rates", settings, optuna.storages.InMemoryStorage())
    for number in range(15):
        ends = (low, high) if number < 12 else (low, 10 * high)  # the range is widened
        trial = next_trial(study, 0)
        value = trial.suggest_float("learning_rate", *ends, log=True)
        study.tell(trial, abs(math.log(value / 1e-3)))
    rates = [trial.params["learning_rate"] for trial in study.trials]
    assert all(rate in (low, high, float(f"{rate:.3g}")) for rate in rates)
    assert all(low <= rate <= 10 * high for rate in rates)
    if high > 2 * low:
        assert len(set(rates)) > 12


def test_a_study_has_a_note_and_a_named_metric_and_a_person_s_note_stays() -> None:
    study = create_study("study", SETTINGS, optuna.storages.InMemoryStorage())
    assert study.metric_names == ["Validation loss (nats per image)"]
    attributes = partial(study._storage.get_study_system_attrs, study._study_id)
    for text in ("under way", "**done**", "x" * 3000):
        set_note(study, text)
        assert attributes()["dashboard:note_str:0"] == text[:2045]
    save = partial(study._storage.set_study_system_attr, study._study_id)
    save("dashboard:note_str:0", "by hand")  # as the dashboard saves one
    save("dashboard:note_ver", 2)
    set_note(study, "again")
    assert attributes()["dashboard:note_str:0"] == "by hand"


def _set_start(start: Barrier) -> None:
    global _start
    _start = start


def _search(storage: str, number: int) -> None:
    """Create a study at the same moment as the others, and run its trials."""
    _start.wait(60)
    asked = Asked(variant="elu", storage=storage, n_trials=TRIALS)
    study = create_study(
        f"study-{number}", StudySettings(variant=ELU, asked=asked), create_storage(asked.storage)
    )

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", 1e-5, 1e-1, log=True)
        for epoch in range(1, 4):
            trial.report(rate / epoch, epoch)
            trial.should_prune()
        return rate

    study.optimize(objective, n_trials=TRIALS)


@pytest.mark.slow
def test_four_workers_create_one_storage_at_the_same_moment_and_share_it(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/optuna.db"
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(WORKERS)
    with ProcessPoolExecutor(
        WORKERS, mp_context=context, initializer=_set_start, initargs=(start,)
    ) as workers:
        for done in [workers.submit(_search, storage, number) for number in range(WORKERS)]:
            done.result()
    for number in range(WORKERS):
        study = optuna.load_study(study_name=f"study-{number}", storage=storage)
        assert len(study.trials) == TRIALS
