"""The spherical family against the vector, NumPy and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.losses import softmax, spherical

UNNORMALISED = {"spherical": lambda o: o**2 + 1e-4, "taylor": lambda o: 1 + o + o**2 / 2}


@pytest.fixture
def module_case():
    rng = np.random.default_rng(0)
    params = {"kernel": rng.normal(size=(3, 5)), "bias": rng.normal(size=5)}
    return rng.normal(size=(4, 3)), np.array([0, 1, 4, 4]), params


def test_gives_the_vector(x64, vector):
    v = vector("spherical_family")
    outputs, labels, expected = v.inputs["logits"], v.inputs["labels"], v.expected
    logits = {
        "log_softmax": outputs,
        "spherical_softmax": spherical.spherical_logits(outputs, epsilon=v.params["eps"]),
        "taylor_softmax": spherical.taylor_logits(outputs),
    }
    assert logits.keys() == expected.keys()
    for name, scores in logits.items():
        losses = softmax.softmax_cross_entropy(jnp.asarray(scores), labels)
        np.testing.assert_allclose(losses, expected[name], rtol=1e-10)


@pytest.mark.parametrize("kind", UNNORMALISED)
def test_module_gives_probabilities_of_a_linear_classifier(x64, module_case, evaluate, finite_differences, kind):
    x, labels, params = module_case
    module = spherical.SphericalLoss(num_classes=5, dim=3, kind=kind, epsilon=1e-4)

    def probabilities(x):
        q = UNNORMALISED[kind](x @ params["kernel"] + params["bias"])
        return q / q.sum(-1, keepdims=True)

    result = evaluate(module, params, x, labels)
    expected = -np.log(probabilities(x)[np.arange(4), labels])
    np.testing.assert_allclose(result.output.per_example, expected, rtol=1e-10)
    logits = module.apply({"params": params}, x, method="logits")
    np.testing.assert_allclose(jax.nn.softmax(logits), probabilities(x), rtol=1e-10)
    np.testing.assert_array_equal(logits.argmax(-1), probabilities(x).argmax(-1))
    numeric = finite_differences(lambda x: -jnp.log(probabilities(x)[np.arange(4), labels]).mean(), x)[0]
    np.testing.assert_allclose(result.by_features, numeric, atol=1e-7)


def test_extreme_outputs_are_finite_and_the_gradient_is_bounded_by_epsilon():
    outputs = jnp.concatenate([jnp.array([0.0, 1e5, -1e5]), 10.0 ** jnp.arange(-8, 5)])
    for logits, bound in (
        (lambda o: spherical.spherical_logits(o, epsilon=1e-4), 100.0),
        (spherical.taylor_logits, 1.0),
    ):
        assert np.all(np.isfinite(logits(outputs)))
        slopes = np.abs(jax.vmap(jax.grad(logits))(outputs))
        assert np.all(np.isfinite(slopes)) and slopes.max() <= bound * (1 + 1e-6)
