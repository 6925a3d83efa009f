"""What is concluded of a night and those before it."""

from pipeline.answers.night import Finding
from pipeline.nights.conclusion import _with_first
from pipeline.nights.record import Night

DAY = 24 * 3600.0


def rang(day: int, *about: str) -> Night:
    return Night(
        run_id=f"night {day}",
        began=1.8e9 + day * DAY,
        comparison="c",
        dataset="d",
        compared="m",
        alarms=["an alarm"] * len(about),
        about=about,
    )


def test_an_alarm_is_since_the_first_night_that_rang_for_the_same() -> None:
    bad = [rang(0, "replay"), rang(1, "replay", "bn test_accuracy"), rang(2, "bn test_accuracy")]
    since = {
        about: _with_first(Finding(text="other figures", is_alarm=True, about=about), bad).since
        for about in ("replay", "bn test_accuracy", "bn median_epoch_seconds")
    }
    assert since == {
        "replay": "2027-01-15",
        "bn test_accuracy": "2027-01-16",
        "bn median_epoch_seconds": "",
    }
