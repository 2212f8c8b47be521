import numpy as np
import pytest
from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.training.schedule import build_schedule


def make(name="step", *, steps=1000, steps_per_epoch=10.0, rate=0.1, **fields):
    values = {"name": name, "unit": "steps", "warmup": 0.0, "boundaries": (), "factor": 0.1, "final": 0.0}
    return build_schedule(ConfigDict(values | fields), learning_rate=rate, steps=steps, steps_per_epoch=steps_per_epoch)


def rates(schedule, steps):
    return np.array([float(schedule(step)) for step in steps])


def test_step_schedule_in_epochs_with_warmup():
    """The recipe of CIFAR-LT: 5 epochs of warm-up, x0.01 at epochs 12 and 16, counted from the start."""
    schedule = make(unit="epochs", warmup=5.0, boundaries=(12.0, 16.0), factor=0.01)
    got = rates(schedule, [0, 24, 49, 50, 119, 120, 159, 160])
    ramp = 0.1 / 50 * np.array([1, 25, 50])
    np.testing.assert_allclose(got, [*ramp, 0.1, 0.1, 1e-3, 1e-3, 1e-5], rtol=1e-5)


def test_cosine_and_linear_end_where_they_should():
    steps = np.arange(100, 1001, 180)
    share = (steps - 100) / 900
    cosine = 0.1 * (0.2 + 0.8 * (1 + np.cos(np.pi * share)) / 2)
    linear = 0.1 * (1 - 0.8 * share)
    np.testing.assert_allclose(rates(make("cosine", warmup=100, final=0.2), steps), cosine, rtol=1e-5)
    np.testing.assert_allclose(rates(make("linear", warmup=100, final=0.2), steps), linear, rtol=1e-5)


def test_constant():
    np.testing.assert_allclose(rates(make("constant"), [0, 999]), 0.1, rtol=1e-6)


def test_errors():
    with pytest.raises(UserError, match="config.schedule.name='cosin' must be one of .*Did you mean 'cosine'"):
        make("cosin")
    with pytest.raises(UserError, match="config.schedule.unit='days' must be one of 'steps', 'epochs'"):
        make(unit="days")
    with pytest.raises(UserError, match="warmup of 1000 steps"):
        make("cosine", warmup=1000)
    with pytest.raises(UserError, match="boundaries"):
        make(boundaries=(20, 10))
