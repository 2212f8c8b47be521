"""Dense classification against NumPy on the feature maps, and where it equals the cosine classifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.data import DataInfo
from fsjax.errors import UserError
from fsjax.methods import build_method
from fsjax.training.optimizer import build_optimizer

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(6, 8, 8, 1)).astype(np.float32)
LABELS = np.arange(6, dtype=np.int32) % 3
PARTNERS = np.array([1, 1, 0, 0, 2, 2], np.int32)


def log_probabilities(maps, params):
    """The oracle: of every position of every image, `[batch, positions, classes]`."""
    weights, tau = np.asarray(params["loss"]["weights"], np.float64), float(params["loss"]["tau"])
    result = np.zeros((len(maps), maps.shape[1] * maps.shape[2], len(weights)))
    for n, row, column in np.ndindex(maps.shape[:3]):
        vector = maps[n, row, column]
        lengths = np.linalg.norm(vector) * np.linalg.norm(weights, axis=-1)
        logits = tau * (weights @ vector) / np.maximum(lengths, 1e-9)
        result[n, row * maps.shape[2] + column] = logits - np.log(np.exp(logits).sum())
    return result


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_objective_is_the_loss_of_all_positions(make_method, objective, in_training, reduction):
    method, params, collections = make_method("dense", method__dense__reduction=reduction)
    loss, _, updated, metrics = objective(method, params, collections, image=IMAGES, label=LABELS)
    _, maps = in_training(method, params, collections, IMAGES)
    assert maps.shape == (6, 2, 2, 6)
    log_p = log_probabilities(maps, params)
    losses = -np.stack([log_p[n, :, label] for n, label in enumerate(LABELS)])
    np.testing.assert_allclose(loss, getattr(losses, reduction)(), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], (log_p.argmax(-1) == LABELS[:, None]).mean(), atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], loss)
    np.testing.assert_allclose(metrics["tau"], 10.0)
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), updated["batch_stats"], collections["batch_stats"])
    assert all(jax.tree.leaves(changed))


def test_sum_is_the_mean_times_images_and_positions(make_method, objective):
    (mean, by_mean, *_), (total, by_sum, *_) = (
        objective(*make_method("dense", method__dense__reduction=reduction), image=IMAGES, label=LABELS)
        for reduction in ("mean", "sum")
    )
    count = 6 * 2 * 2
    np.testing.assert_allclose(total, count * mean, rtol=1e-5)
    jax.tree.map(lambda s, m: np.testing.assert_allclose(s, count * m, rtol=1e-3, atol=1e-4), by_sum, by_mean)


def test_maps_of_one_position_are_the_cosine_classifier(make_method, objective, jit):
    """Three halvings leave 1x1 of 8x8 images: with the same variables, loss, gradients and scores are those of GAP."""
    stages = {"model__cnn__stages": ((4,), (5,), (6,))}
    dense, params, collections = make_method("dense", **stages)
    pooled, others, _ = make_method("classification", **stages)
    assert jax.tree.structure(params) == jax.tree.structure(others)
    results = [objective(m, params, collections, image=IMAGES, label=LABELS)[:2] for m in (dense, pooled)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *results)
    scores = [jit(m.logits)(params, collections, IMAGES) for m in (dense, pooled)]
    np.testing.assert_allclose(scores[0], jax.nn.log_softmax(scores[1]), rtol=1e-5, atol=1e-5)


def test_mixed_batch_is_cross_entropy_against_soft_labels(make_method, objective, in_training):
    """Each image's own share of its two labels, the same at all its positions."""
    method, params, collections = make_method("dense")
    mix = np.linspace(0, 1, 6, dtype=np.float32)
    batch = {"image": IMAGES, "label": LABELS, "mixed_label": PARTNERS, "mix": mix}
    loss, *_ = objective(method, params, collections, **batch)
    log_p = log_probabilities(in_training(method, params, collections, IMAGES)[1], params)
    soft = mix[:, None] * np.eye(3)[LABELS] + (1 - mix[:, None]) * np.eye(3)[PARTNERS]
    np.testing.assert_allclose(loss, -(soft[:, None] * log_p).sum(-1).mean(), rtol=1e-5)


def test_scores_are_the_logarithm_of_the_mean_probability(make_method, jit):
    method, params, collections = make_method("dense")
    maps = list(jit(method.encode)(params, collections, IMAGES).maps.values())[-1]
    expected = np.exp(log_probabilities(np.asarray(maps, np.float64), params)).mean(1)
    found = jit(method.logits)(params, collections, IMAGES)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-5)


def test_flattened_maps_have_the_cosine_of_frobenius(make_method, jit):
    """Eq. 6, the baseline: one weight a position and channel, one norm for the whole map."""
    method, params, collections = make_method("classification", model__cnn__pool="flatten")
    maps = np.asarray(list(jit(method.encode)(params, collections, IMAGES).maps.values())[-1], np.float64)
    weights = np.asarray(params["loss"]["weights"], np.float64).reshape(3, *maps.shape[1:])
    lengths = np.sqrt(np.einsum("nhwc,nhwc->n", maps, maps)[:, None] * np.einsum("khwc,khwc->k", weights, weights))
    expected = 10 * np.einsum("nhwc,khwc->nk", maps, weights) / lengths
    np.testing.assert_allclose(jit(method.logits)(params, collections, IMAGES), expected, rtol=1e-4, atol=1e-4)
    assert method.class_weights(params)[0] == "flatten"


def test_new_classes_meet_the_learned_scale(make_method):
    method, params, _ = make_method("dense", loss__cosine__tau_init=25.0)
    rule = method.rule(params)
    assert (rule.similarity, rule.support_pool, rule.query_pool, rule.tau) == ("cosine", "gap", "dense", 25.0)
    assert method.rule({**params, "loss": {**params["loss"], "tau": jnp.float32(-3)}}).tau == pytest.approx(0.01)
    name, weights = method.class_weights(params)
    assert name == "gap" and weights is params["loss"]["weights"]


def test_another_loss_takes_the_place_of_the_cosine(make_method, objective, in_training):
    method, params, collections = make_method("dense", loss__name="softmax")
    loss, *_ = objective(method, params, collections, image=IMAGES, label=LABELS)
    maps = in_training(method, params, collections, IMAGES)[1].reshape(6, 4, 6)
    logits = maps @ np.asarray(params["loss"]["kernel"], np.float64) + np.asarray(params["loss"]["bias"])
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(loss, -np.mean([log_p[n, :, k] for n, k in enumerate(LABELS)]), rtol=1e-5)
    assert method.class_weights(params) is None
    assert method.rule(params).tau == 10.0


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_scale_is_not_decayed(make_method, few_shot_config, name):
    """A step without a gradient: the class vectors shrink, the scale stays as it is."""
    method, params, _ = make_method("dense")
    mask = method.weight_decay_mask(params)
    assert mask["loss"] == {"weights": True, "tau": False} and all(jax.tree.leaves(mask["encoder"]))
    config = few_shot_config(optimizer__name=name, optimizer__weight_decay=0.5).optimizer
    optimizer = build_optimizer(config, lambda _: 0.1, decay_mask=mask)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    assert float(updates["loss"]["tau"]) == 0.0
    assert np.all(np.sign(updates["loss"]["weights"]) == -np.sign(params["loss"]["weights"]))


@pytest.mark.parametrize("options", [{"dim": 5}, {"hidden": (7,)}, {"prelu": True}])
def test_layers_after_the_maps_are_refused(make_method, options):
    with pytest.raises(UserError, match="pooling 'dense' reads the last feature maps"):
        make_method("dense", **{f"model__cnn__{name}": value for name, value in options.items()})


def test_unknown_reduction(make_method):
    with pytest.raises(UserError, match="config.method.dense.reduction='average' must be one of 'mean', 'sum'"):
        make_method("dense", method__dense__reduction="average")


def test_unknown_options(few_shot_config):
    info = DataInfo("random", ("a", "b"), (8, 8, 1), {"train": 4}, (2, 2), (0.5,), (0.5,))
    config = few_shot_config(method__name="dense")
    with config.unlocked():
        config.method.dense.reducton = "sum"
    with pytest.raises(UserError, match="unknown key in config.method.dense: 'reducton'.*Did you mean 'reduction'"):
        build_method(config, info)
