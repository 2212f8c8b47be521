import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.training.optimizer import build_optimizer

PARAMS = {
    "kernel": np.array([[1.0, -2.0], [0.5, 3.0]]),
    "bias": np.array([0.3, -0.7]),
    "log_var": np.array([0.2]),
}
GRADS = [
    {
        "kernel": np.array([[0.1, 0.2], [-0.3, 0.4]]),
        "bias": np.array([0.5, -0.6]),
        "log_var": np.array([0.7]),
    },
    {
        "kernel": np.array([[-0.2, 0.1], [0.3, 0.2]]),
        "bias": np.array([-0.1, 0.4]),
        "log_var": np.array([-0.2]),
    },
    {"kernel": np.array([[0.3, 0.3], [0.1, -0.5]]), "bias": np.array([0.2, 0.2]), "log_var": np.array([0.1])},
]
RATE, DECAY = 0.1, 0.05


def config(**fields):
    values = {
        "name": "sgd", "learning_rate": RATE, "momentum": 0.9, "nesterov": False, "b1": 0.8, "b2": 0.95, "eps": 1e-6,
        "weight_decay": DECAY, "decay_on": "all", "clip_norm": 0.0,
    }  # fmt: skip
    return ConfigDict(values | fields)


def train(fields, mask):
    optimizer = build_optimizer(config(**fields), optax.constant_schedule(RATE), decay_mask=mask)
    params = {k: jnp.asarray(v) for k, v in PARAMS.items()}
    state = optimizer.init(params)
    for grads in GRADS:
        updates, state = optimizer.update({k: jnp.asarray(v) for k, v in grads.items()}, state, params)
        params = optax.apply_updates(params, updates)
    return params


def oracle(name, fields, decays):
    """The same by the textbook, a parameter at a time."""
    c = config(**fields)
    out = {}
    for key, p in PARAMS.items():
        p, m, v = p.copy(), 0.0, 0.0
        decay = DECAY if decays[key] else 0.0
        for t, grads in enumerate(GRADS, 1):
            norm = np.sqrt(sum(np.sum(g**2) for g in grads.values()))
            g = grads[key] * (min(1.0, c.clip_norm / norm) if c.clip_norm else 1.0)
            if name in ("sgd", "adam"):
                g = g + decay * p
            if name == "sgd":
                m = c.momentum * m + g
                p = p - RATE * (g + c.momentum * m if c.nesterov else m)
            else:
                m, v = c.b1 * m + (1 - c.b1) * g, c.b2 * v + (1 - c.b2) * g**2
                update = (m / (1 - c.b1**t)) / (np.sqrt(v / (1 - c.b2**t)) + c.eps)
                p = p - RATE * (update + (decay * p if name == "adamw" else 0.0))
        out[key] = p
    return out


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "sgd"},
        {"name": "sgd", "nesterov": True},
        {"name": "sgd", "momentum": 0.0, "clip_norm": 0.4},
        {"name": "adam"},
        {"name": "adamw"},
        {"name": "sgd", "decay_on": "kernels"},
    ],
    ids=str,
)
def test_against_the_textbook(fields):
    mask = {"kernel": True, "bias": True, "log_var": False}
    kernels_only = fields.get("decay_on") == "kernels"
    decays = {"kernel": True, "bias": not kernels_only, "log_var": False}
    got, want = train(fields, mask), oracle(fields["name"], fields, decays)
    for key in PARAMS:
        np.testing.assert_allclose(got[key], want[key], rtol=2e-5, atol=1e-6)


def test_errors():
    mask = dict.fromkeys(PARAMS, True)
    with pytest.raises(UserError, match="config.optimizer.name='sdg' must be one of .*Did you mean 'sgd'"):
        train({"name": "sdg"}, mask)
    with pytest.raises(UserError, match=r"optimizer.decay_on='some' must be one of 'all', 'kernels'"):
        train({"decay_on": "some"}, mask)
