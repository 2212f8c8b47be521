import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from fsjax.configs.icu_digits import get_config
from fsjax.data import DataInfo
from fsjax.methods import build_method
from fsjax.training import state as states
from fsjax.training.step import make_train_step

INFO = DataInfo("random", ("a", "b", "c"), (8, 8, 1), {"train": 30}, (20, 7, 3), (0.5,), (0.5,))
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(12, 8, 8, 1)).astype(np.float32)
LABELS = np.arange(12, dtype=np.int32) % 3
PARTNERS = ((np.arange(12) // 4) % 3).astype(np.int32)


def make(loss, **options) -> tuple:
    config: ConfigDict = get_config()
    config.model.cnn.update(stages=((4,), (6,)), dim=5)
    config.loss.name = loss
    config.loss[loss].update(**options)
    method = build_method(config, INFO)
    variables = method.init(jax.random.key(0), jnp.asarray(IMAGES))
    params = variables.pop("params")
    return method, params, variables


def objective(method, params, collections, **batch):
    return jax.jit(lambda p, c, b: method.objective(p, c, b, step=jnp.int32(0)))(params, collections, batch)


def features_in_training(method, params, collections):
    encoded, _ = method.encoder.apply(
        {"params": params["encoder"], "batch_stats": collections["batch_stats"]},
        IMAGES, train=True, mutable=["batch_stats"],
    )  # fmt: skip
    return np.asarray(encoded.embedding, np.float64)


def test_softmax_objective_against_numpy():
    method, params, collections = make("softmax")
    loss, (updated, metrics) = objective(method, params, collections, image=IMAGES, label=LABELS)
    logits = features_in_training(method, params, collections) @ np.asarray(params["loss"]["kernel"], np.float64)
    logits = logits + np.asarray(params["loss"]["bias"])
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(loss, -log_p[np.arange(12), LABELS].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], np.mean(logits.argmax(-1) == LABELS), atol=1e-6)
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), updated["batch_stats"], collections["batch_stats"])
    assert any(jax.tree.leaves(changed))


def test_mixed_batch_is_cross_entropy_against_soft_labels():
    method, params, collections = make("mixup")
    mix = np.full(12, 0.3, np.float32)
    batch = {"image": IMAGES, "label": LABELS, "mixed_label": PARTNERS, "mix": mix}
    loss, _ = objective(method, params, collections, **batch)
    logits = features_in_training(method, params, collections) @ np.asarray(params["loss"]["kernel"], np.float64)
    logits = logits + np.asarray(params["loss"]["bias"])
    soft = 0.3 * np.eye(3)[LABELS] + 0.7 * np.eye(3)[PARTNERS]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(loss, -(soft * log_p).sum(-1).mean(), rtol=1e-5)


@pytest.mark.parametrize("loss", ["icu", "center", "lgm", "class_balanced"])
def test_a_partner_of_no_weight_or_of_the_same_label_changes_nothing(loss):
    """With the state of the loss (center's centres) as with its value."""
    method, params, collections = make(loss)
    plain, (state, _) = objective(method, params, collections, image=IMAGES, label=LABELS)
    for partners, mix in ((PARTNERS, 1.0), (LABELS, 0.4)):
        mixed, (mixed_state, _) = objective(
            method, params, collections,
            image=IMAGES, label=LABELS, mixed_label=partners, mix=np.full(12, mix, np.float32),
        )  # fmt: skip
        np.testing.assert_allclose(mixed, plain, rtol=1e-6)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), mixed_state, state)


def test_step_reaches_the_schedule_of_the_loss():
    method, params, collections = make("lgm", alpha=0.1, alpha_max=0.3, alpha_double_every=10)
    for step, alpha in ((0, 0.1), (9, 0.1), (10, 0.2), (20, 0.3)):
        batch = {"image": jnp.asarray(IMAGES), "label": jnp.asarray(LABELS)}
        _, (_, metrics) = method.objective(params, collections, batch, step=jnp.int32(step))
        assert float(metrics["alpha"]) == pytest.approx(alpha)


def test_weight_decay_spares_the_variances_alone():
    method, params, _ = make("icu")
    mask = method.weight_decay_mask(params)
    assert jax.tree.structure(mask) == jax.tree.structure(params)
    assert mask["loss"] == {"means": True, "log_var": False}
    assert all(jax.tree.leaves(mask["encoder"]))


def test_accumulated_gradient_is_the_mean_over_micro_batches():
    """Two micro-batches: their gradients one by one, the second with the first's batch statistics."""
    method, params, collections = make("softmax")
    optimizer = optax.sgd(1.0)
    variables = {"params": params, **collections}
    state = states.create(variables, optimizer.init(params), ("accuracy", "feature_max", "loss", "grad_norm"))
    step = make_train_step(method, optimizer, axis_name=None, unroll=True)
    halves = {"image": IMAGES.reshape(1, 2, 6, 8, 8, 1), "label": LABELS.reshape(1, 2, 6)}
    new, losses = jax.jit(step)(state, halves)

    grads, values = [], []
    for half in range(2):
        batch = {k: jnp.asarray(v[0, half]) for k, v in halves.items()}
        value = jax.value_and_grad(method.objective, has_aux=True)
        (loss, (collections, _)), grad = value(params, collections, batch, step=jnp.int32(0))
        grads.append(grad)
        values.append(loss)
    expected = jax.tree.map(lambda p, a, b: p - (a + b) / 2, params, *grads)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), new.params, expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), new.collections["batch_stats"],
        collections["batch_stats"],
    )  # fmt: skip
    np.testing.assert_allclose(losses, [np.mean(values)], rtol=1e-5)
    assert int(new.step) == 1 and float(new.meters["count"]) == 1.0


def test_loop_and_written_out_steps_agree():
    method, params, collections = make("icu")
    optimizer = optax.sgd(0.1, momentum=0.9)
    names = ("accuracy", "feature_max", "grad_norm", "loss", "reg_mean", "reg_variance")
    state = states.create({"params": params, **collections}, optimizer.init(params), names)
    batches = {"image": IMAGES.reshape(3, 2, 2, 8, 8, 1), "label": LABELS.reshape(3, 2, 2)}
    results = [
        jax.jit(make_train_step(method, optimizer, axis_name=None, unroll=unroll))(state, batches)[1]
        for unroll in (True, False)
    ]
    assert results[0].shape == (3,)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)
