"""AFLM's three losses against the vectors and a loop in NumPy; what its switches do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.losses.softmax import softmax_cross_entropy
from fsjax.methods.episodes import EpisodeShape, episode_losses

EPISODES, WAY, SHOT, QUERY = 2, 3, 2, 2
LAYOUT = (EPISODES, WAY, SHOT + QUERY)
ROWS = EPISODES * WAY * (SHOT + QUERY)
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(ROWS, 8, 8, 1)).astype(np.float32)
LABELS = RNG.integers(0, 3, ROWS).astype(np.int32)


def whole():
    return np.ones(ROWS, np.float32)


def ragged():
    """Weights of an episode of two ways, and of a query less in the other one."""
    real = np.ones(LAYOUT, np.float32)
    real[0, 2] = 0
    real[1, 1, 3] = 0
    return real.ravel()


WEIGHTS = {"whole": whole, "ragged": ragged}


def cross_entropy(scores, label):
    return np.log(np.sum(np.exp(scores - scores.max()))) + scores.max() - scores[label]


def local_losses(features, real, tau):
    """Eq. 7 and 8, query by query."""
    features, real = features.reshape(*LAYOUT, -1), real.reshape(LAYOUT) > 0
    losses, hits = [], []
    for images, there in zip(features, real, strict=True):
        ways = [way for way in range(WAY) if there[way, :SHOT].any()]
        means = [images[way, :SHOT][there[way, :SHOT]].mean(0) for way in ways]
        for number, way in enumerate(ways):
            for query in images[way, SHOT:][there[way, SHOT:]]:
                cosines = [query @ p / np.linalg.norm(query) / np.linalg.norm(p) for p in means]
                losses.append(cross_entropy(tau * np.array(cosines), number))
                hits.append(np.argmax(cosines) == number)
    return np.array(losses), np.array(hits)


def parts(maps, pool="gap"):
    """X_global, X_local and X_cat of last maps."""
    pooled = {"gap": lambda x: x.mean((1, 2)), "gmp": lambda x: x.max((1, 2)), "flatten": lambda x: x.reshape(ROWS, -1)}
    of_global, of_local = (pooled[pool](half) for half in np.split(maps, 2, axis=-1))
    return of_global, of_local, np.concatenate([of_global, of_local], axis=-1)


def batch(weights):
    return {"image": IMAGES, "label": LABELS, "weight": WEIGHTS[weights]()}


@pytest.fixture(scope="module")
def make_aflm(make_method):
    def make(**overrides):
        return make_method("aflm", **{"loss__name": "softmax", **overrides})

    return make


@pytest.mark.parametrize("tau", [1.0, 10.0])
def test_local_loss_is_the_vectors(x64, vector, tau):
    v = vector("aflm_local_loss_eq8")
    sizes = [v.params[name] for name in ("tasks", "way", "shot", "queries")]
    tasks, way, shot, queries = sizes
    support, query = v.inputs["support"], v.inputs["query"]
    order = np.argsort(v.inputs["support_labels"], kind="stable")
    by_class = support[:, order].reshape(tasks, way, shot, -1)
    of_queries = query[:, np.argsort(v.inputs["query_labels"], kind="stable")].reshape(tasks, way, queries, -1)
    rows = np.concatenate([by_class, of_queries], axis=2).reshape(tasks * way * (shot + queries), -1)
    losses, _, weights = episode_losses(
        rows, np.ones(len(rows), bool), tau, shape=EpisodeShape(*sizes), similarity="cosine"
    )
    expected = v.expected["by_tau"][str(tau)]
    np.testing.assert_allclose(losses.mean(1), expected["per_task_mean_ce"], rtol=1e-9)
    np.testing.assert_allclose(losses.mean(), expected["mean_over_tasks"], rtol=1e-9)
    np.testing.assert_allclose(jnp.sum(losses * weights), expected["literal_sum_over_queries_and_tasks"], rtol=1e-9)


def test_sign_of_eq_6(x64, vector):
    v = vector("aflm_eq6_sign")
    loss = softmax_cross_entropy(v.inputs["logits"], v.inputs["labels"]).mean()
    np.testing.assert_allclose(loss, v.expected["ce_plus"], rtol=1e-9)
    assert abs(float(loss) - v.expected["ce_as_printed_minus"]) > 0.1


@pytest.mark.parametrize(
    ("weights", "reduction", "pool"),
    [("whole", "mean", "gap"), ("whole", "sum", "gmp"), ("ragged", "mean", "flatten"), ("ragged", "sum", "gap")],
)
def test_objective_is_the_sum_of_three_losses(make_aflm, objective, in_training, weights, reduction, pool):
    method, params, collections = make_aflm(
        method__aflm__reduction=reduction, method__aflm__tau=4.0, model__cnn__pool=pool
    )
    params["loss"]["tau_local"] = jnp.float32(3.0)
    loss, _, updated, metrics = objective(method, params, collections, **batch(weights))
    _, maps = in_training(method, params, collections, IMAGES)
    of_global, of_local, both = parts(maps, pool)
    real = WEIGHTS[weights]()
    linear = jax.tree.map(lambda x: np.asarray(x, np.float64), params["loss"]["global"])
    (kernel,), (bias,) = ([x for x in jax.tree.leaves(linear) if x.ndim == n] for n in (2, 1))
    scores = of_global @ (kernel if kernel.shape[0] == of_global.shape[1] else kernel.T) + bias
    of_images = [cross_entropy(s, y) for s, y, w in zip(scores, LABELS, real, strict=True) if w]
    (local, _), (cat, hits) = local_losses(of_local, real, 3.0), local_losses(both, real, 4.0)
    assert len(of_images) == (24 if weights == "whole" else 19)
    assert len(cat) == len(local) == (12 if weights == "whole" else 9)
    reduce = getattr(np, reduction)
    for name, expected in (("global", of_images), ("local", local), ("cat", cat)):
        np.testing.assert_allclose(metrics[name], reduce(expected), rtol=1e-4)
    np.testing.assert_allclose(loss, reduce(of_images) + reduce(local) + reduce(cat), rtol=1e-4)
    np.testing.assert_allclose(metrics["accuracy"], hits.mean(), atol=1e-6)
    right = [s.argmax() == y for s, y, w in zip(scores, LABELS, real, strict=True) if w]
    np.testing.assert_allclose(metrics["accuracy_global"], np.mean(right), atol=1e-6)
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), updated["batch_stats"], collections["batch_stats"])
    assert all(jax.tree.leaves(changed))


def test_every_weight_is_trained(make_aflm, objective):
    """Each of both branches, the four gates, the classifier and both scales."""
    method, params, collections = make_aflm()
    _, gradients, _, _ = objective(method, params, collections, **batch("whole"))
    zero = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradients)
        if not np.any(leaf != 0)
    ]
    assert not zero
    assert len([name for name in gradients["encoder"]["backbone"] if name.startswith("gate_")]) == 4


def test_padding_changes_no_loss(make_aflm, in_training, jit):
    """The label and the features of padding count nowhere; batch statistics are what the images say."""
    method, params, collections = make_aflm()
    one = batch("ragged")
    other = {**one, "label": np.where(one["weight"] > 0, LABELS, (LABELS + 1) % 3)}

    def losses(batch):
        return method.objective(params, collections, batch, step=jnp.int32(0))[0]

    assert float(jit(losses)(one)) == float(jit(losses)(other))


def test_scales_stay_where_they_are_not_to_be_trained(make_aflm, objective):
    method, params, collections = make_aflm(method__aflm__learn_tau=False)
    _, gradients, _, metrics = objective(method, params, collections, **batch("whole"))
    assert float(gradients["loss"]["tau_local"]) == float(gradients["loss"]["tau_cat"]) == 0.0
    assert float(metrics["tau_local"]) == float(metrics["tau_cat"]) == 10.0


@pytest.mark.parametrize("pool", ["gap", "gmp"])
def test_predictions_and_new_tasks(make_aflm, jit, pool):
    method, params, collections = make_aflm(model__cnn__pool=pool)
    logits = jit(method.logits)(params, collections, IMAGES)
    assert logits.shape == (ROWS, 3)
    embedding = np.asarray(jit(method.embed)(params, collections, IMAGES))
    assert embedding.shape == (ROWS, method.dim)
    # The Global loss's classes are told apart by the first half of the embedding alone.
    linear = params["loss"]["global"]
    kernel = next(x for x in jax.tree.leaves(linear) if x.ndim == 2)
    kernel = kernel if kernel.shape[0] == method.dim // 2 else kernel.T
    bias = next(x for x in jax.tree.leaves(linear) if x.ndim == 1)
    np.testing.assert_allclose(logits, embedding[:, : method.dim // 2] @ kernel + bias, rtol=1e-4, atol=1e-5)
    rule = method.rule({**params, "loss": {**params["loss"], "tau_cat": jnp.float32(7.0)}})
    assert (rule.similarity, rule.support_pool, rule.query_pool, rule.tau) == ("cosine", pool, pool, 7.0)
    assert method.class_weights(params) is None


def test_weight_decay_spares_the_scales(make_aflm):
    method, params, _ = make_aflm(loss__name="cosine")
    mask = method.weight_decay_mask(params)
    assert jax.tree.structure(mask) == jax.tree.structure(params)
    assert mask["loss"]["tau_local"] is mask["loss"]["tau_cat"] is mask["loss"]["global"]["tau"] is False
    assert all(jax.tree.leaves(mask["encoder"])) and mask["loss"]["global"]["weights"]


@pytest.mark.parametrize("loss", ["icu", "center"])
def test_the_global_loss_may_be_any_loss(make_aflm, objective, loss):
    method, params, collections = make_aflm(loss__name=loss)
    total, _, updated, metrics = objective(method, params, collections, **batch("whole"))
    np.testing.assert_allclose(total, metrics["global"] + metrics["local"] + metrics["cat"], rtol=1e-6)
    assert jax.tree.structure(updated) == jax.tree.structure(collections)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"method__aflm__tau": 0.0}, "config.method.aflm.tau=0.0 must be at least 1e-06"),
        ({"method__aflm__reduction": "median"}, "aflm.reduction='median' must be one of 'mean', 'sum'"),
        ({"method__aflm__fusion": "cat"}, "aflm.fusion='cat' must be one of"),
        ({"model__cnn__dim": 5}, "layers of its own after them"),
        ({"loss__name": "mixup"}, "config.loss.name='mixup' mixes images"),
        ({"episodes__per_step": 0}, "config.episodes.per_step=0 must be at least 1"),
    ],
)
def test_options_that_cannot_be(make_aflm, overrides, message):
    with pytest.raises(UserError, match=message):
        make_aflm(**overrides)
