"""Fixtures of the losses' tests."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest


@pytest.fixture(scope="session")
def evaluate(jit):
    """Total loss of a module, its gradients by parameters and features, and its output."""

    def total(params, features, module, labels, step, state, read):
        output = module.apply({"params": params, **state}, features, labels, step=step, **read)
        return jnp.mean(output.per_example) + output.regularizer, output

    grad = jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True), static_argnums=2)

    def run(module, params, features, labels, *, step=0, state=None, **read):
        (value, output), (by_params, by_features) = grad(params, features, module, labels, step, state or {}, read)
        return SimpleNamespace(total=value, output=output, by_params=by_params, by_features=by_features)

    return run
