import numpy as np

from pipeline.training.schedules import OneCycle


def test_one_cycle_equals_numpy() -> None:
    schedule = OneCycle()
    schedule.maximum.assign(0.2)
    schedule.total_steps.assign(1000)
    for step in (0, 1, 225, 449, 450, 451, 675, 899, 900, 901, 950, 999, 1000, 1100):
        fraction = np.interp(step, [0, 450, 900, 1000], [0.1, 1, 0.1, 0.001])
        np.testing.assert_allclose(schedule(step), 0.2 * fraction, rtol=1e-4)
