"""What a night finds when it is compared with the last good one: alarms, and what is said."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared_runs import evidence_of, make_run

from pipeline.answers import tables
from pipeline.answers.intervals import Floats
from pipeline.answers.night import Finding
from pipeline.comparisons import Question
from pipeline.nights.record import FILE, Night, Trained
from pipeline.nights.regressions import Regressions, regressions
from pipeline.tracking import client

NOISE = np.array([0.004, -0.004, 0.001, -0.001])
QUESTION = Question(variant="bn", reference="elu", metric="test_accuracy")
THEN = {"elu": 0.5 + NOISE, "bn": 0.54 + NOISE}


def compared(
    accuracies: Mapping[str, Floats],
    *,
    prefix: str = "then",
    question: Question = QUESTION,
    **columns: Any,
) -> str:
    """The run of a comparison, with what it logs of variants with such accuracies."""
    rows = [
        make_run(
            variant,
            seed,
            run_id=f"{prefix}-{variant}-{seed}",
            test_accuracy=accuracy,
            best_val_accuracy=accuracy,
            median_epoch_seconds=2 + seed / 100,
            **columns,
        )
        for variant, of in accuracies.items()
        for seed, accuracy in enumerate(of, start=1)
    ]
    found = evidence_of(rows, questions=[question])
    run_id = client.connect().create_run("0", run_name="comparison").info.run_id
    client.connect().log_param(run_id, "baseline", "elu")
    frames = {name: getattr(found, name) for name in ("runs", "curves")}
    frames["answers"] = tables.answers_frame(found.answers)
    for name, frame in frames.items():
        client.connect().log_text(run_id, frame.to_csv(index=False), f"{name}.csv")
    return run_id


def trained(key: str = "then", **inputs: str) -> Trained:
    known = {"code of pipeline.training.fit": "a", "version of keras": "3.15.1"}
    return Trained(replicates_key=key, run_ids=[], inputs=known | inputs)


CHANGED = trained("now", **{"version of keras": "3.15.0"})


def good(**changed: Any) -> Night:
    known = {"elu": trained(), "bn": trained()}
    night = Night(
        run_id="",
        began=0,
        comparison="twenty_layers",
        dataset="mnist_5k",
        compared=changed.get("compared") or compared(THEN),
        commit="a" * 40,
        trained=known,
    )
    return replace(night, **changed)


def tonight(
    accuracies: Mapping[str, Floats] = THEN,
    *,
    then: Night | None = None,
    elu: Trained | None = None,
    bn: Trained = CHANGED,
    **given: Any,
) -> Regressions:
    run_id = compared(accuracies, prefix="now", **given)
    return regressions(then or good(), run_id, {"elu": elu or trained(), "bn": bn})


def alarms(found: Regressions) -> list[Finding]:
    return [one for one in found.findings if one.is_alarm]


pytestmark = pytest.mark.usefixtures("store")


def test_a_variant_that_became_worse_is_an_alarm_with_figures_and_the_cause() -> None:
    found = tonight(THEN | {"bn": 0.505 + NOISE[::-1]})
    first, *others = found.findings
    assert first.text.startswith("bn: test accuracy 54.0% is now 50.5%, worse by 3.5 points (2.")
    assert first.is_alarm
    assert first.cause == "All that differs since: keras from 3.15.1 to 3.15.0."
    assert [*found.regressed] == ["bn"]
    # The time of an epoch is said, and the verdict that no longer holds.
    assert [one.is_alarm for one in others] == [False, False]
    assert others[0].text.startswith("bn over elu, test accuracy: better (+4.00 points) is now un")
    assert others[1].text.startswith(
        "bn: an epoch took 2.02 s and now takes 2.02 s, equal within 20% ("
    )


def test_better_and_equal_are_said_and_ring_nothing() -> None:
    better = tonight(THEN | {"bn": 0.58 + NOISE[::-1]})
    (said,) = better.findings
    assert said.text.startswith("bn: test accuracy 54.0% is now 58.0%, better by 4.0 points (")
    assert said.cause
    exact = dict.fromkeys(THEN, 0.5 + NOISE / 10)
    then = good(compared=compared(exact))
    found = tonight(exact | {"bn": 0.5 + NOISE[::-1] / 10}, then=then)
    (said,) = found.findings
    assert "test accuracy 50.0% is now 50.0%, equal within 1 point (" in said.text
    assert (alarms(better), alarms(found), found.regressed) == ([], [], {})


def test_the_same_to_the_last_digit_is_said() -> None:
    (said,) = tonight().findings
    assert said.text.startswith(
        "bn: the same to the last digit (4 seeds); an epoch took 2.02 s and"
    )


def test_a_variant_that_nothing_changed_in_is_not_judged_again() -> None:
    found = tonight(THEN | {"bn": 0.52 + NOISE[::-1]}, bn=trained())
    assert found.regressed == {}
    assert not any(one.text.startswith("bn: ") for one in found.findings)
    same = good()
    assert regressions(same, same.compared, same.trained).findings == []


def test_the_margin_is_that_of_the_variants_question() -> None:
    few = 0.54 - 0.0065 + NOISE[::-1] / 10
    then = good(compared=compared(THEN | {"bn": 0.54 + NOISE / 10}))
    assert tonight(THEN | {"bn": few}, then=then).regressed == {}
    strict = replace(QUESTION, margin=0.002)
    assert tonight(THEN | {"bn": few}, then=then, question=strict).regressed.keys() == {"bn"}


# Verdicts


def test_a_verdict_that_turned_into_another_is_an_alarm() -> None:
    found = tonight(THEN | {"bn": 0.46 + NOISE[::-1]})
    turned = alarms(found)[1]
    assert turned.text == (
        "bn over elu, test accuracy: better (+4.00 points) is now worse (-4.00 points)."
    )
    assert turned.cause.endswith(": keras from 3.15.1 to 3.15.0.")


def test_a_verdict_that_turned_with_more_seeds_alone_says_so() -> None:
    more = THEN | {"bn": np.tile(0.46 + NOISE, 2)}
    (turned,) = tonight(more, bn=trained()).findings
    assert turned.is_alarm
    assert turned.cause == (
        "Nothing that decides results differs since: 4 and 4 runs were compared, now 8 and 4."
    )


def test_a_verdict_that_is_no_longer_or_only_now_decided_is_no_alarm() -> None:
    spread = THEN | {"bn": 0.54 + 20 * NOISE[::-1]}
    (lost,) = tonight(spread, bn=trained()).findings
    assert (lost.is_alarm, "is now undecided" in lost.text) == (False, True)
    (won,) = tonight(bn=trained(), then=good(compared=compared(spread))).findings
    assert (won.is_alarm, ": undecided (" in won.text) == (False, True)


def test_a_verdict_that_turned_with_an_undecided_night_in_between_is_an_alarm() -> None:
    same, first = trained(), good()
    spread = compared(THEN | {"bn": 0.54 + 20 * NOISE[::-1]}, prefix="spread")
    between = regressions(first, spread, first.trained)
    assert alarms(between) == []
    assert between.decided == {"bn_quality_over_elu": first.compared}
    then = good(compared=spread, decided=between.decided)
    worse = THEN | {"bn": 0.46 + NOISE[::-1]}
    (turned,) = alarms(tonight(worse, then=then, bn=same))
    assert turned.text.endswith(": better (+4.00 points) is now worse (-4.00 points).")
    assert alarms(tonight(then=then, bn=same)) == []  # it is again what it was
    accepted = replace(good(compared=spread), decided=between.decided, alarms=["x"])
    assert alarms(tonight(worse, then=accepted, bn=same)) == []
    client.connect().delete_run(first.compared)
    assert alarms(tonight(worse, then=then, bn=same)) == []


def test_a_verdict_under_another_margin_is_no_alarm() -> None:
    wide = replace(QUESTION, margin=0.2)
    (found,) = tonight(bn=trained(), question=wide).findings
    assert not found.is_alarm
    assert found.cause == "The margin was 1 point and is 20 points."


# What is not there


def test_variants_that_came_or_went_are_named() -> None:
    then = good(trained={"elu": trained(), "selu": trained()})
    texts = [one.text for one in tonight(then=then).findings]
    assert texts == ["New since the last good night: bn.", "No longer compared: selu."]


def test_a_comparison_that_is_gone_or_damaged_is_said() -> None:
    then = good()
    said = "What the comparison of the last good night logged is gone: nothing is compared with it."
    Path("mlruns", "0", then.compared, "artifacts", "runs.csv").write_text("a,b\n1,2\n")
    assert tonight(then=then) == Regressions(findings=[Finding(text=said)])
    client.connect().delete_run(then.compared)
    assert tonight(then=then) == Regressions(findings=[Finding(text=said)])


# What is left undecided, or was not compared


SMALL = {"elu": 0.5 + 2 * NOISE, "bn": 0.54 + 2 * NOISE}
LITTLE = 0.527 - 2 * NOISE[:3]  # fewer seeds, and 1.3 points worse


def recorded(night: Night) -> Night:
    """A night as later ones find it."""
    run_id = client.connect().create_run("0", run_name="night").info.run_id
    found = replace(night, run_id=run_id)
    client.connect().log_text(run_id, found.text(), FILE)
    return found


def with_runs(count: int, of: Trained = CHANGED) -> Trained:
    return replace(of, run_ids=[f"run {seed}" for seed in range(count)])


def undecided_night(then: Night) -> Night:
    """The night after one, that left a change undecided and so is a good one, too."""
    found = tonight(SMALL | {"bn": LITTLE}, then=then, bn=with_runs(3))
    assert "undecided" in found.findings[-1].text
    assert (alarms(found), found.against) == ([], {"bn": then.run_id})
    accuracies = compared(SMALL | {"bn": LITTLE}, prefix="undecided")
    known = {"elu": trained(), "bn": with_runs(3)}
    return recorded(good(compared=accuracies, trained=known, against=found.against))


def test_what_is_left_undecided_is_judged_again_when_it_has_more_seeds() -> None:
    then = undecided_night(recorded(good(compared=compared(SMALL), began=1.8e9)))
    seeds = np.tile(0.527 - 2 * NOISE, 4)
    found = tonight(SMALL | {"bn": seeds}, then=then, bn=with_runs(16))
    (alarm,) = alarms(found)
    assert alarm.text.startswith("bn (since the night of 2027-01-15): test accuracy 54.0% is now")
    assert alarm.cause == "All that differs since: keras from 3.15.1 to 3.15.0."
    assert not any("an epoch took" in one.text for one in found.findings)  # it was judged then
    assert found.against == {}
    assert {name: of.run_id for name, of in found.regressed.items()} == {"bn": then.against["bn"]}


def test_without_more_seeds_it_stays_to_be_judged_and_is_not() -> None:
    then = undecided_night(recorded(good(compared=compared(SMALL))))
    found = tonight(SMALL | {"bn": LITTLE}, then=then, bn=with_runs(3))
    assert (found.findings, found.against) == ([], then.against)


def test_a_change_that_is_taken_back_is_no_longer_to_be_judged() -> None:
    then = undecided_night(recorded(good(compared=compared(SMALL))))
    assert tonight(SMALL, then=then, bn=with_runs(4, trained())).against == {}


def test_a_variant_that_was_left_out_is_judged_by_the_night_that_had_it() -> None:
    first = recorded(good())
    alone = {"elu": trained()}
    without = regressions(first, compared({"elu": THEN["elu"]}), alone)
    assert without.against == {"bn": first.run_id}
    second = recorded(good(trained=alone, against=without.against))
    again = regressions(second, second.compared, alone)
    assert (again.findings, again.against) == ([], without.against)
    found = tonight(THEN | {"bn": 0.505 + NOISE[::-1]}, then=second)
    assert [*found.regressed] == ["bn"]
    assert not any("New since" in one.text for one in found.findings)


def test_what_was_accepted_is_not_judged_by_what_was_before() -> None:
    undecided = undecided_night(recorded(good(compared=compared(SMALL))))
    then = replace(undecided, alarms=["bn is slower."])
    assert tonight(SMALL | {"bn": LITTLE}, then=then, bn=with_runs(16)).against == {}


def test_a_night_that_is_gone_is_not_judged_by() -> None:
    then = undecided_night(recorded(good(compared=compared(SMALL))))
    client.connect().delete_run(then.against["bn"])
    assert tonight(SMALL | {"bn": LITTLE}, then=then, bn=with_runs(16)).against == {}


def test_the_cause_is_what_differed_on_the_first_night_that_rang_for_it() -> None:
    other = trained("other", **{"version of keras": "3.14"})
    rang = [
        good(trained={"bn": other}, about=["elu test_accuracy"]),
        good(trained={"bn": CHANGED}, about=["bn test_accuracy"]),
    ]
    later = trained("later", **{"version of keras": "3.13"})
    run_id = compared(THEN | {"bn": 0.505 + NOISE[::-1]}, prefix="now")
    found = regressions(good(), run_id, {"elu": trained(), "bn": later}, bad=rang)
    assert alarms(found)[0].cause == "All that differs since: keras from 3.15.1 to 3.15.0."
    assert alarms(found)[0].about == "bn test_accuracy"
