"""Center loss against the vector and a NumPy loop over the centres."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsjax.losses import center


def test_gives_the_vector(x64, vector):
    v = vector("center_loss")
    x, labels, centers = v.inputs["x"], v.inputs["labels"], v.inputs["centers"]
    losses = center.center_loss(x, labels, centers)
    np.testing.assert_allclose(2 * losses.sum(), v.expected["sum_sq"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(losses.sum(), v.expected["paper_half_sum"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(losses.mean(), v.expected["half_mean"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(2 * losses.mean(), v.expected["mean_sq"], rtol=1e-10, atol=1e-12)
    grad = jax.grad(lambda x: center.center_loss(x, labels, centers).sum())(x)
    np.testing.assert_allclose(grad, v.expected["grad_half_sum_x"], rtol=1e-10, atol=1e-12)
    updated = center.updated_centers(x, labels, centers, rate=v.params["center_rate"])
    np.testing.assert_allclose(updated, v.expected["centers_after_update"], rtol=1e-10, atol=1e-12)


def test_update_is_the_loop_and_leaves_absent_classes_alone(x64):
    rng = np.random.default_rng(0)
    x, labels, centers = rng.normal(size=(20, 4)), rng.integers(0, 6, 20), rng.normal(size=(8, 4))
    expected = centers.copy()
    for j in range(8):
        delta, count = np.zeros(4), 0
        for i in range(20):
            if labels[i] == j:
                delta += centers[j] - x[i]
                count += 1
        expected[j] -= 0.3 * delta / (1 + count)
    updated = center.updated_centers(x, labels, centers, rate=0.3)
    np.testing.assert_allclose(updated, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(updated[6:], centers[6:])


def test_module_adds_the_term_and_moves_the_centres_only_where_mutable(x64, vector):
    v = vector("center_loss")
    x, labels, centers = v.inputs["x"], v.inputs["labels"], v.inputs["centers"]
    module = center.CenterLoss(num_classes=4, dim=3, lam=v.params["lam"], rate=v.params["center_rate"])
    variables = module.init(jax.random.key(0), x, labels, step=0)
    np.testing.assert_array_equal(variables["loss_state"]["centers"], np.zeros((4, 3)))
    variables = {"params": variables["params"], "loss_state": {"centers": centers}}

    output, changed = module.apply(variables, x, labels, step=0, mutable=["loss_state"])
    expected = v.expected["centers_after_update"]
    np.testing.assert_allclose(changed["loss_state"]["centers"], expected, rtol=1e-10, atol=1e-12)
    logits = module.apply(variables, x, method="logits")
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    total = output.per_example.mean() + output.regularizer
    np.testing.assert_allclose(total - cross_entropy, 0.003 * v.expected["half_mean"], rtol=1e-10, atol=1e-12)

    # Reading alone, for instance for the loss of validation data, changes nothing and needs no mutability.
    frozen = module.apply(variables, x, labels, step=0)
    np.testing.assert_array_equal(frozen.per_example, output.per_example)


def test_gradient_is_as_if_the_centres_were_constant(x64, evaluate, finite_differences, jit):
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(5, 3)), np.array([0, 1, 1, 3, 3])
    params = {"kernel": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)}
    state = {"loss_state": {"centers": rng.normal(size=(4, 3))}}
    module = center.CenterLoss(num_classes=4, dim=3, lam=0.7)
    result = evaluate(module, params, x, labels, state=state)

    def total(x):
        output, _ = module.apply({"params": params, **state}, x, labels, step=0, mutable=["loss_state"])
        return jnp.mean(output.per_example)

    np.testing.assert_allclose(result.by_features, finite_differences(total, x)[0], atol=1e-8)
    np.testing.assert_allclose(jit(jax.grad(total))(x), result.by_features, rtol=1e-10, atol=1e-12)
