import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.evaluation.metrics import classification_sums, summarize


def draw(batch, classes, seed=0):
    """Logits with ties among them, labels, and weights that leave out a third of the rows."""
    rng = np.random.default_rng(seed)
    logits = np.round(2 * rng.normal(size=(batch, classes))).astype(np.float32)
    return logits, rng.integers(0, classes, batch), (rng.uniform(size=batch) < 0.67).astype(np.float32)


def looped(logits, labels, weights):
    """The sums again, example by example."""
    classes = logits.shape[1]
    sums = {"correct": [0] * classes, "count": [0] * classes, "weight": 0, "top5_correct": 0, "nll": 0.0}
    for row, label, weight in zip(logits.astype(np.float64), labels, weights, strict=True):
        if weight == 0:
            continue
        order = sorted(range(classes), key=lambda k, row=row: (-row[k], k))
        sums["correct"][label] += order[0] == label
        sums["count"][label] += 1
        sums["weight"] += 1
        sums["top5_correct"] += label in order[:5]
        sums["nll"] += math.log(sum(math.exp(x) for x in row)) - row[label]
    return sums


def add(*sums):
    return jax.tree.map(lambda *leaves: np.sum(leaves, axis=0), *map(jax.device_get, sums))


@pytest.mark.parametrize("classes", [2, 5, 12])
def test_sums_are_the_looped_ones(classes):
    arguments = draw(64, classes)
    sums = jax.jit(classification_sums)(*arguments)
    expected = looped(*arguments)
    assert set(sums) == set(expected)
    for name in ("correct", "count", "weight", "top5_correct"):
        assert sums[name].dtype == jnp.int32
        np.testing.assert_array_equal(sums[name], expected[name])
    np.testing.assert_allclose(sums["nll"], expected["nll"], rtol=1e-5)


def test_padding_counts_nowhere_whatever_it_holds():
    logits, labels, weights = draw(32, 7)
    padding = weights == 0
    bad, other = logits.copy(), labels.copy()
    bad[padding] = np.array([np.nan, np.inf, -np.inf, 3e38, 0, 1, 2])
    other[padding] = 6
    assert padding.any()
    clean, dirty = (jax.jit(classification_sums)(*a, weights) for a in ((logits, labels), (bad, other)))
    jax.tree.map(np.testing.assert_array_equal, clean, dirty)
    kept = classification_sums(logits[~padding], labels[~padding], weights[~padding] > 0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), clean, kept)


def test_nan_logits_are_wrong():
    sums = classification_sums(jnp.full((3, 7), jnp.nan), jnp.arange(3), jnp.ones(3))
    assert int(sums["correct"].sum()) == int(sums["top5_correct"]) == 0
    assert np.isnan(sums["nll"])


def test_batches_add_up():
    logits, labels, weights = draw(48, 7)
    parts = [classification_sums(logits[i : i + 16], labels[i : i + 16], weights[i : i + 16]) for i in (0, 16, 32)]
    whole = summarize(classification_sums(logits, labels, weights))
    assert summarize(add(*parts)) == pytest.approx(whole, rel=1e-6)


SHARDED = """
import jax, numpy as np
from jax.sharding import AxisType, PartitionSpec as P
from fsjax.evaluation.metrics import classification_sums

rng = np.random.default_rng(0)
arguments = rng.normal(size=(32, 7)), rng.integers(0, 7, 32), rng.uniform(size=32) < 0.7
mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
def summed(*shards):
    return jax.lax.psum(classification_sums(*shards), "batch")
lifted = jax.jit(jax.shard_map(summed, mesh=mesh, in_specs=P("batch"), out_specs=P(), check_vma=False))
sharded, whole = lifted(*arguments), classification_sums(*arguments)
for name in whole:
    if name == "nll":
        np.testing.assert_allclose(sharded[name], whole[name], rtol=1e-6)
    else:
        np.testing.assert_array_equal(sharded[name], whole[name])
"""


@pytest.mark.slow
def test_four_devices_equal_one(given_flags):
    flags = given_flags + " --xla_force_host_platform_device_count=4"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", SHARDED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_summary_of_known_sums():
    # Classes right: 9 of 10, 5 of 10, 1 of 4, none there, 0 of 1, 2 of 5, 3 of 3.
    sums = {
        "correct": np.array([9, 5, 1, 0, 0, 2, 3]),
        "count": np.array([10, 10, 4, 0, 1, 5, 3]),
        "weight": np.array(33),
        "top5_correct": np.array(30),
        "nll": np.array(66.0),
    }
    metrics = summarize(sums, class_counts=[101, 100, 20, 500, 19, 20, 5])
    assert metrics == pytest.approx(
        {
            "num_examples": 33,
            "accuracy": 20 / 33,
            "balanced_accuracy": (0.9 + 0.5 + 0.25 + 0 + 0.4 + 1) / 6,
            "nll": 2.0,
            "top5_accuracy": 30 / 33,
            "many_shot_accuracy": 0.9,  # above 100; the class of 500 has no examples here
            "medium_shot_accuracy": (0.5 + 0.25 + 0.4) / 3,  # 20 to 100, both included
            "few_shot_accuracy": (0 + 1) / 2,  # below 20
        }
    )
    assert all(type(value) is float for value in metrics.values())


def test_metrics_without_meaning_are_absent():
    logits, labels, weights = draw(32, 5)
    metrics = summarize(classification_sums(logits, labels, weights), class_counts=[200] * 5)
    assert "top5_accuracy" not in metrics
    assert metrics["many_shot_accuracy"] == metrics["balanced_accuracy"]
    assert not {"medium_shot_accuracy", "few_shot_accuracy"} & set(metrics)


def test_counts_past_float32_are_exact():
    count = np.array([2**24 + 1, 2**24 + 3], np.int64)
    sums = {
        "correct": count - 1,
        "count": count,
        "weight": count.sum(),
        "top5_correct": count.sum(),
        "nll": 0.0,
    }
    metrics = summarize(sums)
    assert metrics["num_examples"] == 2**25 + 4
    assert metrics["accuracy"] == (2**25 + 2) / (2**25 + 4)


def test_nothing_to_summarize_is_an_error():
    logits, labels, weights = draw(8, 3)
    with pytest.raises(UserError, match="no example was counted"):
        summarize(classification_sums(logits, labels, 0 * weights))
    with pytest.raises(ValueError, match=r"class_counts has shape \(4,\), but there are 3 classes"):
        summarize(classification_sums(logits, labels, 1 + weights), class_counts=[1, 2, 3, 4])
