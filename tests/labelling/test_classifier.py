"""A classifier of one task against loops in NumPy, and with implants against the evaluation of the same task."""

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.data import ArrayExamples, DataInfo, Episodes, EpisodeSpec, normalize
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.implanted import FrozenNetwork, score_implanted
from fsjax.evaluation.few_shot.tasks import Bank
from fsjax.labelling import PROTOTYPES, Network, classifier
from fsjax.labelling.held_out import by_folds, first_copies
from fsjax.labelling.rejection import threshold_of
from fsjax.methods.implants import ImplantOptions
from fsjax.methods.rules import Rule
from fsjax.models import build_model

# By the run's own rule; the other heads are in test_heads.py.
fit_classifier = functools.partial(classifier.fit_classifier, head=PROTOTYPES)
NAMES = ("ant", "bee", "cat")
# Ragged: three, one and four pictures.
LABELS = np.array([0, 0, 0, 1, 2, 2, 2, 2])
RULES = [
    Rule("cosine", "gap", "gap", 7.0),
    Rule("squared_euclid", "gmp", "gmp", 0.5),
    Rule("euclid", "flatten", "flatten", 2.0),
    Rule("cosine", "gap", "gap", 7.0, unit_support=True),
    Rule("cosine", "gap", "dense", 7.0),
    Rule("euclid", "gap", "gap", 1.0, widths=(5, 7)),
]


@pytest.fixture(scope="module")
def images():
    """Support pictures of `LABELS` and five queries, each with a little of the colour of a class."""
    rng = np.random.default_rng(0)
    colours = rng.integers(90, 166, (3, 1, 1, 3))
    labels = np.concatenate([LABELS, [0, 1, 2, 1, 0]])
    noise = rng.normal(0, 50, (len(labels), 8, 8, 3))
    found = np.clip(colours[labels] + noise, 0, 255).astype(np.uint8)
    return found[: len(LABELS)], found[len(LABELS) :]


def numpy_features(images):
    """Blocks `[n, positions, dim]`, float64."""
    x = (images / 255 - 0.5) / 0.25
    blocks = [[[image[i : i + 2, j : j + 2].ravel() for i in range(0, 8, 2) for j in range(0, 8, 2)] for image in x]]
    return np.array(blocks[0])


def pooled(blocks, pool):
    """One picture's blocks `[positions, dim]`, reduced."""
    return {"gap": blocks.mean(0), "gmp": blocks.max(0), "flatten": blocks.ravel(), "dense": blocks}[pool]


def similarity(rule, a, b):
    """Of two vectors, without the scale."""
    if rule.similarity == "cosine":
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    parts = np.split(np.square(a - b), np.cumsum(rule.widths)[:-1]) if rule.widths else [np.square(a - b)]
    distance = sum(part.sum() ** (0.5 if rule.similarity == "euclid" else 1) for part in parts)
    return -distance


def by_hand(rule, support, labels, query, classes):
    """Scores and similarities of one query's blocks by those classes, from all support blocks."""
    vectors = [pooled(blocks, rule.support_pool) for blocks in support]
    if rule.unit_support:
        vectors = [v / np.linalg.norm(v) for v in vectors]
    means = [np.mean([v for v, label in zip(vectors, labels, strict=True) if label == c], axis=0) for c in classes]
    near = np.array([similarity(rule, pooled(query, rule.support_pool), mean) for mean in means])
    if rule.query_pool != "dense":
        return rule.tau * near, near
    shares = np.array([[np.exp(rule.tau * similarity(rule, p, mean)) for mean in means] for p in query])
    return np.log((shares / shares.sum(1, keepdims=True)).mean(0)), near


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.similarity}-{r.query_pool}-{r.unit_support}-{len(r.widths)}")
def test_prototypes_and_leaving_one_out_against_loops(pixel_network, images, rule):
    support, queries = images
    classifier = fit_classifier(pixel_network(rule), support, LABELS, NAMES)
    blocks, of_queries = numpy_features(support), numpy_features(queries)
    found = classifier.classify(queries, nearest=4)
    for i, query in enumerate(of_queries):
        scores, near = by_hand(rule, blocks, LABELS, query, range(3))
        shares = np.exp((scores - scores.max()) / classifier.temperature)
        np.testing.assert_allclose(found.probability[i], shares / shares.sum(), atol=1e-4)
        assert found.similarity[i] == pytest.approx(near.max(), rel=1e-4, abs=1e-4)
        own = pooled(query, rule.support_pool)
        to_each = np.array([similarity(rule, own, pooled(one, rule.support_pool)) for one in blocks])
        np.testing.assert_allclose(to_each[found.nearest[i]], np.sort(to_each)[::-1][:4], rtol=1e-4, atol=1e-4)
    held_out = classifier.held_out
    assert held_out.tested.tolist() == (LABELS != 1).tolist()  # the only bee cannot be spared
    for i, label in enumerate(LABELS):
        rest = np.arange(len(LABELS)) != i
        if label != 1:
            scores, near = by_hand(rule, blocks[rest], LABELS[rest], blocks[i], range(3))
            np.testing.assert_allclose(held_out.scores[i], scores, rtol=1e-3, atol=1e-4)
            assert held_out.known[i] == pytest.approx(near.max(), rel=1e-3, abs=1e-4)
        others = [c for c in range(3) if c != label]
        _, near = by_hand(rule, blocks, LABELS, blocks[i], others)
        assert held_out.unknown[i] == pytest.approx(near.max(), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("rule", RULES[3:5], ids=lambda r: r.query_pool)
def test_copies_are_left_out_together_and_count_once(pixel_network, images, rule):
    """All pictures three times: the same prototypes, so all is as without the copies."""
    once = fit_classifier(pixel_network(rule), images[0], LABELS, NAMES)
    thrice = fit_classifier(pixel_network(rule), np.concatenate([images[0]] * 3), np.tile(LABELS, 3), NAMES)
    held_out, found = once.held_out, thrice.held_out
    assert found.tested.tolist() == [*held_out.tested, *[False] * 16] and found.right == held_out.right
    np.testing.assert_allclose(found.scores[:8], held_out.scores, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.unknown[:8], held_out.unknown, rtol=1e-4, atol=1e-4)
    assert np.isnan(found.unknown[8:]).all()
    assert thrice.temperature == pytest.approx(once.temperature, rel=1e-3)
    threshold, expected = threshold_of(thrice, True), threshold_of(once, True)
    assert threshold.value == pytest.approx(expected.value, rel=1e-4)
    assert dataclasses.astuple(threshold)[1:] == dataclasses.astuple(expected)[1:]


def test_copies_are_in_one_fold():
    """Of classes of three and four different pictures, some of them twice: none is trained on that is left out."""
    pictures = np.array([0, 1, 2, 0, 3, 4, 5, 6, 6, 2])
    labels, seen = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 0]), []
    copies = first_copies(np.repeat(pictures[:, None].astype(np.uint8), 3, axis=1), labels)
    assert copies.tolist() == [0, 1, 2, 0, 4, 5, 6, 7, 7, 2]
    # A picture of another class is no copy.
    assert first_copies(np.zeros((2, 3), np.uint8), np.arange(2)).tolist() == [0, 1]
    features = {"gap": np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32)}
    widened = types.SimpleNamespace(
        trained=lambda kept: seen.append(kept), support_features=lambda implants, names: features
    )
    held_out = by_folds(widened, labels, 2, RULES[0], copies=copies)
    assert len(seen) == 3 and held_out.tested.tolist() == [copy == i for i, copy in enumerate(copies)]
    for kept in seen:
        assert not set(pictures[kept]) & set(pictures[~kept])
    np.testing.assert_array_equal(np.sum([~kept for kept in seen], axis=0), 1)
    assert by_folds(widened, labels[:4], 1, RULES[0], copies=np.array([0, 1, 0, 1])) is None


def test_images_are_normalised_a_batch_at_a_time(pixel_network, images, monkeypatch):
    sizes, network = [], pixel_network(RULES[0])  # four at once
    monkeypatch.setattr("fsjax.labelling.network.normalize", lambda x, info: sizes.append(len(x)) or normalize(x, info))
    network.features(np.concatenate([images[0], images[1][:2]]), ("gap",))
    assert sizes == [4, 4, 2]


def test_one_picture_a_class_has_the_methods_own_scale(pixel_network, images):
    rule = RULES[0]
    classifier = fit_classifier(pixel_network(rule), images[0][[0, 3, 4]], np.arange(3), NAMES)
    assert classifier.held_out is None and classifier.temperature == 1
    scores, _ = by_hand(
        rule, numpy_features(images[0][[0, 3, 4]]), np.arange(3), numpy_features(images[1][:1])[0], range(3)
    )
    found = classifier.classify(images[1][:1]).probability[0]
    np.testing.assert_allclose(found, np.exp(scores) / np.exp(scores).sum(), atol=1e-5)


def test_too_few(pixel_network, images):
    network = pixel_network(RULES[0])
    with pytest.raises(UserError, match="1 class: there must be at least two"):
        fit_classifier(network, images[0][:3], LABELS[:3], NAMES[:1])
    with pytest.raises(UserError, match="class 'cat' has 0 support pictures"):
        fit_classifier(network, images[0][:4], LABELS[:4], NAMES)
    with pytest.raises(UserError, match="class 'bee' has 1 support picture: implants learn by leaving one out"):
        fit_classifier(network, images[0], LABELS, NAMES, implants=ImplantOptions())


def test_activation_maps_are_hot_where_the_class_is(pixel_network):
    """A picture with one block of the class's kind, in the third row and the second column of blocks."""
    stripes = np.zeros((2, 2, 3), np.uint8)
    stripes[0] = 255
    support = np.stack([np.tile(stripes, (4, 4, 1)), np.tile(stripes[::-1], (4, 4, 1))])
    classifier = fit_classifier(pixel_network(RULES[0]), support, np.arange(2), ("down", "up"))
    image = np.full((1, 8, 8, 3), 128, np.uint8)
    image[0, 4:6, 2:4] = stripes
    (heat,) = classifier.activation_maps(image, np.array([0]))
    assert classifier.has_maps and heat.shape == (4, 4)
    assert np.unravel_index(heat.argmax(), heat.shape) == (2, 1)


@pytest.fixture(scope="module")
def small_resnet():
    """An untrained network of two stages, and 24 images of three classes."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), 8).astype(np.int32)
    colours = rng.integers(60, 196, (3, 1, 1, 3))
    images = np.clip(colours[labels] + rng.normal(0, 60, (24, 8, 8, 3)), 0, 255).astype(np.uint8)
    info = DataInfo("noise", NAMES, (8, 8, 3), {"train": 24}, (8,) * 3, (0.5,) * 3, (0.25,) * 3)
    encoder = build_model("resnet12", options={"widths": (3, 4)})
    variables = jax.jit(lambda x: encoder.init(jax.random.key(1), x, train=False))(jnp.zeros((1, 8, 8, 3)))

    def features(params, collections, x, names):
        raise AssertionError("with implants, features are of the widened network")

    method = types.SimpleNamespace(
        encoder=encoder, rule=lambda params: Rule("cosine", "gap", "dense", 3.0), features=features
    )
    params, collections = {"encoder": variables["params"], "loss": {}}, {"batch_stats": variables["batch_stats"]}
    return method, params, collections, images, labels, info


@pytest.mark.xla
def test_implants_are_those_of_the_evaluation_of_the_same_task(small_resnet):
    """The first task of a seed: the same hits; and those of training without a part have not seen it."""
    method, params, collections, images, labels, info = small_resnet
    # A large epsilon: AdamW would make steps of equal length of gradients that differ by rounding.
    options, shot = ImplantOptions(channels=2, steps=3, learning_rate=0.05, eps=1e-3), 3
    of_class = np.arange(24).reshape(3, 8)
    episodes = Episodes(
        np.arange(3, dtype=np.int32)[None],
        of_class[None, :, :shot].astype(np.int32),
        of_class[None, :, shot:].astype(np.int32),
        {"spec": str(EpisodeSpec(3, shot, 5)), "seed": 4, "start": 0},
    )
    frozen = FrozenNetwork(method, params, collections, ArrayExamples(images, labels), info, 8)
    bank = Bank.of({}, labels, NAMES, "the novel classes")
    rule = Rule("cosine", "gap", "dense", options.tau)
    (expected,) = score_implanted(
        frozen, bank, [rule], options=options, spec=EpisodeSpec(3, shot, 5), seed=4, tasks=1, episodes=episodes
    )
    support, queries = of_class[:, :shot].ravel(), of_class[:, shot:].ravel()
    network = Network(method, params, collections, info, batch_size=8)
    classifier = fit_classifier(network, images[support], labels[support], NAMES, implants=options, seed=4)
    found = classifier.classify(images[queries])
    hits = (found.probability.argmax(-1) == labels[queries]).reshape(3, 5).sum(1)
    np.testing.assert_array_equal(hits, expected.hits[0])
    assert 0 < hits.sum() < 15  # a task in which something is to be told apart
    # The widened network's features begin with the frozen one's.
    widened = classifier.network.features(images[queries], ("gap",))["gap"]
    variables = {"params": params["encoder"], **collections}
    plain = method.encoder.apply(variables, jnp.asarray(normalize(images[queries], info)), train=False)
    assert widened.shape == (15, 6)
    np.testing.assert_allclose(widened[:, :4], plain.embedding, rtol=1e-4, atol=1e-5)
    # Three of a class: three folds, the first of which leaves out the first of each class.
    held_out, kept = classifier.held_out, np.arange(9) % 3 != 0
    assert held_out.tested.all()
    changed = images[support].copy()
    changed[~kept] = 255 - changed[~kept]
    again = fit_classifier(network, changed, labels[support], NAMES, implants=options, seed=4).held_out
    assert not np.allclose(again.scores[~kept], held_out.scores[~kept])
    params_without = classifier.network.trained(kept)
    other = fit_classifier(network, changed, labels[support], NAMES, implants=options, seed=4).network.trained(kept)
    for a, b in zip(jax.tree.leaves(params_without), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
