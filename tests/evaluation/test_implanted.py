"""Tasks with implants against each task done by hand, whatever the chunks and wherever the activations are kept."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.data import ArrayExamples, DataInfo, EpisodeSpec, draw_episodes, normalize
from fsjax.errors import UserError
from fsjax.evaluation.few_shot import implanted
from fsjax.evaluation.few_shot.implanted import FrozenNetwork, check_spec, score_implanted
from fsjax.evaluation.few_shot.tasks import Bank
from fsjax.methods.implants import ImplantOptions, base_activations, implant_maps, train_implants
from fsjax.methods.rules import Rule
from fsjax.models import build_model

# A large epsilon: AdamW would make steps of equal length of gradients that differ by rounding.
OPTIONS = ImplantOptions(channels=2, steps=3, learning_rate=0.01, eps=1e-3)
SPEC = EpisodeSpec(3, 2, 3)
RAGGED = EpisodeSpec((2, 3), (2, 4), (1, 3))
SEED, TASKS = 6, 5
RULES = [
    Rule("cosine", "gap", "gap", 10.0),
    Rule("cosine", "gap", "dense", 10.0),
    Rule("squared_euclid", "gmp", "gmp", 1.0),
    Rule("cosine", "flatten", "flatten", 10.0, unit_support=True),
]

pytestmark = pytest.mark.xla  # its programs are what is tested

# Most of these tests' time is compilation, and the arrays are tiny.
FAST_COMPILE = {"xla_backend_optimization_level": 0}
fast_train = jax.jit(train_implants, static_argnames=("options", "num_ways"), compiler_options=FAST_COMPILE)
fast_maps = jax.jit(implant_maps, static_argnames="options", compiler_options=FAST_COMPILE)
fast_classify = jax.jit(
    implanted._adapt_and_classify.__wrapped__, static_argnames=("options", "rules"), compiler_options=FAST_COMPILE
)


@pytest.fixture(autouse=True)
def compile_fast(monkeypatch):
    monkeypatch.setattr(implanted, "_adapt_and_classify", fast_classify)


@pytest.fixture(scope="module")
def network():
    """An untrained network, its variables, and 40 images of four classes."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(4), 10)).astype(np.int32)
    colours = rng.integers(60, 196, (4, 1, 1, 3))
    images = np.clip(colours[labels] + rng.normal(0, 60, (40, 8, 8, 3)), 0, 255).astype(np.uint8)
    names = ("ant", "bee", "cat", "dog")
    info = DataInfo("noise", names, (8, 8, 3), {"train": 40}, (10,) * 4, (0.5,) * 3, (0.25,) * 3)
    encoder = build_model("resnet12", options={"widths": (3, 4)})
    variables = jax.jit(lambda x: encoder.init(jax.random.key(1), x, train=False))(jnp.zeros((1, 8, 8, 3)))
    return types.SimpleNamespace(
        method=types.SimpleNamespace(encoder=encoder),
        params={"encoder": variables["params"], "loss": {}},
        collections={"batch_stats": variables["batch_stats"]},
        examples=ArrayExamples(images, labels),
        info=info,
        bank=Bank.of({}, labels, names, "the novel classes"),
    )


def frozen(network, batch_size=16):
    parts = network.method, network.params, network.collections, network.examples, network.info
    return FrozenNetwork(*parts, batch_size)


def score(network, rules=RULES[:1], *, spec=SPEC, tasks=TASKS, options=OPTIONS, **more):
    common = {"spec": spec, "seed": SEED, "tasks": tasks, "options": options}
    return score_implanted(frozen(network), network.bank, rules, **common, **more)


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        for field in dataclasses.fields(a):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))


def one_by_one(network, spec):
    """The widened maps of each task, trained alone on its own images, as an archive of features for `looped`.

    Returns:
      Maps `[images, h, w, dim]` of all tasks' images one after the other, and their episodes.
    """
    encoder, variables = network.method.encoder, {"params": network.params["encoder"], **network.collections}
    activations = jax.jit(lambda images: base_activations(encoder, variables, images))
    drawn = draw_episodes(network.bank.table, spec, seed=SEED, start=0, count=TASKS)
    maps, episodes = [], {"classes": drawn.classes, "support": [], "query": []}
    for task in range(TASKS):
        support, query = drawn.support[task], drawn.query[task]
        images = normalize(network.examples.images[np.maximum(np.concatenate([support, query], 1), 0)].reshape(
            -1, 8, 8, 3), network.info).reshape(spec.max_way, -1, 8, 8, 3)  # fmt: skip
        of_support, of_query = (
            jax.tree.map(lambda x: x[None], activations(part.reshape(-1, 8, 8, 3)))
            for part in (images[:, : spec.max_shot], images[:, spec.max_shot :])
        )
        labels = np.repeat(np.arange(spec.max_way), spec.max_shot)[None]
        key = jax.random.fold_in(jax.random.key(SEED), task)[None]
        mask = (support >= 0).reshape(1, -1).astype(np.float32)
        trained = fast_train(of_support, labels, mask, key, options=OPTIONS, num_ways=spec.max_way)
        for name, part, index in (("support", of_support, support), ("query", of_query, query)):
            start = sum(map(len, maps))
            maps.append(np.asarray(fast_maps(*trained, part, options=OPTIONS)[0], np.float64))
            episodes[name].append(np.where(index >= 0, start + np.arange(index.size).reshape(index.shape), -1))
    return np.concatenate(maps), types.SimpleNamespace(**episodes)


@pytest.mark.parametrize("spec", [SPEC, RAGGED], ids=["regular", "ragged"])
def test_tasks_are_those_done_by_hand(network, by_hand, spec):
    maps, episodes = one_by_one(network, spec)
    assert maps.shape[-1] == 4 + OPTIONS.channels
    positions = maps.reshape(len(maps), -1, maps.shape[-1])
    features = {
        "gap": positions.mean(1),
        "gmp": positions.max(1),
        "flatten": maps.reshape(len(maps), -1),
        "dense": positions,
    }
    drawn = draw_episodes(network.bank.table, spec, seed=SEED, start=0, count=TASKS)
    for rule, scores in zip(RULES, score(network, RULES, spec=spec), strict=True):
        accuracy, correct, count = by_hand.looped(features, rule, episodes, 4)
        np.testing.assert_allclose(scores.accuracy, accuracy)
        np.testing.assert_array_equal(scores.correct, correct)
        np.testing.assert_array_equal(scores.count, count)
        assert scores.episodes == drawn.hash
    assert not np.allclose(features["gap"][:, :4], 0) and not np.allclose(features["gap"][:, 4:], 0)


@pytest.mark.slow
def test_several_rules_at_once_equal_one_at_a_time(network):
    assert_same(score(network, RULES)[:2], [score(network, [rule])[0] for rule in RULES[:2]])


@pytest.mark.slow
def test_the_frozen_network_stays_as_it_is(network):
    """In its variables, and in what the widened network says with the channels that it had before."""
    variables = (network.params, network.collections)
    before = jax.tree.map(lambda x: np.array(x).tobytes(), variables)
    images = normalize(network.examples.images[:8], network.info)
    weights = {"params": network.params["encoder"], **network.collections}
    plain = list(network.method.encoder.apply(weights, images, train=False).maps.values())[-1]
    score(network)
    support = jax.tree.map(lambda x: x[None], frozen(network)(np.arange(8)))
    labels, keys = np.arange(8)[None] % 2, jax.random.split(jax.random.key(1), 1)
    trained = fast_train(support, labels, np.ones((1, 8), np.float32), keys, options=OPTIONS, num_ways=2)
    widened = fast_maps(*trained, support, options=OPTIONS)[0]
    np.testing.assert_array_equal(widened[..., : plain.shape[-1]], support.output[0])
    np.testing.assert_allclose(widened[..., : plain.shape[-1]], plain, rtol=1e-5, atol=1e-6)
    assert jax.tree.map(lambda x: np.array(x).tobytes(), variables) == before


@pytest.mark.slow
def test_the_number_of_tasks_at_once_changes_nothing(network, monkeypatch):
    expected, sizes, at_once = score(network), [], 2
    monkeypatch.setitem(implanted._CHUNK_BYTES, "cpu", at_once * frozen(network).bytes_an_image * SPEC.rows)

    def counted(support, *rest, **options):
        sizes.append(len(support.inputs))
        return fast_classify(support, *rest, **options)

    monkeypatch.setattr(implanted, "_adapt_and_classify", counted)
    assert_same(score(network), expected)
    assert sizes == [2, 2, 2]  # the last one is filled up


def test_activations_may_be_computed_for_each_chunk(network, monkeypatch):
    expected = score(network)
    monkeypatch.setattr(implanted, "_KEPT_SHARE", 0)
    assert_same(score(network), expected)


def test_the_networks_activations_are_those_of_all_images_at_once(network, monkeypatch):
    images = normalize(network.examples.images, network.info)
    variables = {"params": network.params["encoder"], **network.collections}
    expected = base_activations(network.method.encoder, variables, images)
    index = np.array([[3, 39, 3], [0, 17, 39]])
    for kept in (implanted._KEPT_SHARE, 0):
        monkeypatch.setattr(implanted, "_KEPT_SHARE", kept)
        found = frozen(network, batch_size=7)(index)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[index], rtol=1e-5, atol=1e-6), found, expected)
    assert frozen(network).bytes_an_image == sum(x.nbytes for x in jax.tree.leaves(expected)) // 40


@pytest.mark.parametrize("kept", [True, False])
def test_images_go_through_the_frozen_network_once_where_they_are_kept(network, monkeypatch, kept):
    monkeypatch.setattr(implanted, "_KEPT_SHARE", 0.5 if kept else 0)
    of_split, rows = frozen(network), []
    encode = of_split._encode

    def counted(variables, images):
        rows.append(len(images))
        return encode(variables, images)

    of_split._encode = counted
    for _ in range(2):
        of_split(np.array([[1, 2, 2], [5, 1, 9]]))
    # Else the four images of a call, at each call.
    assert rows == [16, 16, 16] if kept else [16, 16]


def test_a_list_of_episodes_equals_drawn_ones(network):
    episodes = draw_episodes(network.bank.table, SPEC, seed=SEED, start=0, count=TASKS)
    assert_same(score(network, episodes=episodes), score(network))


def test_a_tasks_implants_depend_on_its_number_alone(network):
    (few,), (many,) = score(network, tasks=2), score(network)
    np.testing.assert_array_equal(few.accuracy, many.accuracy[:2])


@pytest.mark.parametrize("shot", [1, (1, 5)])
def test_one_shot_is_refused_with_the_reason(network, shot):
    spec = EpisodeSpec(3, shot, 3)
    words = r"implants cannot be trained on 3-way 1.*-shot 3-query tasks: they learn by leaving one support image out"
    with pytest.raises(UserError, match=words + r".*Eq\. 11.*take 2 shots or more, or evaluate without implants"):
        score(network, spec=spec)
    with pytest.raises(UserError, match=words):
        check_spec(spec)
    check_spec(dataclasses.replace(spec, shot=(2, 5)))
