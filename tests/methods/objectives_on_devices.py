"""Losses and gradients of one batch on 1 and on 4 devices, for each loss that reads more than its own example.

Run with XLA_FLAGS=--xla_force_host_platform_device_count=4. Prints a JSON line a case: the loss on one device, and the
largest differences of loss, gradient and new state, each relative to the largest value.
"""

import dataclasses
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from fsjax import data
from fsjax.configs.icu_digits import get_config
from fsjax.losses import LOSSES
from fsjax.methods import build_method

INFO = data.DataInfo("digits", tuple("0123456789"), (8, 8, 1), {"train": 100}, (10,) * 10, (0.5,), (0.5,))
FAST = {"xla_backend_optimization_level": 0}
VARIANTS = {
    "contrastive": [{}, {"hard": 3}],
    "metrix": [{}, {"kind": "multi_similarity"}],
    "elasticface": [{"plus": True}],
    "bias": [{}, {"extent": "global"}],
    "unpg": [{}, {"kind": "cos"}],
    "nd": [{"teacher_dim": 6}],
}


def config_of(loss, options):
    config = get_config()
    config.model.cnn.update(stages=((4,),), dim=8)
    config.loss.name = loss
    config.loss[loss].update(options)
    config.teacher.run = "given below"
    return config


def batch_of(rows=16):
    rng = np.random.default_rng(0)
    # The index of one image twice, on two devices: its state must not depend on who is last.
    index = np.arange(rows, dtype=np.int32)
    index[-1] = 0
    return {
        "image": rng.normal(size=(rows, 8, 8, 1)).astype("f"),
        "label": rng.integers(0, 5, rows).astype(np.int32),
        "index": index,
        "cluster_share": rng.uniform(size=rows).astype("f"),
    }


def taught(method, variables):
    """The method with an untrained teacher, if its loss reads one."""
    if not any(name.startswith("teacher") for name in method.reads):
        return method, variables
    config = config_of("softmax", {})
    if getattr(method.loss, "teacher_dim", 0):
        config.model.cnn.dim = method.loss.teacher_dim
    teacher = build_method(config, INFO)
    known = teacher.init(jax.random.key(1), jnp.zeros((2, 8, 8, 1)))
    of_teacher = {"params": known.pop("params"), "collections": known, "means": jnp.ones((10, teacher.dim))}
    return dataclasses.replace(method, teacher=teacher), {**variables, "teacher": of_teacher}


def relative(a, b):
    a, b = (
        np.concatenate([np.ravel(x).astype("d") for x in jax.tree.leaves(tree)] or [np.zeros(1)]) for tree in (a, b)
    )
    return float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-12))


def compare(loss, options, **more):
    config, batch = config_of(loss, options), batch_of()
    config.update_from_flattened_dict(more)
    one, four = (build_method(config, INFO, axis_name=axis) for axis in (None, "devices"))
    variables = one.init(jax.random.key(0), jnp.asarray(batch["image"]))
    params = variables.pop("params")
    one, collections = taught(one, variables)
    four, _ = taught(four, variables)

    def results(method, params, batch):
        objective = jax.value_and_grad(
            lambda p: method.objective(p, collections, batch, step=jnp.int32(3)), has_aux=True
        )
        (value, (state, _)), gradients = objective(params)
        return value, gradients, state.get("loss_state", {})

    mesh = jax.make_mesh((4,), ("devices",), axis_types=(AxisType.Auto,))
    on_four = jax.shard_map(
        lambda p, b: jax.tree.map(lambda x: jax.lax.pmean(x, "devices"), results(four, p, b)),
        mesh=mesh, in_specs=(P(), P("devices")), out_specs=P(), check_vma=False,
    )  # fmt: skip
    first = jax.jit(lambda p, b: results(one, p, b), compiler_options=FAST)(params, batch)
    second = jax.jit(on_four, compiler_options=FAST)(params, batch)
    differences = [relative(a, b) for a, b in zip(first, second, strict=True)]
    print(
        json.dumps({"loss": loss, "options": options, "value": float(first[0]), "differences": differences}), flush=True
    )


def main():
    for loss, module in ((name, choice.load()) for name, choice in LOSSES.items()):
        if not module.PER_EXAMPLE or module.READS:
            for options in VARIANTS.get(loss, [{}]):
                compare(loss, options)
    compare("softmax", {}, **{"method.name": "co_teaching", "method.co_teaching.forget": 0.4})
    compare("softmax", {}, **{"feature_dropout.name": "multi_sample", "feature_dropout.samples": 2})
    compare("opl", {}, **{"feature_dropout.name": "nested", "feature_dropout.sigma": 5.0})


if __name__ == "__main__":
    main()
