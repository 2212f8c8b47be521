"""bfloat16: what stays float32 in a run, and that it learns as float32 does, within what seeds differ by."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.data import load_splits
from fsjax.losses.base import LossModule
from fsjax.methods import build_method
from fsjax.training.experiment import build_experiment
from fsjax.training.feed import micro_batch_shapes

SEEDS = (0, 1, 2)
STEPS, WINDOW = 120, 20
METHODS = ("classification", "dense", "prototypical", "aflm", "msenet", "imprinted")


@pytest.fixture
def experiment(noise_config):
    """A method in bfloat16, outside of the devices' axis, and its variables as shapes."""

    def make(method):
        overrides = {"model__dtype": "bfloat16"}
        if method == "aflm":
            overrides |= {"method__aflm__gate_reduction": 2}
        if method == "msenet":
            overrides |= {
                "method__msenet__stages": "ends", "train__batch_size": 0, "episodes__way": (3,), "episodes__shot": (2,),
                "episodes__query": (2,),
            }  # fmt: skip
        built = noise_config(method, **overrides)
        found = build_experiment(built, load_splits(built.data, seed=0))
        alone = build_method(found.config, found.splits.info, axis_name=None)
        images = jax.ShapeDtypeStruct((2, *found.splits.info.image_shape), jnp.float32)
        return dataclasses.replace(found, method=alone), jax.eval_shape(alone.init, jax.random.key(0), images)

    return make


def float_dtypes(tree):
    return {x.dtype.name for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)}


def programs(jaxpr):
    """A program and all those inside of it."""
    yield jaxpr
    for equation in jaxpr.eqns:
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else [value]:
                inner = getattr(part, "jaxpr", part)
                if hasattr(inner, "eqns"):
                    yield from programs(inner)


def narrow(equation):
    return any(getattr(x.aval, "dtype", None) == jnp.bfloat16 for x in equation.invars)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_network_computes_in_bfloat16(experiment, method):
    found, variables = experiment(method)
    params = variables.pop("params")
    assert float_dtypes((params, variables, jax.eval_shape(found.optimizer.init, params))) == {"float32"}
    seen = []

    def record(call, args, kwargs, context):
        if isinstance(context.module, LossModule) and context.method_name == "__call__":
            seen.extend(x.dtype for x in jax.tree.leaves((args, kwargs)) if hasattr(x, "dtype"))
        return call(*args, **kwargs)

    def objective(params, collections, batch):
        with nn.intercept_methods(record):
            return found.method.objective(params, collections, batch, step=jnp.int32(0))

    batch = micro_batch_shapes(found.config, found.method, found.splits.info)
    arguments = (params, variables, batch)
    gradient = jax.value_and_grad(objective, has_aux=True)
    assert float_dtypes(jax.eval_shape(gradient, *arguments)) == {"float32"}  # loss, statistics, metrics, gradients
    assert jnp.dtype("bfloat16") not in seen  # what a loss is given
    equations = [e for program in programs(jax.make_jaxpr(gradient)(*arguments).jaxpr) for e in program.eqns]
    convolutions = [e for e in equations if e.primitive.name == "conv_general_dilated"]
    assert convolutions and all(map(narrow, convolutions))
    # A sum of many numbers of 8 bits loses most of them: of batches, positions and classes there is none.
    assert not [e for e in equations if e.primitive.name in ("reduce_sum", "cumsum", "exp", "log") and narrow(e)]


@pytest.fixture(scope="module")
def curves(digits_config):
    """By dtype: losses `[seeds, steps]` and test accuracies `[seeds]` of runs with the same seeds, data and weights."""
    found, splits = {}, [load_splits(digits_config().data, seed=seed) for seed in SEEDS]
    for dtype in ("float32", "bfloat16"):
        losses, accuracies = [], []
        for seed in SEEDS:
            config = digits_config(model__dtype=dtype, seed=seed, train__steps=STEPS)
            experiment = build_experiment(config, splits[seed])
            state = experiment.parallel.place(experiment.initial_state())
            steps = []
            for batch in experiment.train_batches(0, iter([1] * STEPS)):
                state, loss = experiment.train_step(state, batch)
                steps.append(float(loss[0]))
            assert float_dtypes(state) == {"float32"}  # after all the updates
            losses.append(steps)
            accuracies.append(experiment.scoring.test(state)["accuracy"])
        found[dtype] = np.array(losses), np.array(accuracies)
    return found


def standard_error(first, second):
    """Of the difference of two means over seeds."""
    return np.sqrt(sum(x.var(axis=0, ddof=1) / len(x) for x in (first, second)))


@pytest.mark.slow
def test_accuracy_agrees_within_the_noise_of_seeds(curves):
    """Two standard errors, and 1 point: of 359 test images, the binomial deviation of an accuracy of 96 %.

    Three seeds know their own spread to within a factor of two; alone, it would be 0 if they happened to agree.
    """
    exact, rough = (curves[dtype][1] for dtype in ("float32", "bfloat16"))
    assert exact.mean() > 0.8  # it has learned
    assert abs(exact.mean() - rough.mean()) <= 2 * standard_error(exact, rough) + 0.01


@pytest.mark.slow
def test_loss_curves_agree_within_the_noise_of_seeds(curves):
    """Means over windows of 20 steps; the margin is 5 % of the loss, where the spread of three seeds is small."""
    exact, rough = (
        curves[dtype][0].reshape(len(SEEDS), STEPS // WINDOW, WINDOW).mean(-1) for dtype in ("float32", "bfloat16")
    )
    difference = np.abs(exact.mean(0) - rough.mean(0))
    assert (difference <= 2 * standard_error(exact, rough) + 0.05 * exact.mean(0)).all()
    assert exact.mean(0)[-1] < 0.5 * exact.mean(0)[0]
    assert not np.array_equal(exact, rough)  # they are two computations
