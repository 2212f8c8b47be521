"""The ICNN score against the vectors and a loop in NumPy; too few targets, points at one place, invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.losses.icnn import icnn_score, neighbourhoods

RNG = np.random.default_rng(3)
POINTS, LABELS = RNG.normal(size=(9, 4)) + np.repeat(np.eye(3, 4), 3, 0), np.repeat(np.arange(3), 3)
TARGETS, TARGET_LABELS = RNG.normal(size=(6, 4)), np.repeat(np.arange(3), 2)


def loop(points, labels, targets, target_labels, k, ipc, *, drop=1):
    """docs/readings.md, "SuSana Distancia", point by point, without the released code's epsilons of 1e-7."""
    few = k + 2 >= len(targets)
    k = len(targets) - 2 if few else k
    ipc = k + 1 if ipc is None else ipc
    same_means, diff_means, shares, far = [], [], [], []
    for x, y in zip(points, labels, strict=True):
        d = np.sqrt(((targets - x) ** 2).sum(1) + 1e-6)
        order = np.argsort(d)[drop : ipc + drop]
        d, same = d[order], target_labels[order] == y
        nearest = d[~same].min() if (~same).any() else np.inf
        d, same = d[:k], same[:k]
        u = d / nearest
        u = u / max(1.0, u.max())
        if same.any():
            same_means.append(u[same].mean())
        if (~same).any():
            diff_means.append(d[~same].mean())
            far.append(d[~same].max())
        shares.append(same.sum() / k)
    lambda_same = 1 - (np.mean(same_means) if same_means else 0.0)
    lambda_diff = np.mean(diff_means) / max(far) if far else 1.0
    gamma = 1.0 if few else np.mean(shares)
    return {
        "lambda_same": lambda_same, "lambda_diff": lambda_diff, "gamma": gamma,
        "score": ((lambda_same + lambda_diff) / 2 + gamma) / 2,
    }  # fmt: skip


@pytest.fixture(scope="module")
def score(jit):
    """`icnn_score`, compiled."""
    return jit(icnn_score, static_argnames=("k", "ipc", "drop_nearest"))


@pytest.mark.parametrize("name", ["icnn_support", "icnn_query_to_support", "icnn_full", "icnn_no_different_neighbour"])
def test_scores_are_the_vectors(x64, vector, score, name):
    v = vector(name)
    targets = (v.inputs.get("target"), v.inputs.get("target_labels"))
    found = score(v.inputs["x"], v.inputs["labels"], *targets, k=v.params["k"], ipc=v.params["ipc"])
    assert set(found) == set(v.expected)
    for part, expected in v.expected.items():
        np.testing.assert_allclose(found[part], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("own", "k", "ipc", "drop"),
    [(True, 4, None, True), (True, 2, 6, True), (True, 30, None, True), (False, 3, None, True), (False, 4, None, True),
     (False, 2, 4, False), (False, 5, 3, True)],
)  # fmt: skip
def test_scores_are_a_loop(x64, score, own, k, ipc, drop):
    targets = () if own else (TARGETS, TARGET_LABELS)
    found = score(POINTS, LABELS, *targets, k=k, ipc=ipc, drop_nearest=drop)
    expected = loop(POINTS, LABELS, *(targets or (POINTS, LABELS)), k, ipc, drop=int(drop))
    for part, value in expected.items():
        np.testing.assert_allclose(found[part], value, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found["loss"], -np.log(found["score"]), rtol=1e-12)


@pytest.mark.parametrize("own", [True, False])
def test_gradients_are_finite_differences(x64, own, jit, finite_differences):
    def loss(points, targets):
        return icnn_score(points, LABELS, *(() if own else (targets, TARGET_LABELS)), k=3)["loss"]

    gradients = jit(jax.grad(loss, argnums=(0, 1)))(POINTS, TARGETS)
    for gradient, expected in zip(gradients, finite_differences(loss, POINTS, TARGETS), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)
    assert np.abs(gradients[0]).max() > 0.01


def test_invariances(x64, score):
    """To order, rotation and place; to scale but for the epsilons."""
    expected = score(POINTS, LABELS)["score"]
    order = RNG.permutation(9)
    rotation, _ = np.linalg.qr(RNG.normal(size=(4, 4)))
    np.testing.assert_allclose(score(POINTS[order], LABELS[order])["score"], expected, rtol=1e-9)
    np.testing.assert_allclose(score(POINTS @ rotation + 3, LABELS)["score"], expected, rtol=1e-9)
    np.testing.assert_allclose(score(100 * POINTS, LABELS)["score"], expected, rtol=1e-5)
    # Renamed classes too.
    np.testing.assert_allclose(score(POINTS, 7 - LABELS)["score"], expected, rtol=1e-12)


def test_tighter_classes_score_higher(x64, score):
    centres = 10 * np.eye(3, 4)[np.repeat(np.arange(3), 6)]
    labels, noise = np.repeat(np.arange(3), 6), RNG.normal(size=(18, 4))
    scores = [float(score(centres + spread * noise, labels)["score"]) for spread in (5.0, 1.0, 0.1)]
    assert scores[0] < scores[1] <= scores[2] == pytest.approx(1.0)  # their 4 neighbours are all of the same class


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e4])
def test_points_at_one_place_have_finite_gradients(jit, own, scale):
    def loss(points, targets):
        return icnn_score(points, LABELS, *(() if own else (targets, TARGET_LABELS)))["loss"]

    points, targets = scale * jnp.ones((9, 4)), scale * jnp.ones((6, 4))
    value, gradients = jit(jax.value_and_grad(loss, argnums=(0, 1)))(points, targets)
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)


def test_a_point_is_dropped_as_itself_and_not_as_the_nearest(x64, score):
    """Pairs of points of one class at one place: each has the other as a neighbour at distance 1e-3, not itself."""
    points, labels = np.repeat(RNG.normal(size=(4, 3)), 2, 0), np.array([0, 0, 1, 1, 0, 0, 1, 1])
    moved = points + 1e-9 * RNG.normal(size=points.shape)
    found, nearby = score(points, labels, k=3), score(moved, labels, k=3)
    np.testing.assert_allclose(found["score"], nearby["score"], rtol=1e-5)


@pytest.mark.parametrize(
    ("targets", "k", "ipc", "expected"),
    [(9, 4, None, (4, 5, False)), (7, 4, None, (4, 5, False)), (6, 4, None, (4, 5, True)), (5, 4, None, (3, 4, True)),
     (3, 4, None, (1, 2, True)), (15, 4, 6, (4, 6, False))],
)  # fmt: skip
def test_neighbourhoods(targets, k, ipc, expected):
    assert tuple(neighbourhoods(targets, k=k, ipc=ipc)) == expected


@pytest.mark.parametrize(
    ("targets", "k", "ipc", "message"),
    [
        (2, 4, None, "at least 3 targets, and here are 2"),
        (9, 0, None, "icnn_k=0: the ICNN score needs at least 1"),
        (9, 4, 9, "icnn_ipc=9: with 9 targets.*from 1 to 8"),
        (9, 4, 0, "icnn_ipc=0"),
    ],
)
def test_what_cannot_be(targets, k, ipc, message):
    with pytest.raises(UserError, match=message):
        neighbourhoods(targets, k=k, ipc=ipc)
