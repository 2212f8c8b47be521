"""Episodes, against a shuffle of a whole list with the words of jax's own generator."""

import hashlib
import json
from collections import Counter

import jax
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy.stats import chisquare

from fsjax.data import (
    DataError,
    EpisodeDigest,
    Episodes,
    EpisodeSpec,
    check_feasible,
    class_table,
    draw_episodes,
    load_episodes,
    parse_spec,
)
from fsjax.data.pipeline.episodes import partial_shuffle
from fsjax.data.random import EPISODE
from fsjax.errors import UserError

# Unequal classes, at least 9 images each, mixed up.
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(7), [9, 12, 30, 10, 11, 9, 14])).astype(np.int32)
TABLE = class_table(LABELS, 7)
SPECS = [
    EpisodeSpec(5, 1, 3),
    EpisodeSpec(7, 5, 4),
    EpisodeSpec(2, 3, 0),
    EpisodeSpec((2, 7), (1, 4), (1, 5)),
    EpisodeSpec(3, (2, 4), 5),
]


def shuffled(words, items):
    """The first items of a Fisher-Yates shuffle of the whole list."""
    items = list(items)
    for i, word in enumerate(words):
        j = i + int(word) % (len(items) - i)
        items[i], items[j] = items[j], items[i]
    return items[: len(words)]


def words_of(seed, episode, count):
    key = jax.random.key_data(jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), EPISODE))
    blocks = np.arange(-(-count // 2), dtype=np.uint32)
    counters = np.concatenate([np.full_like(blocks, episode), blocks])
    return np.asarray(threefry_2x32(key, counters)).reshape(2, -1).T.reshape(-1)[:count].tolist()


def expected_episode(spec, seed, episode):
    """Lists of classes, support and query of one episode, without padding."""
    words = words_of(seed, episode, 1000)

    def take(count):
        return [words.pop(0) for _ in range(count)]

    def between(word, field):
        low, high = field if isinstance(field, tuple) else (field, field)
        return low + word % (high - low + 1)

    most = [field[1] if isinstance(field, tuple) else field for field in (spec.way, spec.shot, spec.query)]
    classes = shuffled(take(most[0]), range(7))
    images = [shuffled(take(most[1] + most[2]), np.flatnonzero(LABELS == c).tolist()) for c in classes]
    way = between(take(1)[0], spec.way)
    shots = [between(word, spec.shot) for word in take(most[0])]
    queries = [between(word, spec.query) for word in take(most[0])]
    support = [row[:shot] for row, shot in zip(images, shots, strict=True)]
    query = [row[most[1] :][:count] for row, count in zip(images, queries, strict=True)]
    return classes[:way], support[:way], query[:way]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_episodes_are_shuffles_of_whole_lists(spec):
    drawn = draw_episodes(TABLE, spec, seed=11, start=3, count=20)
    assert drawn.classes.shape == (20, spec.max_way)
    assert drawn.support.shape == (20, spec.max_way, spec.max_shot)
    assert drawn.query.shape == (20, spec.max_way, spec.max_query)
    assert {a.dtype for a in (drawn.classes, drawn.support, drawn.query)} == {np.dtype(np.int32)}
    for e in range(20):
        classes, support, query = expected_episode(spec, 11, 3 + e)
        assert drawn.classes[e].tolist() == classes + [-1] * (spec.max_way - len(classes))
        for given, wanted in ((drawn.support[e], support), (drawn.query[e], query)):
            for row, images in zip(given, wanted, strict=False):
                assert row.tolist() == images + [-1] * (len(row) - len(images))
            assert (given[len(classes) :] == -1).all()


def test_specs_draw_within_their_ranges():
    drawn = draw_episodes(TABLE, SPECS[3], seed=0, start=0, count=3000)
    ways = (drawn.classes >= 0).sum(axis=1)
    real = drawn.classes >= 0
    shots, queries = ((a >= 0).sum(axis=2)[real] for a in (drawn.support, drawn.query))
    for numbers, low, high in ((ways, 2, 7), (shots, 1, 4), (queries, 1, 5)):
        counts = np.bincount(numbers)[low:]
        assert numbers.min() == low and len(counts) == high - low + 1 and chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_nothing_is_drawn_twice_and_classes_are_right(spec):
    drawn = draw_episodes(TABLE, spec, seed=5, start=0, count=300)
    images = np.concatenate([drawn.support, drawn.query], axis=2)
    for classes, rows in zip(drawn.classes, images, strict=True):
        real = rows[rows >= 0]
        assert len(set(real)) == len(real)
        assert len(set(classes[classes >= 0])) == (classes >= 0).sum()
        for c, row in zip(classes, rows, strict=True):
            assert (LABELS[row[row >= 0]] == c).all()


def test_every_order_is_equally_likely():
    words = np.random.default_rng(0).integers(0, 2**32, (60_000, 3), np.uint32)
    counts = Counter(map(tuple, partial_shuffle(words, 5).tolist()))
    assert len(counts) == 60 and chisquare(list(counts.values())).pvalue > 1e-3


def test_classes_and_images_are_uniform():
    drawn = draw_episodes(TABLE, EpisodeSpec(3, 2, 3), seed=1, start=0, count=20_000)
    for slot in range(3):
        assert chisquare(np.bincount(drawn.classes[:, slot])).pvalue > 1e-3
    for part in (drawn.support[..., 0], drawn.support[..., 1], drawn.query[..., 2]):
        for c in range(7):
            counts = np.bincount(part[drawn.classes == c], minlength=len(LABELS))[c == LABELS]
            assert chisquare(counts).pvalue > 1e-4


def test_episodes_are_a_function_of_seed_and_number():
    whole = draw_episodes(TABLE, SPECS[3], seed=3, start=0, count=20)
    part = draw_episodes(TABLE, SPECS[3], seed=3, start=7, count=5)
    for name in ("classes", "support", "query"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[7:12])
    assert len(part) == 5
    seeds = (3, 4, 3 + 2**32, -3)
    assert len({draw_episodes(TABLE, SPECS[0], seed=seed, start=0, count=20).hash for seed in seeds}) == 4
    last = draw_episodes(TABLE, SPECS[0], seed=3, start=2**32 - 1, count=1)
    assert last.classes[0].tolist() == expected_episode(SPECS[0], 3, 2**32 - 1)[0]


def test_the_numbers_stay_as_they_are():
    """A changed layout would change published episode lists; this hash was computed once and checked above."""
    drawn = draw_episodes(class_table(np.arange(60) % 6, 6), EpisodeSpec(5, 1, 5), seed=0, start=0, count=100)
    assert drawn.hash == "505a21dc7594f138"


def test_a_class_may_have_just_enough_images():
    table = class_table(np.repeat(np.arange(3), 4), 3)
    spec = EpisodeSpec(3, 1, 3)
    check_feasible(table, spec)
    drawn = draw_episodes(table, spec, seed=0, start=0, count=50)
    images = np.sort(np.concatenate([drawn.support, drawn.query], axis=2).reshape(50, -1), axis=1)
    np.testing.assert_array_equal(images, np.tile(np.arange(12), (50, 1)))


def test_tables():
    table = class_table(np.array([2, 0, 2, 2, 0]), 4)
    assert (table.order.tolist(), table.start.tolist(), table.count.tolist()) == (
        [1, 4, 0, 2, 3], [0, 2, 2, 5], [2, 0, 3, 0],
    )  # fmt: skip
    assert {table.order.dtype, table.start.dtype, table.count.dtype} == {np.dtype(np.int32)}


def test_specs_say_what_they_are():
    spec = parse_spec({"way": 5, "shot": 1.0, "query": [15, 15]})
    assert (spec, str(spec), spec.ragged, spec.rows) == (EpisodeSpec(5, 1, 15), "5-way 1-shot 15-query", False, 80)
    spec = parse_spec(way=(5, 10), shot=[1, 5], query=3)
    assert str(spec) == "5-to-10-way 1-to-5-shot 3-query"
    assert (spec.max_way, spec.max_shot, spec.max_query, spec.ragged, spec.rows) == (10, 5, 3, True, 80)
    assert parse_spec(json.loads(json.dumps(spec.to_json()))) == spec
    assert parse_spec(way=2, shot=1, query=0, allow_no_query=True).max_query == 0
    assert parse_spec({"way": 5, "shot": 1, "query": 15}, shot=5).shot == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"way": 1}, "way=1 of episodes must be at least 2"),
        ({"shot": 0}, "shot=0 of episodes must be at least 1"),
        ({"query": 0}, "query=0 of episodes must be at least 1"),
        ({"query": (0, 5)}, r"query=\(0, 5\) of episodes must be at least 1"),
        ({"way": 2.5}, "way=2.5 of episodes must be a whole number"),
        ({"way": float("nan")}, "way=nan of episodes must be a whole number"),
        ({"shot": "5"}, "shot='5' of episodes must be a whole number, or a pair"),
        ({"shot": True}, "shot=True of episodes must be a whole number"),
        ({"shot": (1, 2, 3)}, r"shot=\(1, 2, 3\) of episodes must be"),
        ({"shot": (5, 1)}, r"is a pair \(least, most\): write \(1, 5\)"),
        ({"shots": 5}, "unknown key of episodes 'shots'.*Did you mean 'shot'"),
    ],
)
def test_bad_specs_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        parse_spec({"way": 5, "shot": 5, "query": 15} | fields)


def test_a_missing_field_is_named():
    with pytest.raises(DataError, match="episodes need 'query'"):
        parse_spec(way=5, shot=1)


@pytest.mark.parametrize(
    ("counts", "spec", "message"),
    [
        ([3, 30], EpisodeSpec(2, 5, 15), "class 'abacus' of the novel classes has 3 images; 5-shot episodes with 15 "
         "queries need 20: lower shot and query to 3 in all, or add images"),
        ([30, 3, 30], EpisodeSpec(2, 5, 15), "need 20: lower shot and query to 3 in all, or leave such classes out"),
        ([30, 19, 7], EpisodeSpec(2, 5, 15), "class 'cello' of the novel classes has 7 images; 5-shot episodes with 15 "
         "queries need 20 (1 more of 3 classes have fewer than 20): lower shot and query to 7"),
        ([30, 1], EpisodeSpec(2, 1, 1), "class 'bell' of the novel classes has 1 image; 1-shot episodes with 1 query "
         "need 2: add images"),
        ([30, 0], EpisodeSpec(2, (1, 5), 0), "has 0 images; 1-to-5-shot episodes without queries need 5"),
        ([9, 30], EpisodeSpec(2, 5, (2, 6)), "has 9 images; 5-shot episodes with 2 to 6 queries need 11"),
        ([30] * 3, EpisodeSpec(5, 1, 1), "3 classes (the novel classes) cannot make 5-way episodes: set way to 3 or"),
        ([30] * 3, EpisodeSpec((2, 5), 1, 1), "cannot make 2-to-5-way episodes"),
        ([30], EpisodeSpec(2, 1, 1), "1 class (the novel classes) cannot make 2-way episodes: an episode needs"),
    ],
)  # fmt: skip
def test_infeasible_episodes_are_refused_in_words(counts, spec, message):
    table = class_table(np.repeat(np.arange(len(counts)), counts), len(counts))
    with pytest.raises(DataError) as error:
        check_feasible(table, spec, ("abacus", "bell", "cello"), "the novel classes")
    assert message in str(error.value)
    with pytest.raises(DataError, match="classes|class 0 has|class 1 has|class 2 has|1 class"):
        draw_episodes(table, spec, seed=0, start=0, count=1)


@pytest.mark.parametrize(("start", "count"), [(-1, 2), (2**32 - 1, 2)])
def test_numbers_of_episodes_have_32_bits(start, count):
    with pytest.raises(DataError, match="must be in"):
        draw_episodes(TABLE, SPECS[0], seed=0, start=start, count=count)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_saved_episodes_come_back(tmp_path, spec):
    drawn = draw_episodes(TABLE, spec, seed=8, start=5, count=30)
    path = tmp_path / "novel.episodes"
    drawn.save(path, data="noise", split="novel")
    loaded = load_episodes(path, labels=LABELS, data="noise")
    for name in ("classes", "support", "query"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(drawn, name))
    assert loaded.hash == drawn.hash and len(drawn.hash) == 16
    wanted = {"seed": 8, "start": 5, "images": len(LABELS), "data": "noise", "split": "novel", "hash": drawn.hash}
    assert wanted.items() <= loaded.facts.items() and parse_spec(loaded.facts["spec"], allow_no_query=True) == spec


def test_hashes_tell_episodes_apart():
    drawn = draw_episodes(TABLE, SPECS[0], seed=8, start=5, count=30)
    same = Episodes(*(np.asfortranarray(a.astype(">i4")) for a in (drawn.classes, drawn.support, drawn.query)))
    assert same.hash == drawn.hash
    other = Episodes(drawn.classes, drawn.support, drawn.query[..., [1, 0, 2]])
    reshaped = Episodes(drawn.classes, drawn.support, drawn.query.reshape(30, 3, 5))
    assert len({drawn.hash, other.hash, reshaped.hash}) == 3


@pytest.mark.parametrize("cuts", [[], [1, 12, 30]])
def test_hashes_do_not_depend_on_the_parts_in_which_episodes_come(cuts):
    drawn = draw_episodes(TABLE, SPECS[3], seed=8, start=5, count=40)
    digest = EpisodeDigest()
    for arrays in zip(*(np.split(a, cuts) for a in (drawn.classes, drawn.support, drawn.query)), strict=True):
        digest.update(*arrays)
    flat = [b"".join(int(v).to_bytes(4, "little", signed=True) for v in a.reshape(-1))
            for a in (drawn.classes, drawn.support, drawn.query)]  # fmt: skip
    text = " ".join(["[(7,), (7, 4), (7, 5)]", *(hashlib.sha256(b).hexdigest() for b in flat)])
    assert digest.hash == drawn.hash == hashlib.sha256(text.encode()).hexdigest()[:16]


def rewritten(path, **changes):
    """Changes the arrays of a file, as somebody who edits it would, and keeps its hash."""
    with np.load(path) as file:
        content = dict(file) | changes
    with path.open("wb") as file:
        np.savez(file, **content)


def test_changed_files_are_refused(tmp_path):
    path = tmp_path / "e.npz"
    drawn = draw_episodes(TABLE, SPECS[0], seed=8, start=0, count=4)
    drawn.save(path)
    rewritten(path, support=drawn.support[::-1])
    with pytest.raises(DataError, match="was changed after it was written"):
        load_episodes(path, labels=LABELS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be read as episodes"):
        load_episodes(path, labels=LABELS)
    with pytest.raises(DataError, match="No such file"):
        load_episodes(tmp_path / "none.npz", labels=LABELS)
    np.savez(path, classes=np.array([{}]), support=0, query=0, facts="{}")
    with pytest.raises(DataError, match="cannot be read as episodes"):  # a pickle
        load_episodes(path, labels=LABELS)
    drawn.save(path)
    rewritten(path, facts=np.array(json.dumps({"format": 2})))
    with pytest.raises(DataError, match="format 2"):
        load_episodes(path, labels=LABELS)


def test_episodes_of_other_data_are_refused(tmp_path):
    path = tmp_path / "e.npz"
    drawn = draw_episodes(TABLE, SPECS[0], seed=8, start=0, count=4)
    drawn.save(path, data="fc100")
    with pytest.raises(DataError, match="data='fc100'; these data are of data='cifar_fs'"):
        load_episodes(path, labels=LABELS, data="cifar_fs")
    with pytest.raises(DataError, match="images=95; these data are of images=94"):
        load_episodes(path, labels=LABELS[:-1])
    with pytest.raises(DataError, match=r"image \d+ of episode 0 has label \d, not \d"):
        load_episodes(path, labels=np.roll(LABELS, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, s, q: q.__setitem__((2, 1, 0), 95), "position 95 is outside the split of 95 images"),
        (lambda c, s, q: q.__setitem__((2, 1, 0), -2), "position -2 is outside"),
        (lambda c, s, q: q.__setitem__((2, 1, 0), s[2, 1, 0]), r"image \d+ is in episode 2 twice"),
        (lambda c, s, q: s.__setitem__((3, 1), -1), "a class has no support images"),
        (lambda c, s, q: [a.__setitem__((1, 1), a[1, 0]) for a in (c, s, q)], "image .* is in episode 1 twice"),
        (
            lambda c, s, q: [c.__setitem__((1, 1), c[1, 0]), s.__setitem__((1, 1), -1), q.__setitem__((1, 1), -1)],
            "class . is in episode 1 twice",
        ),
    ],
)
def test_impossible_episodes_are_refused(tmp_path, change, message):
    drawn = draw_episodes(TABLE, SPECS[0], seed=8, start=0, count=4)
    change(drawn.classes, drawn.support, drawn.query)
    path = tmp_path / "e.npz"
    drawn.save(path)
    with pytest.raises(DataError, match=message):
        load_episodes(path, labels=LABELS)


def test_arrays_that_do_not_belong_together_are_refused(tmp_path):
    drawn = draw_episodes(TABLE, SPECS[0], seed=8, start=0, count=4)
    path = tmp_path / "e.npz"
    Episodes(drawn.classes[:2], drawn.support, drawn.query).save(path)
    with pytest.raises(DataError, match="its arrays are not"):
        load_episodes(path, labels=LABELS)
