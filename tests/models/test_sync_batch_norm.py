"""Four devices with synchronised batch statistics do what one device does with the whole batch."""

import os
import subprocess
import sys
import textwrap

SCRIPT = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, PartitionSpec as P
from fsjax.models import build_model

assert jax.device_count() == 4
options = {"stages": ((4, 4), (6,)), "pool": "flatten", "hidden": (8,), "dim": 3}
images = jax.random.normal(jax.random.key(1), (16, 8, 8, 2)) * jnp.arange(1, 17)[:, None, None, None]
targets = jax.random.normal(jax.random.key(2), (16, 3))
fresh = build_model("cnn", options=options)
variables = jax.jit(lambda: fresh.init(jax.random.key(0), images, train=False))()

def step(axis_name, variables, images, targets):
    model = build_model("cnn", axis_name=axis_name, options=options)
    def loss(params):
        given = {**variables, "params": params}
        out, updated = model.apply(given, images, train=True, mutable=["batch_stats"])
        return jnp.mean(jnp.square(out.embedding - targets)), (out.embedding, updated["batch_stats"])
    gradients, (embedding, statistics) = jax.grad(loss, has_aux=True)(variables["params"])
    if axis_name is not None:
        gradients = jax.lax.pmean(gradients, axis_name)
    return embedding, gradients, statistics

def sharded(axis_name):
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
    def lifted(*arguments):
        embedding, gradients, statistics = step(axis_name, *arguments)
        return embedding, gradients, jax.tree.map(lambda x: x[None], statistics)
    specs = {"in_specs": (P(), P("batch"), P("batch")), "out_specs": (P("batch"), P(), P("batch"))}
    return jax.jit(jax.shard_map(lifted, mesh=mesh, check_vma=False, **specs))(variables, images, targets)

def worst(a, b):
    return max(jax.tree.leaves(jax.tree.map(lambda a, b: float(np.abs(a - b).max()), a, b)))

embedding, gradients, statistics = jax.jit(step, static_argnums=0)(None, variables, images, targets)
many_embedding, many_gradients, many_statistics = sharded("batch")
assert worst(embedding, many_embedding) < 1e-5
assert worst(gradients, many_gradients) < 1e-5
assert worst(jax.tree.map(lambda x: np.stack([x] * 4), statistics), many_statistics) < 1e-5
# Without the axis each device normalises by itself, and the results do differ.
local_embedding, _, local_statistics = sharded(None)
assert worst(embedding, local_embedding) > 1e-2
assert worst(jax.tree.map(lambda x: np.stack([x] * 4), statistics), local_statistics) > 1e-2
"""


def test_four_devices_equal_one(given_flags):
    flags = given_flags + " --xla_force_host_platform_device_count=4"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
