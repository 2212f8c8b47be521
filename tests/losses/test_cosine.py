"""The cosine classifier against the vector of dense classification, and at the limits of its scale."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsjax.losses.cosine import MIN_TAU, CosineLoss

CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def parameters(v, tau=None):
    return {"weights": v.inputs["W"], "tau": np.float64(v.params["tau"] if tau is None else tau)}


def test_positions_give_the_vector_and_its_gradients(x64, vector, evaluate):
    """Eq. 9 and 10: the positions of all images are the examples; the gradients are those of the sum."""
    v = vector("dense_classification_eq10")
    maps, labels, expected = v.inputs["maps"], v.inputs["labels"], v.expected
    images, positions, dim = maps.shape
    module = CosineLoss(num_classes=4, dim=dim)
    flat, count = maps.reshape(-1, dim), images * positions
    result = evaluate(module, parameters(v), flat, np.repeat(labels, positions))
    logits = module.apply({"params": parameters(v)}, flat, method="logits")
    np.testing.assert_allclose(logits.reshape(images, positions, 4), expected["logits"], **CLOSE)
    np.testing.assert_allclose(result.output.per_example.sum(), expected["loss_sum"], **CLOSE)
    np.testing.assert_allclose(result.total, expected["loss_mean_over_batch_and_positions"], **CLOSE)
    np.testing.assert_allclose(count * result.by_features.reshape(maps.shape), expected["grad_sum_maps"], **CLOSE)
    np.testing.assert_allclose(count * result.by_params["weights"], expected["grad_sum_W"], **CLOSE)
    np.testing.assert_allclose(count * result.by_params["tau"], expected["grad_sum_tau"], **CLOSE)


def test_pooled_positions_give_the_vector(x64, vector, evaluate):
    v = vector("dense_classification_eq10")
    pooled = v.inputs["maps"].mean(1)
    module = CosineLoss(num_classes=4, dim=5)
    result = evaluate(module, parameters(v), pooled, v.inputs["labels"])
    np.testing.assert_allclose(result.total, v.expected["gap_loss_mean"], **CLOSE)
    logits = module.apply({"params": parameters(v)}, pooled, method="logits")
    np.testing.assert_allclose(logits, v.expected["gap_logits"], **CLOSE)


def test_scale_is_never_below_its_least(x64, vector, evaluate):
    """Below it the scale acts as if it were the least one, so the classifier is never turned around."""
    v = vector("dense_classification_eq10")
    module, features, labels = CosineLoss(num_classes=4, dim=5), v.inputs["maps"][:, 0], v.inputs["labels"]
    expected = module.apply({"params": parameters(v, MIN_TAU)}, features, method="logits")
    assert np.abs(expected).max() > MIN_TAU / 10
    for tau in (0.5 * MIN_TAU, 0.0, -10.0):
        found = module.apply({"params": parameters(v, tau)}, features, method="logits")
        np.testing.assert_array_equal(found, expected)
        result = evaluate(module, parameters(v, tau), features, labels)
        np.testing.assert_array_equal(result.output.metrics["tau"], MIN_TAU)
        np.testing.assert_allclose(
            result.total, optax.softmax_cross_entropy_with_integer_labels(expected, labels).mean()
        )


def test_features_of_zero_are_undecided(evaluate):
    rng = np.random.default_rng(0)
    params = {"weights": rng.normal(size=(4, 5)).astype("f"), "tau": np.float32(10)}
    result = evaluate(CosineLoss(num_classes=4, dim=5), params, np.zeros((2, 5), "f"), np.array([0, 3]))
    np.testing.assert_allclose(result.output.per_example, np.log(4), rtol=1e-6)
    for gradient in jax.tree.leaves((result.by_params, result.by_features)):
        assert np.all(np.isfinite(gradient))


def test_start_is_the_configured_scale_and_vectors_of_about_one():
    module = CosineLoss(num_classes=50, dim=200, tau_init=100.0)
    variables = module.init(jax.random.key(0), jnp.ones((1, 200)), jnp.zeros(1, int), step=0)
    assert variables["params"]["weights"].shape == (50, 200)
    assert float(variables["params"]["tau"]) == 100.0
    np.testing.assert_allclose(np.linalg.norm(variables["params"]["weights"], axis=-1), 1.0, atol=0.2)
