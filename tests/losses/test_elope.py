"""ELoPE's embedding loss against the vector, and NumPy loops over centres and pairs."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fsjax.losses import elope
from fsjax.options import choices
from fsjax.options.losses import ElopeOptions

CLOSE = {"rtol": 1e-10, "atol": 1e-11}


@pytest.fixture
def vector_case(vector):
    """The vector's inputs, and a module with a classifier that says nothing, so that it has no gradient."""
    v = vector("embedding_loss_elope")
    x, labels, centers = v.inputs["features"], v.inputs["labels"], v.inputs["centers"]
    params = {"kernel": np.zeros((4, 3)), "bias": np.array([0.3, -0.2, 0.5])}
    options = {"max_pairs" if name == "num_samples" else name: value for name, value in v.params.items()}
    return v.expected, x, labels, centers, params, options


def by_hand(x, labels, centers, *, rate=0.5, margin=0.75, center_step="mean1"):
    """New centres, the intra loss of each example, and the penalty of each pair, one after the other."""
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    new = centers.copy()
    for k in set(labels.tolist()):
        members = [x[i] for i in range(len(x)) if labels[i] == k]
        delta = sum(centers[k] - member for member in members)
        moved = centers[k] - rate * (delta if center_step == "sum" else delta / (1 + len(members)))
        new[k] = moved / np.linalg.norm(moved)
    intra = np.array([np.sum((x[i] - new[labels[i]]) ** 2) / 2 for i in range(len(x))])
    pairs = {}
    for i, j in itertools.combinations(range(len(x)), 2):
        if labels[i] != labels[j]:
            pairs[i, j] = max(0, margin - np.sum((new[labels[i]] - new[labels[j]]) ** 2)) ** 2
    return new, intra, pairs


def random_case(seed=0, batch=7, classes=6, dim=3):
    """Features, labels of which the last class has none, centres of length 1, and a classifier."""
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(batch, dim)) + 0.7, rng.integers(0, classes - 1, batch)
    centers = rng.normal(size=(classes, dim)) + 1.0  # about one direction, so that pairs are active
    centers /= np.linalg.norm(centers, axis=-1, keepdims=True)
    params = {"kernel": rng.normal(size=(dim, classes)), "bias": rng.normal(size=classes)}
    return x, labels, centers, params


@pytest.mark.parametrize("center_step", choices(ElopeOptions, "center_step"))
@pytest.mark.parametrize("through", [True, False])
def test_gives_the_vector(x64, vector_case, evaluate, center_step, through):
    expected, x, labels, centers, params, options = vector_case
    found = expected[center_step]
    module = elope.ElopeLoss(num_classes=3, dim=4, center_step=center_step, grad_through_centers=through, **options)
    state = {"loss_state": {"centers": centers}}
    result = evaluate(module, params, x, labels, state=state)
    metrics = result.output.metrics
    np.testing.assert_allclose(metrics["intra"], found["intra"], **CLOSE)
    np.testing.assert_allclose(metrics["inter"], found["inter"], **CLOSE)
    assert metrics["active_pairs"] == found["active_pairs"]
    lam = options["lam"]
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(jnp.tile(params["bias"], (6, 1)), labels).mean()
    np.testing.assert_allclose(result.total - cross_entropy, lam * found["emb"], **CLOSE)
    name = "grad_raw_features" if through else "grad_raw_features_stopgrad_centers"
    np.testing.assert_allclose(result.by_features, lam * np.array(found[name]), **CLOSE)

    _, changed = module.apply({"params": params, **state}, x, labels, step=0, mutable=["loss_state"])
    np.testing.assert_allclose(changed["loss_state"]["centers"], found["centers_after"], **CLOSE)


@pytest.mark.parametrize("center_step", choices(ElopeOptions, "center_step"))
def test_is_the_loop_over_centres_and_pairs(x64, evaluate, center_step):
    x, labels, centers, params = random_case()
    new, intra, pairs = by_hand(x, labels, centers, center_step=center_step)
    assert 0 < sum(value > 0 for value in pairs.values()) < len(pairs)
    module = elope.ElopeLoss(num_classes=6, dim=3, lam=0.7, gamma=3.0, center_step=center_step)
    result = evaluate(module, params, x, labels, state={"loss_state": {"centers": centers}})
    logits = x @ params["kernel"] + params["bias"]
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(jnp.asarray(logits), labels)
    np.testing.assert_allclose(result.output.per_example, cross_entropy + 0.7 * intra, **CLOSE)
    np.testing.assert_allclose(result.output.regularizer, 0.7 * 3 * sum(pairs.values()) / (4 * 7 * 6), **CLOSE)
    stepped = elope.stepped_centers(
        x / np.linalg.norm(x, axis=-1, keepdims=True), labels, centers, rate=0.5, center_step=center_step
    )
    np.testing.assert_allclose(stepped, new, **CLOSE)
    np.testing.assert_array_equal(stepped[5], centers[5])  # of no example: not even rounded
    np.testing.assert_allclose(np.linalg.norm(stepped, axis=-1), 1, rtol=1e-10)


def test_pairs_are_counted_once_and_only_of_different_classes(x64):
    _, labels, centers, _ = random_case()
    penalties = np.asarray(elope.pair_penalties(jnp.asarray(labels), centers, margin=0.75))
    for i, j in np.ndindex(penalties.shape):
        squared = np.sum((centers[labels[i]] - centers[labels[j]]) ** 2)
        expected = max(0, 0.75 - squared) ** 2 if i < j and labels[i] != labels[j] else 0
        np.testing.assert_allclose(penalties[i, j], expected, **CLOSE)


def test_no_pair_is_dropped_while_there_are_no_more_than_are_drawn(jit):
    """Both cases of S = min(max_pairs, B (B - 1)), with more and with fewer active pairs than S."""
    active = np.zeros((9, 9), np.float32)
    places = list(zip(*np.triu_indices(9, 1), strict=True))[::5]  # 8 of the 36 pairs
    for value, place in enumerate(places, 1):
        active[place] = value
    loss = jit(elope.inter_class_loss, static_argnames="max_pairs")
    keys = [jax.random.key(seed) for seed in range(20)]
    for max_pairs, divisor in ((256, 72), (72, 72), (71, 71), (9, 9), (8, 8)):  # 72 = 9 * 8: all pairs, twice
        for key in keys[:3]:
            np.testing.assert_allclose(loss(active, key, max_pairs=max_pairs), 36 / (4 * divisor), rtol=1e-6)
    sums = {sum(drawn) for drawn in itertools.combinations(range(1, 9), 3)}
    found = [float(loss(active, key, max_pairs=3)) * 12 for key in keys]
    assert len(set(found)) > 5 and {round(value) for value in found} <= sums
    np.testing.assert_allclose(found, np.round(found), atol=1e-4)


def test_pairs_are_drawn_alike_and_never_twice(jit):
    penalties = jnp.array([0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 5.0, 0.0])
    draw = jit(jax.vmap(lambda key: elope.drawn_pairs(penalties, key, count=2)))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 5000)))
    assert np.all(drawn > 0) and np.all(drawn[:, 0] != drawn[:, 1])
    shares = [np.mean(np.any(drawn == value, axis=1)) for value in range(1, 6)]
    np.testing.assert_allclose(shares, 0.4, atol=5 * np.sqrt(0.4 * 0.6 / 5000))
    few = np.sort(elope.drawn_pairs(penalties, jax.random.key(1), count=7))
    np.testing.assert_array_equal(few, [0, 0, 1, 2, 3, 4, 5])


def test_the_draw_follows_from_the_step(evaluate):
    x, labels, centers, params = random_case(batch=12)
    state = {"loss_state": {"centers": centers.astype("f")}}
    module = elope.ElopeLoss(num_classes=6, dim=3, max_pairs=4)
    _, _, pairs = by_hand(x, labels, centers)
    assert sum(value > 0 for value in pairs.values()) > 8

    def inter(step):
        return float(evaluate(module, params, x, labels, step=jnp.int32(step), state=state).output.metrics["inter"])

    values = [inter(step) for step in range(6)]
    assert len(set(values)) > 1 and values == [inter(step) for step in range(6)]


@pytest.mark.parametrize("max_pairs", [256, 5])
def test_gradients_are_finite_differences(x64, evaluate, finite_differences, max_pairs):
    x, labels, centers, params = random_case(seed=3)
    state = {"loss_state": {"centers": centers}}
    module = elope.ElopeLoss(num_classes=6, dim=3, max_pairs=max_pairs)
    result = evaluate(module, params, x, labels, step=3, state=state)
    assert result.output.metrics["active_pairs"] > 5

    def total(x, kernel):
        output = module.apply({"params": params | {"kernel": kernel}, **state}, x, labels, step=3)
        return jnp.mean(output.per_example) + output.regularizer

    by_features, by_kernel = finite_differences(total, x, params["kernel"])
    np.testing.assert_allclose(result.by_features, by_features, atol=1e-7)
    np.testing.assert_allclose(result.by_params["kernel"], by_kernel, atol=1e-7)


def test_without_the_way_through_the_centres_only_intra_has_a_gradient(x64, evaluate):
    x, labels, centers, params = random_case(seed=3)
    state = {"loss_state": {"centers": centers}}
    gradients = [
        evaluate(
            elope.ElopeLoss(num_classes=6, dim=3, gamma=gamma, grad_through_centers=through),
            params, x, labels, state=state,
        ).by_features
        for through in (False, True) for gamma in (0.0, 16.0)
    ]  # fmt: skip
    np.testing.assert_array_equal(gradients[0], gradients[1])
    assert np.abs(gradients[2] - gradients[3]).max() > 1e-3


def test_centres_start_on_the_sphere_and_stay_there_unless_mutable(jit):
    x, labels, _, _ = random_case()
    module = elope.ElopeLoss(num_classes=6, dim=3)
    init = jit(lambda key: module.init(key, x, labels, step=0))
    first, again, other = (init(jax.random.key(seed)) for seed in (0, 0, 1))
    centers = first["loss_state"]["centers"]
    np.testing.assert_allclose(np.linalg.norm(centers, axis=-1), 1, rtol=1e-6)
    np.testing.assert_array_equal(centers, again["loss_state"]["centers"])
    assert np.abs(centers - other["loss_state"]["centers"]).max() > 0.1
    kept = jit(lambda: module.apply(first, x, labels, step=5))()
    moved, changed = jit(lambda: module.apply(first, x, labels, step=5, mutable=["loss_state"]))()
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), kept, moved)
    assert np.abs(changed["loss_state"]["centers"] - centers).max() > 0.01


def test_a_class_far_from_the_others_feels_no_inter_loss(evaluate):
    """Limiting cases: features on their own centre have no intra loss, opposite centres no inter loss."""
    centers = np.array([[1, 0], [-1, 0]], np.float32)
    params = {"kernel": np.zeros((2, 2), "f"), "bias": np.zeros(2, "f")}
    module = elope.ElopeLoss(num_classes=2, dim=2)
    state = {"loss_state": {"centers": centers}}
    result = evaluate(module, params, 7 * centers[[0, 1, 1]], jnp.array([0, 1, 1]), state=state)
    np.testing.assert_allclose(result.output.per_example, np.log(2), rtol=1e-6)
    assert result.output.regularizer == 0 and result.output.metrics["active_pairs"] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"center_step": "mean"}, "center_step='mean'.*'mean1', 'sum'"),
        ({"grad_through_centers": "no"}, "grad_through_centers='no'"),
        ({"gamma": -1.0}, "gamma=-1.0"),
        ({"center_rate": float("nan")}, "center_rate=nan"),
        ({"max_pairs": 0}, "max_pairs=0"),
        ({"max_pairs": 2.5}, "max_pairs=2.5.*whole number"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        elope.ElopeLoss(num_classes=3, dim=2, **options)
