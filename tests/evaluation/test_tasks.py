"""Tasks over features against a loop in NumPy over the episodes that `fsjax.data` draws."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.data import DataError, EpisodeSpec, class_table, draw_episodes
from fsjax.evaluation.few_shot import tasks
from fsjax.evaluation.few_shot.joint import score_joint_tasks
from fsjax.evaluation.few_shot.tasks import Bank, in_groups, score_tasks, scored_chunks
from fsjax.methods.rules import Rule

SPECS = [EpisodeSpec(6, 3, 4), EpisodeSpec(3, 1, 2), EpisodeSpec((2, 5), (1, 4), (2, 5))]
RULES = [
    Rule("cosine", "gap", "gap", 10.0),
    Rule("cosine", "gap", "gap", 10.0, unit_support=True),
    Rule("squared_euclid", "gap", "gap", 1.0),
    Rule("cosine", "gmp", "gap", 10.0),
    Rule("cosine", "flatten", "flatten", 10.0),
    Rule("cosine", "gap", "dense", 10.0),
    Rule("cosine", "gmp", "dense", 3.0),
    Rule("squared_euclid", "gap", "dense", 0.5, unit_support=True),
]


@pytest.fixture(scope="module")
def bank(make_bank):
    return make_bank()[0]


@pytest.fixture(scope="module")
def base(make_bank):
    return make_bank([9, 8, 12, 10, 9, 9, 15, 8, 11, 10], seed=1, where="the base classes")[0]


def assert_scores(scores, expected, episodes):
    accuracy, correct, count = expected
    assert scores.accuracy.dtype == np.float64
    np.testing.assert_allclose(scores.accuracy, accuracy, rtol=1e-12)
    np.testing.assert_array_equal(scores.correct, correct)
    np.testing.assert_array_equal(scores.count, count)
    np.testing.assert_array_equal(scores.classes, episodes.classes)
    np.testing.assert_array_equal(scores.queries, (episodes.query >= 0).sum(2))
    np.testing.assert_allclose(scores.hits.sum(1) / scores.queries.sum(1), accuracy)
    assert scores.classes.dtype == np.int32 and scores.hits.dtype == scores.queries.dtype == np.int64
    assert scores.hits.sum() == correct.sum()


@pytest.mark.parametrize(
    ("spec", "rules"),
    [(SPECS[0], RULES), (SPECS[2], RULES), (SPECS[1], RULES[:1])],
    ids=["all classes", "ragged", "1-shot"],
)
def test_scores_are_the_looped_ones(bank, by_hand, spec, rules):
    found = score_tasks(bank, rules, spec=spec, seed=7, tasks=37)
    episodes = draw_episodes(bank.table, spec, seed=7, start=0, count=37)
    for rule, scores in zip(rules, found, strict=True):
        assert_scores(scores, by_hand.looped(bank.features, rule, episodes, 6), episodes)
        assert scores.episodes == episodes.hash


def test_rules_differ(bank):
    """Else the test above would tell little."""
    found = score_tasks(bank, RULES, spec=SPECS[0], seed=7, tasks=37)
    assert len({scores.accuracy.tobytes() for scores in found}) == len(RULES)


@pytest.mark.parametrize("total", [1024, 1025, 2500])
def test_chunks_of_tasks_join_without_a_seam(bank, by_hand, total):
    spec, rule = SPECS[2], RULES[0]
    (scores,) = score_tasks(bank, [rule], spec=spec, seed=3, tasks=total)
    episodes = draw_episodes(bank.table, spec, seed=3, start=0, count=total)
    assert scores.episodes == episodes.hash
    assert_scores(scores, by_hand.looped(bank.features, rule, episodes, 6), episodes)


@pytest.mark.parametrize(("spec", "total"), [(SPECS[0], 37), (SPECS[2], 1500)], ids=["regular", "ragged"])
def test_a_list_of_episodes_equals_drawn_ones(bank, spec, total):
    episodes = dataclasses.replace(draw_episodes(bank.table, spec, seed=2, start=0, count=total), facts={})
    drawn = score_tasks(bank, RULES[:1], spec=spec, seed=2, tasks=total)
    # The number and the seed of drawn tasks are not read where there is a list.
    listed = score_tasks(bank, RULES[:1], spec=spec, seed=99, tasks=5, episodes=episodes)
    for a, b in zip(drawn, listed, strict=True):
        for field in dataclasses.fields(a):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))


def test_a_seed_is_its_own_and_the_first_tasks_do_not_depend_on_their_number(bank):
    few, many, other = (
        score_tasks(bank, RULES[:1], spec=SPECS[0], seed=seed, tasks=count)[0]
        for seed, count in ((2**40 + 1, 20), (2**40 + 1, 1100), (1, 20))
    )
    np.testing.assert_array_equal(few.accuracy, many.accuracy[:20])
    assert few.episodes != other.episodes
    assert few.accuracy.tolist() != other.accuracy.tolist()


def test_perfect_features_are_always_right_and_useless_ones_at_chance():
    labels = np.repeat(np.arange(8), 20)
    rng = np.random.default_rng(0)
    features = {"gap": np.eye(8, dtype=np.float32)[labels], "gmp": rng.normal(size=(160, 4))}
    bank = Bank.of(features, labels, tuple("abcdefgh"), "the novel classes")
    rules = [Rule("cosine", pool, pool, 1.0) for pool in ("gap", "gmp")]
    perfect, useless = score_tasks(bank, rules, spec=EpisodeSpec(5, 1, 10), seed=0, tasks=2000)
    assert perfect.accuracy.min() == 1
    np.testing.assert_array_equal(perfect.correct, perfect.count)
    assert abs(useless.accuracy.mean() - 0.2) < 4 * useless.accuracy.std() / 2000**0.5


def test_classes_that_cannot_make_the_tasks_are_named(bank):
    with pytest.raises(
        DataError, match="class 'class 1' of the novel classes has 9 images; 5-shot episodes with 5 queries need 10"
    ):
        score_tasks(bank, RULES[:1], spec=EpisodeSpec(5, 5, 5), seed=0, tasks=1)
    with pytest.raises(DataError, match=r"6 classes \(the novel classes\) cannot make 7-way episodes"):
        score_tasks(bank, RULES[:1], spec=EpisodeSpec(7, 1, 1), seed=0, tasks=1)


# --- Queries of novel and of base classes together.


@pytest.mark.parametrize(
    ("spec", "rule"),
    [(SPECS[0], RULES[0]), (SPECS[2], RULES[0]), (SPECS[0], RULES[2]), (SPECS[2], RULES[5])],
    ids=["cosine", "ragged", "euclid", "ragged dense"],
)
def test_joint_scores_are_the_looped_ones(bank, base, by_hand, spec, rule):
    weights = np.stack([np.asarray(base.features["gap"])[base.table.order[s]] for s in base.table.start])
    found = score_joint_tasks(bank, base, jnp.asarray(weights), rule, spec=spec, seed=5, tasks=37)
    episodes = draw_episodes(bank.table, spec, seed=5, start=0, count=37)
    base_spec = dataclasses.replace(spec, shot=1)
    base_episodes = draw_episodes(base.table, base_spec, seed=5, start=0, count=37)
    expected = by_hand.jointly_looped(bank.features, base.features, weights, rule, episodes, base_episodes)
    assert set(found) == set(expected)
    for name, accuracy in expected.items():
        np.testing.assert_allclose(found[name].accuracy, accuracy, rtol=1e-12)
    assert 0 < expected["both"].mean() < 1
    assert found["novel"].episodes == episodes.hash
    assert found["base"].episodes == base_episodes.hash
    assert found["both"].episodes == f"{episodes.hash}+{base_episodes.hash}"


def test_joint_counts_are_those_of_base_classes_then_novel_ones(bank, base):
    spec, total = SPECS[2], 1100
    weights = base.features["gap"][base.table.order[base.table.start]]
    found = score_joint_tasks(bank, base, weights, RULES[0], spec=spec, seed=5, tasks=total)
    queries = {}
    for name, table, one in (("novel", bank.table, spec), ("base", base.table, dataclasses.replace(spec, shot=1))):
        episodes = draw_episodes(table, one, seed=5, start=0, count=total)
        queries[name] = np.bincount(
            np.repeat(episodes.classes, episodes.query.shape[-1])[(episodes.query >= 0).ravel()],
            minlength=len(table.count),
        )
        assert found[name].episodes == episodes.hash
        np.testing.assert_array_equal(found[name].count, queries[name])
    both = found["both"]
    np.testing.assert_array_equal(both.count, np.concatenate([queries["base"], queries["novel"]]))
    np.testing.assert_array_equal(both.correct, np.concatenate([found[name].correct for name in ("base", "novel")]))
    assert len(both.accuracy) == len(found["base"].accuracy) == total


def test_base_classes_only_make_novel_queries_harder(bank, base):
    """Every novel query that is right among all classes is right among the task's own."""
    weights = base.features["gap"][base.table.order[base.table.start]]
    joint = score_joint_tasks(bank, base, weights, RULES[0], spec=SPECS[0], seed=5, tasks=200)
    (alone,) = score_tasks(bank, RULES[:1], spec=SPECS[0], seed=5, tasks=200)
    assert np.all(joint["novel"].accuracy <= alone.accuracy)
    far = score_joint_tasks(bank, base, -1e3 * weights, RULES[2], spec=SPECS[0], seed=5, tasks=200)
    (alone,) = score_tasks(bank, RULES[2:3], spec=SPECS[0], seed=5, tasks=200)
    np.testing.assert_array_equal(far["novel"].accuracy, alone.accuracy)
    assert far["base"].accuracy.max() == 0


def test_base_classes_that_cannot_make_the_tasks_are_named(bank, base):
    weights = base.features["gap"][: len(base.class_names)]
    with pytest.raises(DataError, match="class 'class 1' of the base classes has 8 images; 1-shot episodes with 8 "):
        score_joint_tasks(bank, base, weights, RULES[0], spec=EpisodeSpec(5, 1, 8), seed=0, tasks=1)


# --- Groups and memory.


@pytest.mark.parametrize("bytes_a_task", [1, 4 * 2**20 // 3, 4 * 2**20, 2**40])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_groups_of_any_size_give_the_same(count, bytes_a_task):
    x, y = np.arange(count * 6.0).reshape(count, 2, 3), np.arange(count) - 1
    sizes = []

    def function(part):
        sizes.append(part[0].shape[0])
        return {"sum": part[0].sum((1, 2)) * part[1], "same": part[0]}

    found = in_groups(function, (x, y), bytes_a_task)
    np.testing.assert_allclose(found["sum"], x.sum((1, 2)) * y)
    np.testing.assert_allclose(found["same"], x)
    assert sizes[0] == min(count, max(1, 4 * 2**20 // bytes_a_task))


@pytest.fixture(scope="module")
def wide():
    """A bank of 512-d features and maps of four positions, and the indices of tasks over it."""
    labels = np.repeat(np.arange(6), 25)
    rng = np.random.default_rng(0)
    features = {"gap": rng.normal(size=(150, 512)), "dense": rng.normal(size=(150, 4, 512))}
    return Bank.of({k: v.astype(np.float32) for k, v in features.items()}, labels, tuple("abcdef"), "")


@pytest.mark.xla
@pytest.mark.parametrize("pool", ["gap", "dense"])
def test_features_of_all_tasks_are_never_there_at_once(wide, pool):
    rule, spec = Rule("cosine", "gap", pool, 1.0), EpisodeSpec(5, 5, 15)
    features = wide.features["gap"], wide.features[pool]

    def temporary(count):
        episodes = draw_episodes(wide.table, spec, seed=0, start=0, count=count)
        lowered = tasks._head.lower(features, 1.0, episodes.support, episodes.query, rule=rule)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    few, many = temporary(128), temporary(1024)
    a_task = 4 * 512 * (25 + 75 * (4 if pool == "dense" else 1))
    # Between 128 and 1,024 tasks there are 900 more of indices and of answers, but none of features.
    assert many - few < 0.02 * (1024 - 128) * a_task
    assert many < 0.25 * 1024 * a_task


def test_tasks_are_drawn_and_classified_by_the_chunk(wide):
    seen = []

    def classify(start, classes, support, query):
        seen.append((start, classes.shape, support.shape, query.shape))
        return [np.ones(query.shape, bool)]

    (scores,) = scored_chunks(wide, classify, 1, spec=EpisodeSpec(5, 5, 15), seed=0, tasks=2500)
    shapes = ((1024, 5), (1024, 5, 5), (1024, 5, 15))
    assert seen == [(start, *shapes) for start in (0, 1024, 2048)]
    assert len(scores.accuracy) == 2500 and scores.accuracy.min() == 1
    assert scores.count.sum() == 2500 * 75


@pytest.mark.xla
def test_other_seeds_and_numbers_of_tasks_compile_nothing_new(wide):
    rule, spec = Rule("cosine", "gap", "gap", 1.0), EpisodeSpec(5, 1, 3)
    score_tasks(wide, [rule], spec=spec, seed=0, tasks=1024)
    before = tasks._head._cache_size(), tasks._draw._cache_size()
    score_tasks(wide, [dataclasses.replace(rule, tau=2.0)], spec=spec, seed=1, tasks=2049)
    assert (tasks._head._cache_size(), tasks._draw._cache_size()) == before


def test_a_bank_knows_its_classes(make_bank):
    bank, labels = make_bank()
    table = class_table(labels, 6)
    for field in ("order", "start", "count"):
        np.testing.assert_array_equal(getattr(bank.table, field), getattr(table, field))
    assert all(isinstance(array, jax.Array) for array in bank.features.values())
