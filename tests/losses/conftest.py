"""Fixtures of the losses' tests: test vectors, float64, and gradients by finite differences."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# Most of these tests' time is compilation; the arrays are tiny, and nothing is gained by optimised code.
FAST_COMPILE = {"xla_backend_optimization_level": 0}
VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.fixture
def x64():
    """Runs the test in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def vector():
    """Loads a vector by name: `.inputs` and `.expected` with lists as arrays, `.params` as it is."""

    def load(name):
        content = json.loads((VECTORS / f"{name}.json").read_text())

        def as_arrays(part):
            return {key: np.asarray(value) if isinstance(value, list) else value for key, value in part.items()}

        return SimpleNamespace(
            inputs=as_arrays(content["inputs"]),
            params=content["params"],
            expected=as_arrays(content["expected"]),
        )

    return load


@pytest.fixture(scope="session")
def jit():
    """`jax.jit` that compiles fast."""
    return partial(jax.jit, compiler_options=FAST_COMPILE)


@pytest.fixture(scope="session")
def evaluate(jit):
    """Total loss of a module, its gradients by parameters and features, and its output."""

    def total(params, features, module, labels, step, state):
        output = module.apply({"params": params, **state}, features, labels, step=step)
        return jnp.mean(output.per_example) + output.regularizer, output

    grad = jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True), static_argnums=2)

    def run(module, params, features, labels, *, step=0, state=None):
        (value, output), (by_params, by_features) = grad(params, features, module, labels, step, state or {})
        return SimpleNamespace(total=value, output=output, by_params=by_params, by_features=by_features)

    return run


@pytest.fixture
def finite_differences(jit):
    """Gradients of a scalar function of arrays, one for each of them, by central differences."""

    def partial_gradient(function, point, step=1e-6):
        point = np.asarray(point)
        result = np.zeros_like(point)
        for index in np.ndindex(point.shape):
            shift = np.zeros_like(point)
            shift[index] = step
            result[index] = (function(point + shift) - function(point - shift)) / (2 * step)
        return result

    def gradients(function, *points):
        function = jit(function)

        def along(i):
            return lambda point: function(*points[:i], point, *points[i + 1 :])

        return [partial_gradient(along(i), point) for i, point in enumerate(points)]

    return gradients
