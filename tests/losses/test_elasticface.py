"""ElasticFace and the margin softmax under it: the vector, formulas by arccos, and limiting cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.losses import elasticface, margin
from fsjax.losses.elasticface import ElasticFaceLoss
from fsjax.options import choices
from fsjax.options.losses import MarginOptions

CLOSE = {"rtol": 1e-10, "atol": 1e-11}


def margins_of(module, cosines, step):
    weights = jnp.zeros((module.num_classes, module.dim))
    return module.apply({"params": {"weights": weights}}, cosines, step, method="margins")


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def by_hand(x, labels, weights, margins, *, kind, scale=64.0):
    """Logits and cross-entropy of each example, one after the other; no angle with its margin is beyond pi."""
    logits = scale * unit(x) @ unit(weights).T
    for i, label in enumerate(labels):
        cosine = unit(x)[i] @ unit(weights)[label]
        assert kind == "cos" or np.arccos(cosine) + margins[i] < np.pi
        logits[i, label] = scale * (np.cos(np.arccos(cosine) + margins[i]) if kind == "arc" else cosine - margins[i])
    losses = [
        np.log(np.sum(np.exp(row - row.max()))) + row.max() - row[k] for row, k in zip(logits, labels, strict=True)
    ]
    return logits, np.array(losses)


def random_case(seed=0, batch=7, classes=5, dim=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, dim)), rng.integers(0, classes, batch), rng.normal(size=(classes, dim))


@pytest.mark.parametrize("kind", choices(MarginOptions, "kind"))
@pytest.mark.parametrize("beyond_pi", choices(MarginOptions, "beyond_pi"))
@pytest.mark.parametrize("assign", [None, "released"])
def test_gives_the_vector(x64, vector, kind, beyond_pi, assign):
    """No angle of the vector is beyond pi."""
    v = vector("elasticface")
    labels, margins = v.inputs["labels"], jnp.asarray(v.inputs[f"margins_{kind}"])
    cosines = jnp.asarray(unit(v.inputs["x"]) @ unit(v.inputs["W"]).T)
    if assign:
        margins = elasticface.assigned_margins(margins, margin.target_cosines(cosines, labels), assign=assign)
    logits = margin.margin_logits(cosines, labels, margins, kind=kind, scale=v.params["s"], beyond_pi=beyond_pi)
    name = f"{kind}_{'plus' if assign else 'plain'}"
    np.testing.assert_allclose(logits, v.expected[f"{name}_logits"], **CLOSE)
    loss = jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[jnp.arange(8), labels])
    np.testing.assert_allclose(loss, v.expected[f"{name}_loss"], **CLOSE)


@pytest.mark.parametrize("kind", choices(MarginOptions, "kind"))
@pytest.mark.parametrize("plus", [False, True])
def test_module_is_the_formula_at_its_margins(x64, evaluate, finite_differences, kind, plus):
    """Value and gradients, the margins read from the module itself."""
    x, labels, weights = random_case()
    module = ElasticFaceLoss(num_classes=5, dim=4, kind=kind, scale=8.0, plus=plus, plus_assign="rank")
    result = evaluate(module, {"weights": weights}, x, labels, step=3)
    own = np.sum(unit(x) * unit(weights)[labels], axis=-1)
    margins = np.asarray(margins_of(module, jnp.asarray(own), 3))
    _, expected = by_hand(x, labels, weights, margins, kind=kind, scale=8.0)
    np.testing.assert_allclose(result.output.per_example, expected, rtol=1e-9)
    assert result.output.regularizer == 0
    np.testing.assert_allclose(result.output.metrics["margin"], margins.mean(), **CLOSE)
    np.testing.assert_allclose(result.output.metrics["target_cosine"], own.mean(), rtol=1e-9)

    def total(x, weights):
        return jnp.mean(module.apply({"params": {"weights": weights}}, x, labels, step=3).per_example)

    by_features, by_weights = finite_differences(total, x, weights)
    np.testing.assert_allclose(result.by_features, by_features, atol=1e-7)
    np.testing.assert_allclose(result.by_params["weights"], by_weights, atol=1e-7)


@pytest.mark.parametrize(("kind", "own"), [("arc", 0.5), ("cos", 0.35)])
def test_without_deviation_it_is_the_fixed_margin(x64, evaluate, kind, own):
    """ArcFace and CosFace, at their papers' margins and at another, and softmax of cosines at 0."""
    x, labels, weights = random_case(1)
    for chosen, expected in ((None, own), (0.2, 0.2), (0.0, 0.0)):
        module = ElasticFaceLoss(num_classes=5, dim=4, kind=kind, margin=chosen, sigma=0.0)
        result = evaluate(module, {"weights": weights}, x, labels, step=9)
        _, losses = by_hand(x, labels, weights, np.full(7, expected), kind=kind)
        np.testing.assert_allclose(result.output.per_example, losses, rtol=1e-9, atol=1e-9)


def test_larger_margins_by_rank_are_of_smaller_cosines():
    cosines, margins = jnp.array([0.1, 0.9, -0.3, 0.4]), jnp.array([0.3, 0.1, 0.4, 0.2])
    by_rank = elasticface.assigned_margins(margins, cosines, assign="rank")
    np.testing.assert_allclose(by_rank, [0.3, 0.1, 0.4, 0.2], rtol=1e-6)
    # In the released code the examples of the 1st, 2nd, ... largest cosine, 1, 3, 0, 2, number the sorted margins.
    released = elasticface.assigned_margins(margins, cosines, assign="released")
    np.testing.assert_allclose(released, [0.2, 0.4, 0.1, 0.3], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "plus", "mean", "sigma"),
    [("arc", False, 0.5, 0.05), ("arc", True, 0.5, 0.0175), ("cos", False, 0.35, 0.05), ("cos", True, 0.35, 0.02)],
)
def test_margins_are_drawn_as_the_paper_has_them_and_follow_from_the_step(kind, plus, mean, sigma):
    module, cosines = ElasticFaceLoss(num_classes=5, dim=4, kind=kind, plus=plus), jnp.linspace(-1, 1, 20_000)
    drawn = np.asarray(margins_of(module, cosines, 4))
    np.testing.assert_allclose(drawn.mean(), mean, atol=5 * sigma / np.sqrt(20_000))
    np.testing.assert_allclose(drawn.std(), sigma, rtol=0.03)
    np.testing.assert_array_equal(drawn, margins_of(module, cosines, 4))
    assert np.mean(drawn == margins_of(module, cosines, 5)) < 0.01


@pytest.mark.parametrize("kind", choices(MarginOptions, "kind"))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_finite_where_the_angle_is_zero_or_pi(x64, evaluate, kind, dtype):
    weights = jnp.array([[1, 0], [-1, 0], [0, 3]], dtype)
    x = jnp.array([[2, 0], [2, 0], [0, 0], [0, 1e3]], dtype)
    module = ElasticFaceLoss(num_classes=3, dim=2, kind=kind)
    result = evaluate(module, {"weights": weights}, x, jnp.array([0, 1, 0, 2]))
    for leaf in (result.total, result.by_features, result.by_params["weights"]):
        assert np.all(np.isfinite(leaf))


def test_beyond_pi_the_cosine_rises_again_and_the_linear_continuation_falls(x64):
    """At margins of 0 too, where both are the cosine, and below 0, where no angle comes there."""
    angles = np.linspace(0.01, np.pi - 0.01, 300)
    cosines, labels = jnp.asarray(np.stack([np.cos(angles), 0 * angles], axis=1)), np.zeros(300, int)
    for m in (0.5, 1.2, 0.0, -0.3):
        options = {"kind": "arc", "scale": 1.0}
        found = {name: np.asarray(margin.margin_logits(cosines, labels, m, beyond_pi=name, **options)[:, 0])
                 for name in choices(MarginOptions, "beyond_pi")}  # fmt: skip
        np.testing.assert_allclose(found["cosine"], np.cos(angles + m), rtol=1e-9, atol=1e-12)
        within = angles + m < np.pi
        np.testing.assert_allclose(found["linear"][within], np.cos(angles + m)[within], rtol=1e-9, atol=1e-12)
        beyond = np.cos(angles) - m * np.sin(m)
        np.testing.assert_allclose(found["linear"][~within], beyond[~within], rtol=1e-9)
        assert np.any(~within) == (m > 0)
        if m >= 0:
            assert np.all(np.diff(found["linear"]) < 0)
            assert np.any(np.diff(found["cosine"]) > 0) == (m > 0)


def test_logits_have_no_margin(x64):
    x, _, weights = random_case()
    module = ElasticFaceLoss(num_classes=5, dim=4)
    logits = module.apply({"params": {"weights": weights}}, x, method="logits")
    np.testing.assert_allclose(logits, 64 * unit(x) @ unit(weights).T, rtol=1e-9)
