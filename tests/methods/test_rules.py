"""Prototypes and scores against the vectors and loops in NumPy; which poolings go with which networks."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.losses.arithmetic.similarity import SIMILARITIES
from fsjax.methods.rules import (
    FEATURES,
    Rule,
    check_features,
    class_scores,
    features_of,
    mean_probability,
    own_pool,
    positions,
    prototypes,
)
from fsjax.models import Encoded, build_model

MAPS = np.random.default_rng(7).normal(size=(3, 2, 4, 5))


def similarity_loop(name, a, b, tau):
    if name == "cosine":
        return tau * (a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return -tau * ((a - b) ** 2).sum() ** (0.5 if name == "euclid" else 1.0)


def encoder(**options):
    return build_model("cnn", options={"stages": ((4,), (6,)), **options})


@pytest.mark.parametrize("name", ["proto_ce_cosine_tau1", "proto_ce_cosine_tau10", "proto_ce_sqeuclid"])
def test_prototypes_predict_as_the_vector(x64, vector, name):
    v = vector(name)
    support = v.inputs["support"].reshape(3, 3, 4)  # the vector's are sorted by class
    np.testing.assert_array_equal(v.inputs["support_labels"], np.repeat(np.arange(3), 3))
    classes = prototypes(support)
    np.testing.assert_allclose(classes, v.expected["prototypes"], rtol=1e-9)
    similarity = "squared_euclid" if name.endswith("sqeuclid") else "cosine"
    scores = class_scores(v.inputs["queries"], classes, similarity=similarity, tau=v.params.get("tau", 1.0))
    np.testing.assert_allclose(scores, v.expected["logits"], rtol=1e-9)
    if "accuracy" in v.expected:
        assert np.mean(np.argmax(scores, -1) == v.inputs["labels"]) == v.expected["accuracy"]


def test_dense_queries_give_the_vector(x64, vector):
    """Eq. 14 at three scales, and Eq. 13 with average and maximum pooling."""
    v = vector("dense_inference_eq14")
    maps, classes, expected = v.inputs["maps"], v.inputs["prototypes"], v.expected
    for tau in v.params["taus"]:
        scores = class_scores(maps, classes, similarity="cosine", tau=tau, dense=True)
        np.testing.assert_allclose(np.exp(scores), expected["probs"][str(tau)], rtol=1e-9)
        np.testing.assert_array_equal(np.argmax(scores, -1), expected["argmax"][str(tau)])
    for pool, queries in (("gap", maps.mean(1)), ("gmp", maps.max(1))):
        scores = class_scores(queries, classes, similarity="cosine", tau=1.0)
        np.testing.assert_allclose(scores, expected[f"{pool}_cosine"], rtol=1e-9)
        np.testing.assert_array_equal(np.argmax(scores, -1), expected[f"{pool}_argmax"])


@pytest.mark.parametrize("unit_support", [False, True])
def test_prototypes_are_means_of_the_real_images(x64, unit_support):
    rng = np.random.default_rng(0)
    support, real = rng.normal(size=(2, 3, 4, 5)), rng.uniform(size=(2, 3, 4)) < 0.6
    real[0, 0], real[1, 2] = True, False
    found = prototypes(support, real, unit_support=unit_support)
    assert found.shape == (2, 3, 5)
    for episode, way in np.ndindex(2, 3):
        rows = support[episode, way][real[episode, way]]
        rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True) if unit_support else rows
        expected = sum(rows, np.zeros(5)) / max(len(rows), 1)
        np.testing.assert_allclose(found[episode, way], expected, rtol=1e-9, atol=1e-12)
    everything = prototypes(support, np.ones((2, 3, 4), bool), unit_support=unit_support)
    np.testing.assert_allclose(prototypes(support, unit_support=unit_support), everything, rtol=1e-12)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_dense_scores_are_a_loop_over_positions(x64, similarity):
    rng = np.random.default_rng(1)
    queries, classes, tau = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 6, 5)), 1.7
    found = class_scores(queries, classes, similarity=similarity, tau=tau, dense=True)
    for episode, query in np.ndindex(2, 3):
        mean = np.zeros(6)
        for position in queries[episode, query]:
            e = np.exp([similarity_loop(similarity, position, c, tau) for c in classes[episode]])
            mean += e / e.sum() / 4
        np.testing.assert_allclose(np.exp(found[episode, query]), mean, rtol=1e-9)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_a_class_that_a_task_lacks_is_as_if_it_were_not_given(x64, similarity, dense):
    rng = np.random.default_rng(3)
    queries, classes = rng.normal(size=(2, 3, 4, 5) if dense else (2, 3, 5)), rng.normal(size=(2, 6, 5))
    present = np.array([[True] * 6, [True, False, True, True, False, False]])
    common = {"similarity": similarity, "tau": 1.7, "dense": dense}
    found = np.asarray(class_scores(queries, classes, present=present, **common))
    assert np.all(np.isfinite(found))
    for task, there in enumerate(present):
        expected = class_scores(queries[task], classes[task, there], **common)
        np.testing.assert_allclose(found[task][:, there], expected, rtol=1e-9)
        assert np.all(found[task][:, ~there] < -1e20)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_parts_of_a_vector_are_compared_for_themselves(x64, similarity):
    rng = np.random.default_rng(4)
    queries, classes = rng.normal(size=(3, 6)), rng.normal(size=(4, 6))
    found = class_scores(queries, classes, similarity=similarity, tau=1.7, widths=(1, 3, 2))
    for query, label in np.ndindex(3, 4):
        pairs = [(queries[query, part], classes[label, part]) for part in (slice(0, 1), slice(1, 4), slice(4, 6))]
        expected = sum(similarity_loop(similarity, *pair, 1.7) for pair in pairs)
        np.testing.assert_allclose(found[query, label], expected, rtol=1e-9)
    whole = class_scores(queries, classes, similarity=similarity, tau=1.7, widths=(6,))
    np.testing.assert_array_equal(whole, class_scores(queries, classes, similarity=similarity, tau=1.7))


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_one_position_is_pooling(x64, similarity):
    """With one position the mean probability is the softmax of the pooled query's similarities."""
    rng = np.random.default_rng(2)
    queries, classes = rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    pooled = np.asarray(class_scores(queries, classes, similarity=similarity, tau=3.0))
    dense = class_scores(queries[:, None], classes, similarity=similarity, tau=3.0, dense=True)
    e = np.exp(pooled)
    np.testing.assert_allclose(np.exp(dense), e / e.sum(-1, keepdims=True), rtol=1e-9)


def test_certain_positions_stay_finite():
    scores = mean_probability(jnp.array([[[1e4, 0.0, -1e4], [0.0, 1e4, -1e4]]]))
    np.testing.assert_allclose(scores[0, :2], np.log(0.5), rtol=1e-6)
    assert np.all(np.isfinite(scores))


def test_features_are_the_poolings_of_the_last_maps(x64):
    first = np.zeros((3, 4, 8, 2))
    encoded = Encoded(jnp.ones((3, 2)), {"stage1": jnp.asarray(first), "stage2": jnp.asarray(MAPS)})
    found = features_of(encoded, FEATURES)
    assert set(found) == set(FEATURES)
    np.testing.assert_array_equal(found["embedding"], 1.0)
    np.testing.assert_allclose(found["gap"], MAPS.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(found["gmp"], MAPS.max((1, 2)), rtol=1e-6)
    for n, row, column in np.ndindex(3, 2, 4):
        index = 4 * row + column
        np.testing.assert_allclose(found["dense"][n, index], MAPS[n, row, column], rtol=1e-6)
        np.testing.assert_allclose(found["flatten"][n, 5 * index : 5 * index + 5], MAPS[n, row, column], rtol=1e-6)


def test_half_precision_maps_become_float32():
    assert positions(jnp.ones((1, 2, 2, 3), jnp.bfloat16)).dtype == jnp.float32


def test_rule_lists_the_features_it_needs_once():
    assert Rule("cosine", "gap", "gap", 1.0).features == ("gap",)
    assert Rule("cosine", "gmp", "dense", 1.0).features == ("gmp", "dense")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("cosin", "gap", "gap", 1.0), "unknown similarity 'cosin'.*squared_euclid"),
        (("cosine", "gapp", "gap", 1.0), "unknown support pooling 'gapp'.*gmp"),
        (("cosine", "dense", "dense", 1.0), "unknown support pooling 'dense'; known: embedding"),
        (("cosine", "gap", "densest", 1.0), "unknown query pooling 'densest'.*dense"),
        (("cosine", "flatten", "gap", 1.0), "'flatten' makes longer vectors"),
        (("cosine", "gap", "flatten", 1.0), "'flatten' makes longer vectors"),
        (("cosine", "flatten", "dense", 1.0), "'flatten' makes longer vectors"),
        (("cosine", "gap", "gap", 0.0), "tau=0.0 .* above 0"),
        (("cosine", "gap", "gap", float("nan")), "tau=nan"),
    ],
)
def test_rules_that_cannot_be(fields, message):
    with pytest.raises(UserError, match=message):
        Rule(*fields)


def test_networks_that_end_with_their_maps_have_all_features():
    for pool in ("gap", "gmp", "flatten"):
        check_features(encoder(pool=pool), FEATURES)
        assert own_pool(encoder(pool=pool)) == pool


@pytest.mark.parametrize("options", [{"dim": 5}, {"hidden": (7,)}, {"prelu": True}])
def test_layers_after_the_maps_leave_the_embedding_alone(options):
    """The maps are then not what was trained: neither pooled nor densely classified."""
    network = encoder(**options)
    assert own_pool(network) == "embedding"
    check_features(network, ("embedding",))
    for name in FEATURES[1:]:
        with pytest.raises(UserError, match=f"pooling '{name}' reads the last feature maps.*use pooling 'embedding'"):
            check_features(network, (name,))


def test_unknown_features():
    with pytest.raises(UserError, match="unknown pooling 'maximum'"):
        check_features(encoder(), ("gap", "maximum"))


@pytest.mark.parametrize("pool", ["gap", "gmp", "flatten"])
def test_embedding_is_what_its_own_pool_says(make_method, jit, pool):
    """So that prototypes are means of what was trained."""
    method, params, collections = make_method("classification", model__cnn__pool=pool)
    images = np.random.default_rng(3).normal(size=(4, 8, 8, 1)).astype(np.float32)
    rule = method.rule(params)
    assert (rule.support_pool, rule.query_pool) == (pool, pool)
    names = ("embedding", *rule.features)
    found = jit(lambda p, x: method.features(p, collections, x, names))(params, images)
    for one, other in itertools.pairwise(names):
        np.testing.assert_array_equal(found[one], found[other])
