"""L-GM against the vectors, and its schedule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.losses import lgm


@pytest.mark.parametrize("name", ["lgm_alpha0", "lgm_cvpr_logdet", "lgm_eq4_no_logdet", "lgm_identity"])
def test_gives_the_vector_and_its_gradients(x64, vector, evaluate, name):
    v = vector(name)
    switches = {"covariance": "diag", "logdet_in_logits": True, **v.params}  # the CVPR paper's, where a vector has none
    module = lgm.LgmLoss(num_classes=4, dim=3, **switches)
    params = {"means": v.inputs["mu"]}
    if "log_var" in v.inputs:
        params["log_var"] = v.inputs["log_var"]
    x, labels = v.inputs["x"], v.inputs["labels"]
    result = evaluate(module, params, x, labels)
    np.testing.assert_allclose(result.total, v.expected["total"], rtol=1e-10, atol=1e-12)
    likelihood = result.output.metrics["likelihood"]
    np.testing.assert_allclose(likelihood, v.expected["likelihood"], rtol=1e-10, atol=1e-12)
    cross_entropy = result.output.per_example.mean() - v.params["lam"] * likelihood
    np.testing.assert_allclose(cross_entropy, v.expected["loss_cls"], rtol=1e-10, atol=1e-12)
    assert result.output.regularizer == 0

    log_var = v.inputs.get("log_var", np.zeros(4))
    options = {name: switches[name] for name in ("alpha", "logdet_in_logits")}
    logits = lgm.lgm_logits(x, v.inputs["mu"], log_var, labels=labels, **options)
    np.testing.assert_allclose(logits, v.expected["logits_with_margin"], rtol=1e-10, atol=1e-12)
    # No vector has test logits; the training logits are those, but for the label's.
    test_logits = module.apply({"params": params}, x, method="logits")
    other = np.eye(4)[labels] == 0
    np.testing.assert_allclose(test_logits[other], v.expected["logits_with_margin"][other], rtol=1e-10, atol=1e-12)

    for key, actual in (
        ("grad_x", result.by_features),
        ("grad_mu", result.by_params["means"]),
        ("grad_log_var", result.by_params.get("log_var")),
    ):
        if key in v.expected:
            np.testing.assert_allclose(actual, v.expected[key], rtol=1e-10, atol=1e-12)


def test_without_margin_training_and_test_logits_agree(x64):
    rng = np.random.default_rng(0)
    x, mu, log_var = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    training = lgm.lgm_logits(x, mu, log_var, labels=np.array([0, 1, 2, 3, 0]), alpha=0.0, logdet_in_logits=True)
    test = lgm.lgm_logits(x, mu, log_var, logdet_in_logits=True)
    np.testing.assert_allclose(training, test, rtol=1e-10, atol=1e-12)


def test_identity_gradients(x64, evaluate, finite_differences):
    rng = np.random.default_rng(1)
    x, labels, mu = rng.normal(size=(5, 3)), np.array([0, 1, 2, 3, 0]), rng.normal(size=(4, 3))
    module = lgm.LgmLoss(num_classes=4, dim=3, covariance="identity", alpha=0.2)
    result = evaluate(module, {"means": mu}, x, labels)

    def total(mu, x):
        return jnp.mean(module.apply({"params": {"means": mu}}, x, labels, step=0).per_example)

    by_mu, by_x = finite_differences(total, mu, x)
    np.testing.assert_allclose(result.by_params["means"], by_mu, atol=1e-8)
    np.testing.assert_allclose(result.by_features, by_x, atol=1e-8)


def test_the_margin_doubles_up_to_its_maximum():
    module = lgm.LgmLoss(num_classes=2, dim=2, alpha=0.1, alpha_max=0.3, alpha_double_every=5000)
    steps = [0, 4999, 5000, 9999, 10_000, 10**9]
    alphas = [float(jax.jit(module.alpha_at)(step)) for step in steps]
    np.testing.assert_allclose(alphas, [0.1, 0.1, 0.2, 0.2, 0.3, 0.3], rtol=1e-6)
    constant = lgm.LgmLoss(num_classes=2, dim=2, alpha=1.0)
    assert constant.alpha_at(10**9) == 1.0


def test_margin_and_likelihood_grow_together_from_nothing(evaluate):
    """At the start it is the cross-entropy of the distances; at half of the ramp that of half the margin and weight."""
    x, labels = np.random.default_rng(3).normal(size=(5, 3)), np.array([0, 1, 2, 0, 1])
    params = {"means": np.random.default_rng(4).normal(size=(3, 3))}
    size = {"num_classes": 3, "dim": 3, "covariance": "identity"}
    ramped = lgm.LgmLoss(**size, alpha=0.4, lam=0.2, ramp_steps=100)
    for step, share in ((0, 0.0), (50, 0.5), (100, 1.0), (10**6, 1.0)):
        result = evaluate(ramped, params, x, labels, step=step)
        expected = evaluate(lgm.LgmLoss(**size, alpha=0.4 * share, lam=0.2 * share), params, x, labels)
        np.testing.assert_allclose(result.total, expected.total, rtol=1e-6)
        np.testing.assert_allclose(result.by_features, expected.by_features, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(result.output.metrics["alpha"], 0.4 * share, rtol=1e-6)
    distances = 0.5 * ((x[:, None] - params["means"]) ** 2).sum(-1)
    plain = distances[np.arange(5), labels] + np.log(np.exp(-distances).sum(-1))
    np.testing.assert_allclose(evaluate(ramped, params, x, labels, step=0).total, plain.mean(), rtol=1e-6)


def test_the_step_reaches_the_loss(evaluate):
    module = lgm.LgmLoss(num_classes=2, dim=2, covariance="identity", alpha_double_every=10)
    params, x, labels = {"means": jnp.eye(2)}, jnp.ones((3, 2)), jnp.array([0, 1, 1])
    early, late = (evaluate(module, params, x, labels, step=step) for step in (0, 10))
    np.testing.assert_allclose([early.output.metrics["alpha"], late.output.metrics["alpha"]], [0.1, 0.2])
    assert late.total > early.total
