"""What a night leaves: read again as it was written."""

import pytest

from pipeline.nights.record import Night, Trained, parsed


def test_a_night_is_read_as_it_was_written() -> None:
    trained = Trained(
        replicates_key="k", run_ids=["a", "b"], inputs={"code of x": "1"}, processors=["p"]
    )
    night = Night(
        run_id="n",
        began=1.5,
        comparison="c",
        dataset="d",
        compared="m",
        trained={"bn": trained},
        against={"elu": "m"},
        alarms=["bn is worse."],
        about=["bn test_accuracy"],
    )
    assert parsed(night.text()) == night


@pytest.mark.parametrize("damaged", ["", "{}", '{"trained": {"bn": {"x": 1}}}', "[1]"])
def test_a_damaged_night_raises(damaged: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        parsed(damaged)
