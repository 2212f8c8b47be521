"""Prototypical networks against the vectors and a loop over episodes in NumPy; what padding may change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.methods.episodes import episode_losses

EPISODES, WAY, SHOT, QUERY = 2, 3, 2, 2
LAYOUT = (EPISODES, WAY, SHOT + QUERY)
ROWS = EPISODES * WAY * (SHOT + QUERY)
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(ROWS, 8, 8, 1)).astype(np.float32)


def whole():
    return np.ones(ROWS, np.float32)


def ragged():
    """Weights of episodes of fewer ways, shots and queries; padding comes last on each axis."""
    real = np.ones(LAYOUT, np.float32)
    real[0, 2] = 0  # a way less
    real[0, 1, 1] = 0  # a shot less
    real[1, 0, 3] = 0  # a query less
    real[1, 2, [1, 3]] = 0
    return real.ravel()


WEIGHTS = {"whole": whole, "ragged": ragged}


def loop(features, real, similarity, tau):
    """The oracle: losses and hits of all real queries, one after the other, as the paper's Algorithm 1 has it."""
    features, real = features.reshape(*LAYOUT, -1), real.reshape(LAYOUT) > 0
    losses, hits = [], []
    for episode in range(EPISODES):
        classes = {}
        for way in range(WAY):
            support = [features[episode, way, i] for i in range(SHOT) if real[episode, way, i]]
            if support:
                classes[way] = sum(support) / len(support)
        for way in classes:
            for i in range(SHOT, SHOT + QUERY):
                if not real[episode, way, i]:
                    continue
                query = features[episode, way, i]
                if similarity == "cosine":
                    scores = {k: query @ c / np.linalg.norm(query) / np.linalg.norm(c) for k, c in classes.items()}
                else:
                    scores = {k: -((query - c) ** 2).sum() for k, c in classes.items()}
                e = {k: np.exp(tau * s) for k, s in scores.items()}
                losses.append(-np.log(e[way] / sum(e.values())))
                hits.append(max(scores, key=scores.get) == way)
    return np.array(losses), np.array(hits)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("similarity", ["cosine", "squared_euclid"])
def test_objective_is_a_loop_over_episodes(make_method, objective, in_training, similarity, weights):
    options = {"similarity": similarity, "tau": 3.0}
    method, params, collections = make_method(
        "prototypical", **{f"method__prototypical__{name}": value for name, value in options.items()}
    )
    weight = WEIGHTS[weights]()
    loss, _, updated, metrics = objective(method, params, collections, image=IMAGES, weight=weight)
    features, _ = in_training(method, params, collections, IMAGES)
    losses, hits = loop(features, weight, similarity, 3.0)
    assert len(losses) == (12 if weights == "whole" else 8)
    np.testing.assert_allclose(loss, losses.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["accuracy"], hits.mean(), atol=1e-6)
    np.testing.assert_allclose(metrics["feature_max"], np.abs(features).max(), rtol=1e-5)
    assert float(metrics["tau"]) == 3.0
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), updated["batch_stats"], collections["batch_stats"])
    assert all(jax.tree.leaves(changed))


@pytest.mark.parametrize("name", ["proto_ce_cosine_tau1", "proto_ce_cosine_tau10", "proto_ce_sqeuclid"])
def test_an_episode_gives_the_vector(x64, vector, make_method, jit, name):
    """Three classes of three support images and two queries: a support image has a third of its class's gradient."""
    v = vector(name)
    similarity, tau = "squared_euclid" if name.endswith("sqeuclid") else "cosine", v.params.get("tau", 1.0)
    method, _, _ = make_method(
        "prototypical", method__prototypical__similarity=similarity, episodes__shot=(3,), episodes__per_step=1
    )
    support, queries = v.inputs["support"].reshape(3, 3, 4), v.inputs["queries"].reshape(3, 2, 4)
    features = np.concatenate([support, queries], axis=1).reshape(15, 4)

    def total(features, tau):
        losses, hits, weights = episode_losses(
            features, jnp.ones(15, bool), tau, shape=method.shape, similarity=method.similarity
        )
        return jnp.mean(losses), (hits, weights)

    (loss, (hits, weights)), (by_features, _) = jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))(
        features, np.float64(tau)
    )
    np.testing.assert_allclose(loss, v.expected["loss"], rtol=1e-9)
    np.testing.assert_array_equal(weights, 1.0)
    by_features = by_features.reshape(3, 5, 4)
    if "accuracy" in v.expected:
        assert float(jnp.mean(hits)) == v.expected["accuracy"]
    if "grad_queries" in v.expected:
        np.testing.assert_allclose(by_features[:, 3:].reshape(6, 4), v.expected["grad_queries"], rtol=1e-9, atol=1e-12)
        for image in range(3):
            expected = v.expected["grad_prototypes"] / 3
            np.testing.assert_allclose(by_features[:, image], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("similarity", ["cosine", "squared_euclid"])
def test_gradients_of_ragged_episodes(x64, make_method, jit, finite_differences, similarity):
    """By features and by the scale, against finite differences; padding has none."""
    method, _, _ = make_method("prototypical", method__prototypical__similarity=similarity)
    features, real = np.random.default_rng(1).normal(size=(ROWS, 3)), ragged() > 0

    def total(features, tau):
        losses, _, weights = episode_losses(features, real, tau, shape=method.shape, similarity=method.similarity)
        return jnp.sum(losses * weights)

    point = features, np.float64(2.0)
    gradients = jit(jax.grad(total, argnums=(0, 1)))(*point)
    for gradient, expected in zip(gradients, finite_differences(total, *point), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(gradients[0][~real], 0.0)
    assert np.abs(gradients[1]) > 0.01


@pytest.mark.parametrize("similarity", ["cosine", "squared_euclid"])
@pytest.mark.parametrize("padding", [0.0, -7.0, 1e4])
def test_features_of_padding_change_no_bit(make_method, jit, similarity, padding):
    method, _, _ = make_method("prototypical", method__prototypical__similarity=similarity)
    features, real = np.random.default_rng(2).normal(size=(ROWS, 3)).astype(np.float32), ragged() > 0

    def total(features):
        losses, hits, weights = episode_losses(
            features, real, jnp.float32(2.0), shape=method.shape, similarity=method.similarity
        )
        return jnp.sum(losses * weights), jnp.sum(hits * weights)

    run = jit(jax.value_and_grad(total, has_aux=True))
    other = np.where(real[:, None], features, np.float32(padding))
    for one, two in zip(jax.tree.leaves(run(features)), jax.tree.leaves(run(other)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_scale_is_trained_only_where_it_is_to_be(make_method, objective):
    for learn in (True, False):
        method, params, collections = make_method("prototypical", method__prototypical__learn_tau=learn)
        _, gradients, _, _ = objective(method, params, collections, image=IMAGES, weight=whole())
        assert (float(gradients["loss"]["tau"]) != 0.0) == learn
        assert any(np.any(x != 0) for x in jax.tree.leaves(gradients["encoder"]))
        assert method.weight_decay_mask(params)["loss"] == {"tau": False}
        assert all(jax.tree.leaves(method.weight_decay_mask(params)["encoder"]))


def test_learned_scale_is_never_below_its_least(make_method, objective):
    method, params, collections = make_method("meta_baseline")
    results = []
    for tau in (0.01, 0.0, -5.0):
        params = {**params, "loss": {"tau": jnp.float32(tau)}}
        loss, _, _, metrics = objective(method, params, collections, image=IMAGES, weight=whole())
        results.append(float(loss))
        assert float(metrics["tau"]) == pytest.approx(0.01)
        assert method.rule(params).tau == pytest.approx(0.01)
    assert results[0] == results[1] == results[2]


def test_meta_baseline_is_the_cosine_with_a_learned_scale(make_method, objective, in_training):
    method, params, collections = make_method("meta_baseline", method__meta_baseline__tau=4.0)
    assert method.needs_start
    loss, gradients, *_ = objective(method, params, collections, image=IMAGES, weight=ragged())
    features, _ = in_training(method, params, collections, IMAGES)
    np.testing.assert_allclose(loss, loop(features, ragged(), "cosine", 4.0)[0].mean(), rtol=1e-4)
    assert float(gradients["loss"]["tau"]) != 0.0


def test_new_classes_are_met_as_in_training(make_method):
    method, params, _ = make_method("prototypical")
    assert method.rule(params) == method.rule({**params, "encoder": None})
    rule = method.rule(params)
    assert (rule.similarity, rule.support_pool, rule.query_pool, rule.tau) == ("squared_euclid", "gap", "gap", 1.0)
    assert not rule.unit_support
    assert method.class_weights(params) is None
    method, params, _ = make_method("prototypical", model__cnn__dim=5)
    assert method.rule(params).features == ("embedding",)


def test_there_are_no_classes_to_predict(make_method):
    method, params, collections = make_method("prototypical")
    with pytest.raises(UserError, match="no classes of its own to predict: give it support images"):
        method.logits(params, collections, IMAGES)


def test_rows_of_a_step_are_those_of_the_longest_episodes(make_method):
    method, _, _ = make_method(
        "prototypical", episodes__way=(2, 4), episodes__shot=(1, 3), episodes__query=(5,), episodes__per_step=3
    )
    assert method.episodes.rows == 3 * 4 * (3 + 5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"method__prototypical__similarity": "manhattan"}, "similarity='manhattan' must be one of .*squared_euclid"),
        ({"method__prototypical__tau": 0.0}, "prototypical.tau=0.0 must be at least 1e-06"),
        ({"episodes__per_step": 0}, "config.episodes.per_step=0 must be at least 1"),
        ({"episodes__query": (0,)}, r"config.episodes.query=\(0,\): each must be at least 1"),
    ],
)
def test_options_that_cannot_be(make_method, overrides, message):
    with pytest.raises(UserError, match=message):
        make_method("prototypical", **overrides)
