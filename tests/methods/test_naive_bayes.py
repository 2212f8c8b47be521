"""Naive Bayes against the vector and NumPy; batches against all at once, and tasks against fits of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.methods.naive_bayes import VARIANCE_EPSILON, GaussianNaiveBayes, task_scores
from fsjax.methods.rules import Rule

RNG = np.random.default_rng(0)
LABELS = RNG.permutation(np.repeat(np.arange(4), [3, 9, 1, 12]))
FEATURES = RNG.normal(size=(25, 5)) + 100 + LABELS[:, None]


def by_hand(features, labels, queries, num_classes, *, shrinkage=0.0):
    """Log joint densities up to a common term, class by class; `None` for a class without examples."""
    there = [features[labels == k] for k in range(num_classes)]
    variance = sum(len(x) / len(features) * (x.var(0) + VARIANCE_EPSILON) for x in there if len(x))
    variance = (1 - shrinkage) * variance + shrinkage * variance.mean()
    return [
        np.log(len(x) / len(features)) - 0.5 * ((queries - x.mean(0)) ** 2 / variance).sum(1) if len(x) else None
        for x in there
    ]


@pytest.fixture(scope="module")
def fit(jit):
    """`GaussianNaiveBayes.fit`, compiled: otherwise each of its operations is, for each shape."""
    return jit(GaussianNaiveBayes.fit, static_argnames="num_classes")


@pytest.fixture(scope="module")
def scores_of(jit):
    return jit(task_scores, static_argnames="shrinkage")


def test_everything_is_the_vectors(x64, vector, fit):
    v = vector("gaussian_naive_bayes_head")
    head = fit(v.inputs["X"], v.inputs["labels"], num_classes=3)
    assert v.params["var_eps"] == VARIANCE_EPSILON
    weight, bias = head.as_linear()
    scores = head.scores(v.inputs["X_test"])
    found = {
        "means": head.means, "pooled_var": head.variance, "priors": head.priors, "linear_weight": weight,
        "linear_bias": bias, "predictions": np.argmax(scores, -1), "logits_up_to_common_term": scores,
    }  # fmt: skip
    assert found.keys() == v.expected.keys()
    for name, expected in v.expected.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("sizes", [(25,), (1, 24), (10, 10, 5), (5,) * 5])
def test_batches_give_what_all_at_once_does(x64, jit, fit, sizes):
    """Also where a batch lacks classes, and with padding whose features are anything."""
    expected = fit(FEATURES, LABELS, num_classes=5)
    update, head, start = jit(GaussianNaiveBayes.update), None, 0
    for size in sizes:
        rows = slice(start, start + size)
        x = np.concatenate([FEATURES[rows], np.full((2, 5), -1e6)])
        y, weights = np.concatenate([LABELS[rows], [0, 3]]), np.r_[np.ones(size), 0, 0]
        if head is None:
            head = fit(x, y, num_classes=5, weights=weights)
        else:
            head = update(head, x, y, weights=weights)
        start += size
    for one, other in zip(jax.tree.leaves(head), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_no_examples_change_nothing(x64, fit):
    zeros = np.zeros((4, 5))
    empty, some = GaussianNaiveBayes(zeros[:, 0], zeros, zeros), fit(FEATURES, LABELS, num_classes=4)
    for merged in (empty.merge(some), some.merge(empty)):
        for one, other in zip(jax.tree.leaves(merged), jax.tree.leaves(some), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)


def test_scores_are_log_densities_and_a_linear_layers(x64, fit):
    queries = RNG.normal(size=(7, 5)) + 102
    head = fit(FEATURES, LABELS, num_classes=5)
    scores = head.scores(queries)
    for label, expected in enumerate(by_hand(FEATURES, LABELS, queries, 5)):
        if expected is None:
            assert np.all(np.asarray(scores[:, label]) == -np.inf)
        else:
            np.testing.assert_allclose(scores[:, label], expected, rtol=1e-9)
    weight, bias = fit(FEATURES, LABELS, num_classes=4).as_linear()
    difference = scores[:, :4] - (queries @ weight.T + bias)
    np.testing.assert_allclose(difference, np.repeat(difference[:, :1], 4, 1), rtol=1e-9)


def test_far_from_the_origin_float32_keeps_its_digits(fit):
    """Sums of squares around 1e8 would leave no digit of variances around 1."""
    shifted = (FEATURES + 1e4).astype(np.float32)
    head = fit(shifted[:10], LABELS[:10], num_classes=4).merge(fit(shifted[10:], LABELS[10:], num_classes=4))
    exact = fit(FEATURES.astype(np.float32), LABELS, num_classes=4)
    np.testing.assert_allclose(head.variance, exact.variance, rtol=0.01)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
def test_each_task_is_fitted_on_its_own_support(x64, shrinkage, scores_of):
    support, queries = RNG.normal(size=(2, 3, 4, 5)), RNG.normal(size=(2, 6, 5))
    real = np.array([[[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]], bool)
    found = scores_of(queries, support, real, shrinkage=shrinkage)
    rule = Rule("cosine", "gap", "gap", 1.0, head="naive_bayes", shrinkage=shrinkage)
    by_rule = np.asarray(rule.task_scores(queries, support, real))
    for task in range(2):
        way, shot = np.nonzero(real[task])
        expected = by_hand(support[task, way, shot], way, queries[task], 3, shrinkage=shrinkage)
        for label, scores in enumerate(expected):
            if scores is None:
                assert np.all(by_rule[task, :, label] < -1e20)
            else:
                np.testing.assert_allclose(found[task, :, label], scores, rtol=1e-9)
                np.testing.assert_allclose(by_rule[task, :, label], scores, rtol=1e-9)


@pytest.mark.parametrize("shrinkage", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shot", [1, 4])
def test_where_it_is_the_nearest_prototype(scores_of, shot, shrinkage):
    """With one shot, for there are no variances; with full shrinkage, for they are equal. Priors are equal."""
    rng = np.random.default_rng(0)
    support, queries = (rng.normal(size=s).astype(np.float32) for s in ((3, 5, shot, 8), (3, 20, 8)))
    real = np.ones((3, 5, shot), bool)
    found = np.argmax(scores_of(queries, support, real, shrinkage=shrinkage), -1)
    nearest = Rule("squared_euclid", "gap", "gap", 1.0).task_scores(queries, support, real)
    same = found == np.argmax(nearest, -1)
    assert same.all() if shot == 1 or shrinkage == 1.0 else not same.all()


def test_a_dimension_that_is_zero_in_the_support_does_not_decide_alone_once_shrunk(scores_of):
    """As a channel behind a ReLU may be: the query is the first class's but for that channel, where it is 0.1."""
    support = np.array([[[1.0, 0.0, 0.0], [1.2, 0.1, 0.0]], [[0.0, 1.0, 0.0], [0.1, 1.2, 0.0]]], np.float32)
    support[1, :, 2] = 1e-3
    scores = [
        np.asarray(scores_of(jnp.array([[1.1, 0.0, 0.1]]), support, np.ones((2, 2), bool), shrinkage=s))
        for s in (0.0, 0.5)
    ]
    assert [int(s.argmax()) for s in scores] == [1, 0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head": "naive"}, "unknown head 'naive'; known: naive_bayes, prototypes"),
        ({"head": "naive_bayes", "shrinkage": 1.5}, "shrinkage=1.5 of the variances must be from 0 to 1"),
        ({"shrinkage": 0.5}, "shrinkage=0.5 is of the variances of naive Bayes"),
        ({"head": "naive_bayes", "query_pool": "dense"}, "pooling gap/dense: naive Bayes.*take gap/gap"),
    ],
)
def test_heads_that_cannot_be(fields, message):
    with pytest.raises(UserError, match=message):
        Rule(**{"similarity": "cosine", "support_pool": "gap", "query_pool": "gap", "tau": 1.0, **fields})
