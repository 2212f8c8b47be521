"""Metrix against the vector, loops over pairs and triples, and limiting cases."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsjax.losses import metrix
from fsjax.losses.metrix import MetrixLoss
from fsjax.options import choices
from fsjax.options.losses import MetrixOptions

PARAMS = {
    "kernel": np.array([[1.0, -1, 0.5], [0.2, 0.3, -2], [0, 1, 0], [1, 1, 0.1]]),
    "bias": np.array([0.1, 0, -0.2]),
}
LABELS = np.array([0, 1, 0, 2, 1, 0, 1])  # of class 2 there is one


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def contrastive(pairs, margin=0.5):
    """Mean of the positive parts plus mean of the negative parts of (cosine, share) pairs."""
    distances = [(np.sqrt(2 - 2 * s), share) for s, share in pairs]
    return np.array([share * d + (1 - share) * max(0, margin - d) for d, share in distances])


def multi_similarity(pairs, beta=18.0, gamma=75.0, margin=0.77):
    """Of one anchor's (cosine, share) pairs."""
    far = sum(share * np.exp(-beta * (s - margin)) for s, share in pairs)
    near = sum((1 - share) * np.exp(gamma * (s - margin)) for s, share in pairs)
    return np.log1p(far) / beta + np.log1p(near) / gamma


def clean_by_hand(kind, x, labels):
    cosines = unit(x) @ unit(x).T
    anchors = [[(cosines[i, j], float(labels[i] == labels[j])) for j in range(len(x)) if j != i] for i in range(len(x))]
    if kind == "multi_similarity":
        return np.mean([multi_similarity(pairs) for pairs in anchors])
    losses = [contrastive([pair for pairs in anchors for pair in pairs if pair[1] == share]) for share in (1, 0)]
    return sum(part.mean() for part in losses if len(part))


def mixed_by_hand(kind, x, labels, positive_of, share):
    """The mixed term, where `positive_of` gives the positive that was drawn for each anchor."""
    x, anchors = unit(x), []
    for i, p in positive_of.items():
        negatives = [j for j in range(len(x)) if labels[j] != labels[i]]
        examples = [share * x[p] + (1 - share) * x[j] for j in negatives]
        anchors.append([(x[i] @ v / np.linalg.norm(v), share) for v in examples])
    if kind == "multi_similarity":
        return np.mean([multi_similarity(pairs) for pairs in anchors])
    return contrastive([pair for pairs in anchors for pair in pairs]).mean()


def draws(step, labels, dtype=jnp.float64):
    """The positive of each anchor that has one, and the share, as the module draws them."""
    first, second = jax.random.split(jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), step))
    positives = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    drawn = np.asarray(metrix.drawn_positives(first, positives))
    chosen = {i: int(drawn[i].argmax()) for i in range(len(labels)) if positives[i].any()}
    assert all(labels[i] == labels[p] and i != p for i, p in chosen.items())
    return chosen, float(jax.random.beta(second, 2.0, 2.0, dtype=dtype))


def test_gives_the_vector(x64, vector):
    v = vector("metrix_pairs")
    anchors, positives, negatives = (v.inputs[name] for name in ("anchor", "positive", "negative"))
    lam = v.params["lam"]
    cosines = jnp.diag(metrix.mixed_cosines(anchors, positives, negatives, lam))
    np.testing.assert_allclose(cosines, v.expected["similarity"], rtol=1e-9)
    np.testing.assert_allclose(metrix.unit_distance(cosines), v.expected["distance"], rtol=1e-9)
    losses = metrix.contrastive_pairs(cosines, lam, margin=v.params["margin"])
    np.testing.assert_allclose(losses, v.expected["contrastive_per_pair"], rtol=1e-9)
    column, weights = cosines[:, None], np.full((4, 1), lam)
    numbers = {"beta": v.params["ms_beta"], "gamma": v.params["ms_gamma"], "margin": v.params["ms_m"]}
    losses = metrix.multi_similarity(column, weights, 1 - weights, **numbers)
    np.testing.assert_allclose(losses, v.expected["multi_similarity_single_pair"], rtol=1e-9)


@pytest.mark.parametrize("lam", [0.0, 0.25, 1.0])
def test_mixed_cosines_are_those_of_the_mixed_examples(x64, lam):
    anchors, positives, negatives = np.random.default_rng(0).normal(size=(3, 5, 4))
    mixed = lam * positives[:, None] + (1 - lam) * negatives
    expected = np.sum(unit(anchors)[:, None] * unit(mixed), axis=-1)
    np.testing.assert_allclose(metrix.mixed_cosines(anchors, positives, negatives, lam), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", choices(MetrixOptions, "kind"))
def test_module_is_the_loop_over_pairs(x64, evaluate, finite_differences, kind):
    x = np.random.default_rng(1).normal(size=(7, 4)) + 0.5
    module = MetrixLoss(num_classes=3, dim=4, kind=kind, lam=0.7, mix_weight=0.6)
    result = evaluate(module, PARAMS, x, LABELS, step=3)
    chosen, share = draws(3, LABELS)
    assert len(chosen) == 6 and 0.05 < share < 0.95
    clean, mixed = clean_by_hand(kind, x, LABELS), mixed_by_hand(kind, x, LABELS, chosen, share)
    np.testing.assert_allclose(result.output.metrics["clean"], clean, rtol=1e-8)
    np.testing.assert_allclose(result.output.metrics["mixed"], mixed, rtol=1e-8)
    np.testing.assert_allclose(result.output.regularizer, 0.7 * (clean + 0.6 * mixed), rtol=1e-8)
    logits = jnp.asarray(x @ PARAMS["kernel"] + PARAMS["bias"])
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, LABELS)
    np.testing.assert_allclose(result.output.per_example, cross_entropy, rtol=1e-10)

    def total(x):
        output = module.apply({"params": PARAMS}, x, LABELS, step=3)
        return jnp.mean(output.per_example) + output.regularizer

    (by_features,) = finite_differences(total, x)
    np.testing.assert_allclose(result.by_features, by_features, atol=1e-6)


def test_shares_of_one_and_zero_are_the_clean_losses(x64):
    """A mixed example that is all positive, or all negative, is that example."""
    anchors, positives, negatives = np.random.default_rng(2).normal(size=(3, 5, 4))
    for share, others in ((1.0, positives), (0.0, negatives)):
        cosines = jnp.diag(metrix.mixed_cosines(anchors, positives, negatives, share))
        pairs = [(a @ b, share) for a, b in zip(unit(anchors), unit(others), strict=True)]
        np.testing.assert_allclose(
            metrix.contrastive_pairs(cosines, share, margin=0.5), contrastive(pairs), rtol=1e-8, atol=1e-10
        )


@pytest.mark.parametrize("kind", choices(MetrixOptions, "kind"))
@pytest.mark.parametrize("labels", [[0, 1, 2], [1, 1, 1], [2], [0, 0, 1]])
def test_batches_without_some_pairs_are_finite(evaluate, kind, labels):
    x = np.random.default_rng(0).normal(size=(len(labels), 4)).astype("f")
    result = evaluate(MetrixLoss(num_classes=3, dim=4, kind=kind), PARAMS, x, np.array(labels))
    metrics = result.output.metrics
    assert np.all(np.isfinite(result.by_features)) and np.isfinite(result.total)
    assert (metrics["mixed"] > 0) == (labels == [0, 0, 1])
    if len(labels) == 1:
        assert metrics["clean"] == 0


@pytest.mark.parametrize("kind", choices(MetrixOptions, "kind"))
def test_equal_and_opposite_features_have_finite_gradients(evaluate, kind):
    """The distance has a corner where two features are one; a mixed example of opposites has no direction."""
    x = np.array([[1, 0, 0, 0]] * 2 + [[-1, 0, 0, 0]] * 2 + [[0, 0, 0, 0]], "f")
    result = evaluate(MetrixLoss(num_classes=3, dim=4, kind=kind), PARAMS, x, np.array([0, 0, 1, 1, 1]))
    assert np.all(np.isfinite(result.by_features)) and np.isfinite(result.total)


def test_rotation_and_length_of_features_do_not_matter(x64, evaluate):
    x = np.random.default_rng(5).normal(size=(7, 4))
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))
    lengths = np.random.default_rng(4).uniform(0.5, 20, (7, 1))
    module = MetrixLoss(num_classes=3, dim=4)
    first, second = (evaluate(module, PARAMS, y, LABELS).output.regularizer for y in (x, lengths * x @ rotation))
    np.testing.assert_allclose(second, first, rtol=1e-9)


def test_positives_are_drawn_evenly():
    positives = np.array([[False, True, True, True, False]])
    keys = jax.random.split(jax.random.key(1), 4000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: metrix.drawn_positives(key, positives)[0]))(keys))
    np.testing.assert_allclose(drawn.mean(axis=0), [0, 1 / 3, 1 / 3, 1 / 3, 0], atol=5 * 0.47 / np.sqrt(4000))
