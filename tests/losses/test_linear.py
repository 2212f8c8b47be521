"""The losses over a linear classifier: softmax, mixup, focal and class-balanced."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsjax.losses import class_balanced, focal, mixup, softmax


def identity_head(num_classes):
    """Parameters of a classifier that returns its features as the logits."""
    return {"kernel": np.eye(num_classes), "bias": np.zeros(num_classes)}


def test_softmax_is_optax(x64, evaluate):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(5, 3)), np.array([0, 1, 3, 2, 2])
    params = {"kernel": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)}
    result = evaluate(softmax.SoftmaxLoss(num_classes=4, dim=3), params, x, labels)
    logits = x @ params["kernel"] + params["bias"]
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    np.testing.assert_allclose(result.output.per_example, expected, rtol=1e-10, atol=1e-12)
    errors = jax.nn.softmax(logits) - np.eye(4)[labels]
    np.testing.assert_allclose(result.by_params["bias"], errors.mean(0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.by_params["kernel"], x.T @ errors / 5, rtol=1e-10, atol=1e-12)


def test_mixup_is_cross_entropy_with_soft_labels(x64, evaluate):
    rng = np.random.default_rng(1)
    logits, labels_a, labels_b = rng.normal(size=(5, 4)), np.array([0, 1, 3, 2, 2]), np.array([1, 1, 0, 3, 2])
    lam = rng.uniform(size=5)
    module = mixup.MixupLoss(num_classes=4, dim=4)
    losses = [evaluate(module, identity_head(4), logits, labels).output.per_example for labels in (labels_a, labels_b)]
    soft = lam[:, None] * np.eye(4)[labels_a] + (1 - lam[:, None]) * np.eye(4)[labels_b]
    expected = optax.softmax_cross_entropy(logits, soft)
    np.testing.assert_allclose(mixup.mixed(*losses, lam), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["focal_softmax_gamma0", "focal_softmax_gamma1", "focal_softmax_gamma2"])
def test_focal_gives_the_vector_and_its_gradient(x64, vector, evaluate, name):
    v = vector(name)
    logits, labels = v.inputs["logits"], v.inputs["labels"]
    module = focal.FocalLoss(num_classes=4, dim=4, **v.params)
    result = evaluate(module, identity_head(4), logits, labels)
    np.testing.assert_allclose(result.total, v.expected["loss"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.by_features, v.expected["grad_logits"], rtol=1e-10, atol=1e-12)
    losses = focal.focal_loss(logits, labels, **v.params)
    np.testing.assert_allclose(losses.mean(), v.expected["loss"], rtol=1e-10, atol=1e-12)


def test_focal_at_gamma_zero_is_cross_entropy(x64):
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(5, 4)), np.array([0, 1, 3, 2, 2])
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    np.testing.assert_allclose(focal.focal_loss(logits, labels, gamma=0.0), expected, rtol=1e-10, atol=1e-12)
    expected = optax.sigmoid_binary_cross_entropy(logits, np.eye(4)[labels]).sum(-1)
    np.testing.assert_allclose(focal.sigmoid_focal_loss(logits, labels, gamma=0.0), expected, rtol=1e-10, atol=1e-12)


def test_sigmoid_focal_is_the_definition(x64, finite_differences):
    rng = np.random.default_rng(3)
    logits, labels, gamma = rng.normal(size=(5, 4)), np.array([0, 1, 3, 2, 2]), 1.5
    p = 1 / (1 + np.exp(-logits))
    p = np.where(np.eye(4)[labels] > 0, p, 1 - p)
    losses = focal.sigmoid_focal_loss(logits, labels, gamma=gamma)
    np.testing.assert_allclose(losses, (-((1 - p) ** gamma) * np.log(p)).sum(-1), rtol=1e-10, atol=1e-12)

    def total(logits):
        return focal.sigmoid_focal_loss(logits, labels, gamma=gamma).sum()

    np.testing.assert_allclose(jax.grad(total)(logits), finite_differences(total, logits)[0], atol=1e-8)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("loss", [focal.focal_loss, focal.sigmoid_focal_loss])
def test_focal_is_finite_for_certain_predictions(jit, loss, gamma):
    logits = jnp.array([[1e3, -1e3, 0.0], [20.0, 0.0, 0.0], [-1e6, 1e6, 1e6], [0.0, 0.0, 0.0]])
    total = jit(jax.value_and_grad(lambda logits: loss(logits, jnp.zeros(4, int), gamma=gamma).sum()))
    value, grad = total(logits)
    assert np.isfinite(value) and np.all(np.isfinite(grad))


def test_class_balanced_weights_give_the_vector(vector):
    v = vector("class_balanced_weights")
    for beta in v.params["betas"]:
        effective = class_balanced.effective_number(v.inputs["counts"], beta)
        np.testing.assert_allclose(effective, v.expected["effective_number"][str(beta)], rtol=1e-12)
        weights = class_balanced.class_weights(v.inputs["counts"], beta)
        np.testing.assert_allclose(weights, v.expected["weights"][str(beta)], rtol=1e-12)
    np.testing.assert_array_equal(class_balanced.class_weights([3, 1, 9], 0.0), np.ones(3))


@pytest.mark.parametrize(
    ("expected", "options"),
    [
        ("cb_focal_sigmoid", {"base": "focal_sigmoid"}),
        ("cb_softmax_ce_mean", {"base": "softmax"}),
        ("cb_softmax_ce_weighted_mean", {"base": "softmax", "normalize_by": "weight"}),
    ],
)
def test_class_balanced_losses_give_the_vector(x64, vector, evaluate, finite_differences, expected, options):
    v = vector("class_balanced_losses")
    logits, labels, counts = v.inputs["logits"], v.inputs["labels"], tuple(v.inputs["counts"])
    weights = class_balanced.class_weights(counts, v.params["beta"])
    np.testing.assert_allclose(weights, v.expected["weights"], rtol=1e-12)
    module = class_balanced.ClassBalancedLoss(num_classes=4, dim=4, class_counts=counts, **v.params, **options)
    result = evaluate(module, identity_head(4), logits, labels)
    np.testing.assert_allclose(result.total, v.expected[expected], rtol=1e-10, atol=1e-12)

    def total(logits):
        return jnp.mean(module.apply({"params": identity_head(4)}, logits, labels, step=0).per_example)

    np.testing.assert_allclose(result.by_features, finite_differences(total, logits)[0], atol=1e-8)


@pytest.mark.parametrize(
    ("base", "reference"),
    [
        ("softmax", softmax.softmax_cross_entropy),
        ("focal", lambda logits, labels: focal.focal_loss(logits, labels, gamma=1.0)),
        ("focal_sigmoid", lambda logits, labels: focal.sigmoid_focal_loss(logits, labels, gamma=1.0)),
    ],
)
def test_equal_counts_are_the_base_loss(x64, evaluate, base, reference):
    rng = np.random.default_rng(4)
    logits, labels = rng.normal(size=(5, 4)), np.array([0, 1, 3, 2, 2])
    module = class_balanced.ClassBalancedLoss(num_classes=4, dim=4, class_counts=(7,) * 4, base=base)
    result = evaluate(module, identity_head(4), logits, labels)
    np.testing.assert_allclose(result.output.per_example, reference(logits, labels), rtol=1e-10, atol=1e-12)


def test_sigmoids_start_at_one_in_the_number_of_classes():
    module = class_balanced.ClassBalancedLoss(num_classes=10, dim=2, class_counts=(5,) * 10, base="focal_sigmoid")
    variables = module.init(jax.random.key(0), jnp.zeros((1, 2)), jnp.zeros(1, int), step=0)
    logits = module.apply(variables, jnp.zeros((1, 2)), method="logits")
    np.testing.assert_allclose(jax.nn.sigmoid(logits), 0.1, rtol=1e-5)
    assert math.isclose(variables["params"]["bias"][0], -math.log(9), rel_tol=1e-6)
