"""The embedding layer of ELoPE: linear, batch normalisation, PReLU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.models import build_model


@pytest.fixture
def encoders():
    """A small network with a last linear layer, without and with the normalisation behind it."""
    plain = build_model("cnn", options={"stages": [[4]], "dim": 5, "prelu": True})
    return plain, plain.clone(dim_bn=True)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(6, 5, 5, 2)).astype(np.float32)


def test_embedding_layer_is_the_numpy_one(encoders, images, oracle, randomised):
    _, encoder = encoders
    variables = randomised(encoder, images)
    variables["params"]["prelu"]["slope"] = np.float32(0.3)
    params, stats = variables["params"], variables["batch_stats"]["embedding_bn"]
    bn = params["embedding_bn"]
    layer = jax.jit(
        lambda train: encoder.apply(variables, images, train=train, mutable=["batch_stats"]), static_argnums=0
    )
    for train in (False, True):
        encoded, updates = layer(train)
        pooled = np.asarray(encoded.maps["stage1"], np.float64).mean((1, 2))
        linear = pooled @ params["embedding"]["kernel"] + params["embedding"]["bias"]
        used = {"mean": linear.mean(0), "var": linear.var(0)} if train else stats
        x = oracle.normalise(linear, bn, used)
        assert (x < 0).any() and (x > 0).any()
        np.testing.assert_allclose(encoded.embedding, np.where(x < 0, 0.3 * x, x), rtol=1e-3, atol=1e-4)
        running = updates["batch_stats"]["embedding_bn"]
        for name in ("mean", "var"):
            expected = 0.9 * stats[name] + 0.1 * used[name] if train else stats[name]
            np.testing.assert_allclose(running[name], expected, rtol=1e-4, atol=1e-6)


def test_networks_without_it_are_what_they_were(encoders, images):
    plain, normalised = (encoder.init(jax.random.key(0), images, train=False) for encoder in encoders)
    assert set(plain["params"]) == {"backbone", "embedding", "prelu"} and set(plain["batch_stats"]) == {"backbone"}
    assert {leaf.shape for leaf in jax.tree.leaves(normalised["params"].pop("embedding_bn"))} == {(5,)}
    assert set(normalised["batch_stats"].pop("embedding_bn")) == {"mean", "var"}
    jax.tree.map(np.testing.assert_array_equal, plain, normalised)
    assert "bias" in normalised["params"]["embedding"]


def test_normalisation_of_no_layer_is_refused(encoders):
    with pytest.raises(UserError, match="dim_bn=True .* dim=None"):
        encoders[1].clone(dim=None).init(jax.random.key(0), jnp.zeros((2, 5, 5, 2)), train=False)


def test_half_precision_leaves_the_embedding_layer_in_float32(images):
    encoder = build_model("cnn", dtype="bfloat16", options={"stages": [[4]], "dim": 5}).clone(dim_bn=True)
    shapes = jax.eval_shape(lambda: encoder.init_with_output(jax.random.key(0), images, train=False))
    assert shapes[0].embedding.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes[1])} == {jnp.dtype("float32")}
