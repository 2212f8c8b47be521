"""Intervals over new images and new classes against NumPy loops, known variances, and how often they hold the truth."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import t

from fsjax.data import EpisodeSpec, draw_episodes
from fsjax.evaluation.few_shot.intervals import in_words, intervals_of, paired_intervals, without_tasks
from fsjax.evaluation.few_shot.joint import score_joint_tasks
from fsjax.evaluation.few_shot.kept import TaskScores, arrays_of, scores_of
from fsjax.evaluation.few_shot.statistics import mean_interval
from fsjax.evaluation.few_shot.tasks import Bank, score_tasks
from fsjax.methods.rules import Rule

EUCLID = Rule("squared_euclid", "gap", "gap", 1.0)
COSINE = Rule("cosine", "gap", "gap", 1.0)
SPECS = {"regular": EpisodeSpec(3, 2, 4), "ragged": EpisodeSpec((2, 4), (1, 3), (2, 5))}


def found(scores, minus=None):
    accuracy = scores.accuracy - (0 if minus is None else minus.accuracy)
    return intervals_of(mean_interval(accuracy), scores, minus)


def answers(scores, minus):
    """By task, class and query: the class, all images that the answer depends on by class, and the answer."""
    for number, classes in enumerate(scores.classes):
        ways = [way for way, label in enumerate(classes) if label >= 0]
        support = {classes[w]: {i for i in scores.support[number, w] if i >= 0} for w in ways}
        queries = [(w, q) for w in ways for q, image in enumerate(scores.query[number, w]) if image >= 0]
        for way, q in queries:
            label, image = classes[way], scores.query[number, way, q]
            read = {c: images | ({image} if c == label else set()) for c, images in support.items()}
            right = float(scores.right[number, way, q]) - (0 if minus is None else minus.right[number, way, q])
            yield number, label, read, right / len(queries)


def looped_images(scores, minus=None):
    """Replicates without each image by class, `{class: [images of it, tasks]}`: what each task contributes.

    The expected mean of the answer of a class's query in other tasks is subtracted, as in the code: the weights of a
    query have the mean 0 over images, so that this changes no expectation.
    """
    tasks = len(scores.classes)
    total, count = np.zeros((2, tasks, scores.num_classes))
    for number, label, _, value in (all_answers := list(answers(scores, minus))):
        queries = (scores.query[number] >= 0).sum()
        total[number, label] += value * queries
        count[number, label] += 1
    starts = np.cumsum(scores.images) - scores.images  # the loops' banks are in the order of their classes
    images = {c: np.arange(starts[c], starts[c] + n) for c, n in enumerate(scores.images)}
    made = {c: np.zeros((n, tasks)) for c, n in enumerate(scores.images)}
    overall = total.sum() / count.sum()
    for number, label, read, value in all_answers:
        queries = (scores.query[number] >= 0).sum()
        others = total[:, label].sum() - total[number, label], count[:, label].sum() - count[number, label]
        rest = value - (others[0] + 60 * overall) / (others[1] + 60) / queries
        for c, of in read.items():
            n, k = len(images[c]), len(of)
            avoid = np.array([image not in of for image in images[c]])
            made[c][:, number] += rest * (np.where(avoid, n / (n - k), 0) - 1)
    return made


def half_width(replicates, accuracy):
    """By the formulas of the jackknife, from what each task contributes to each replicate `[n, tasks]`, by stratum."""
    tasks, variance, of_tasks, degrees = len(accuracy), 0.0, 0.0, 0
    for values in replicates:
        n = len(values)
        left_out = values.mean(axis=1)
        variance += (n - 1) / n * np.sum((left_out - left_out.mean()) ** 2)
        centred = values - values.mean(axis=0)
        of_tasks += (n - 1) / n * np.sum(np.var(centred, axis=1, ddof=1)) / tasks
        degrees += n - 1
    total = max(variance - of_tasks + np.var(accuracy, ddof=1) / tasks, variance * (4 / degrees) ** 0.5)
    degrees *= min(total / variance, 1) ** 2
    return max(t.ppf(0.975, degrees) * total**0.5, 1.96 * (np.var(accuracy, ddof=1) / tasks) ** 0.5)


def looped_classes(scores, accuracy):
    """What each task contributes to the replicate without each new class, `[new classes, tasks]`."""
    new = np.flatnonzero(scores.new)
    in_task = (scores.classes[:, None, :] == new[:, None]).any(2)
    ways = in_task.sum(1)
    rest = accuracy - np.array([accuracy[ways == k].mean() for k in ways])
    weights = np.where(in_task, 0, len(new) / (len(new) - ways)[:, None])
    return (rest[:, None] * (weights - 1)).T


@pytest.fixture(scope="module")
def bank(make_bank):
    """Classes of different sizes, their images in order."""
    counts = (14, 11, 20, 12, 16, 12, 13)
    made = make_bank(counts)[0]
    order = made.table.order
    features = {name: np.asarray(array)[order] for name, array in made.features.items()}
    return Bank.of(features, np.repeat(np.arange(7), counts), made.class_names, made.where)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("paired", [False, True], ids=["one", "paired"])
def test_intervals_are_the_looped_ones(bank, spec, paired):
    first, second = score_tasks(bank, [EUCLID, COSINE], spec=spec, seed=3, tasks=60)
    minus = second if paired else None
    accuracy = first.accuracy - (second.accuracy if paired else 0)
    result = found(first, minus)
    replicates = looped_images(first, minus)
    assert result.half_widths["new_images"] == pytest.approx(half_width(replicates.values(), accuracy), rel=1e-9)
    replicates = looped_classes(first, accuracy)
    assert result.half_widths["new_classes"] == pytest.approx(half_width([replicates], accuracy), rel=1e-9)
    assert result.tasks.half_width <= min(result.half_widths.values())
    if paired:
        assert result == paired_intervals(first, second)


@pytest.mark.xla
def test_replicates_without_a_class_are_means_over_the_tasks_that_avoid_it(bank):
    """Of many tasks of one number of classes, the weighted means are the plain ones."""
    (scores,) = score_tasks(bank, [EUCLID], spec=SPECS["regular"], seed=0, tasks=6000)
    without = [scores.accuracy[(scores.classes != c).all(1)].mean() for c in range(7)]
    weighted = scores.accuracy.mean() + looped_classes(scores, scores.accuracy).mean(1)
    np.testing.assert_allclose(weighted, without, atol=1e-3)
    assert np.ptp(without) > 0.03


@pytest.mark.slow
@pytest.mark.xla
@pytest.mark.parametrize("label", [0, 4])
def test_replicates_without_an_image_are_those_of_tasks_drawn_without_it(bank, label):
    """The weights stand for tasks that are drawn from the other images: the two agree within their own errors."""
    spec, many = SPECS["ragged"], 30_000
    (scores,) = score_tasks(bank, [EUCLID], spec=spec, seed=0, tasks=2000)
    position = bank.table.order[bank.table.start[label]]
    values = looped_images(scores)[label][0]
    keep = np.arange(bank.table.count.sum()) != position
    labels = np.repeat(np.arange(7), bank.table.count)[keep]
    less = Bank.of({"gap": np.asarray(bank.features["gap"])[keep]}, labels, bank.class_names, "")
    drawn, whole = (score_tasks(of, [EUCLID], spec=spec, seed=5, tasks=many)[0].accuracy for of in (less, bank))
    error = (np.var(values) / len(values) + (np.var(drawn) + np.var(whole)) / many) ** 0.5
    assert abs(values.mean() - (drawn.mean() - whole.mean())) < 3 * error


# --- What is known of the variance.


def planted(rng, classes, images, *, of_class, of_image, spec, tasks, seed=0):
    """Tasks whose queries are right by chance: 0.5 + effect of the query's class + effect of its image."""
    labels = np.repeat(np.arange(classes), images)
    chance = 0.5 + of_class * rng.uniform(-1, 1, classes)[labels] + of_image * rng.uniform(-1, 1, len(labels))
    bank = Bank.of({"gap": np.zeros((len(labels), 1))}, labels, tuple(map(str, range(classes))), "")
    episodes = draw_episodes(bank.table, spec, seed=seed, start=0, count=tasks)
    right = rng.uniform(size=episodes.query.shape) < chance[episodes.query]
    new = np.ones(classes, bool)
    parts = episodes.classes, episodes.support, episodes.query
    return TaskScores(*parts, right, bank.table.count, new, episodes.hash)


def widths(rng, *, repeats=40, **options):
    """Root mean squares of the two half-widths, and of the tasks' one."""
    rows = []
    for seed in range(repeats):
        result = found(planted(rng, **options, seed=seed))
        rows.append([result.tasks.half_width, *result.half_widths.values()])
    return np.sqrt(np.mean(np.square(rows), axis=0))


def test_effects_of_known_variance_are_found():
    """The mean over tasks is that of 0.5 + the effects: variances of means of 16 classes and of 16 x 25 images."""
    spec, of_class, of_image = EpisodeSpec(4, 1, 10), 0.25, 0.4
    options = {"classes": 16, "images": 25, "spec": spec, "tasks": 1500}
    over_tasks, images, classes = widths(np.random.default_rng(0), of_class=of_class, of_image=of_image, **options)
    of_mean = (over_tasks / 1.96) ** 2
    variance = of_image**2 / 3 / (16 * 25)
    assert images == pytest.approx(1.96 * (variance + of_mean) ** 0.5, rel=0.06)
    variance += of_class**2 / 3 / 16
    assert classes == pytest.approx(t.ppf(0.975, 15) * (variance + of_mean) ** 0.5, rel=0.06)


def test_without_effects_the_intervals_shrink_with_the_tasks():
    """Classes and images that are all alike: only the number of tasks is left, and little more than its interval."""
    rng, spec = np.random.default_rng(1), EpisodeSpec(4, 1, 10)
    options = {"classes": 16, "images": 25, "of_class": 0.0, "of_image": 0.0, "spec": spec}
    few, many = (widths(rng, tasks=tasks, repeats=20, **options) for tasks in (500, 8000))
    assert np.all(many < 0.35 * few)
    assert few[0] <= few[1] < 1.3 * few[0] and few[0] <= few[2] < 3 * few[0]


def test_a_method_against_itself_differs_by_nothing(bank):
    (scores,) = score_tasks(bank, [EUCLID], spec=SPECS["ragged"], seed=0, tasks=50)
    result = paired_intervals(scores, scores)
    assert (result.tasks.mean, result.tasks.half_width) == (0, 0)
    assert set(result.half_widths.values()) == {0}


def test_more_tasks_than_a_chunk_change_nothing(bank, monkeypatch):
    (scores,) = score_tasks(bank, [EUCLID], spec=SPECS["ragged"], seed=0, tasks=100)
    whole = found(scores)
    monkeypatch.setattr("fsjax.evaluation.few_shot.intervals._CHUNK", 7)
    assert found(scores).half_widths == pytest.approx(whole.half_widths, rel=1e-12)


@pytest.mark.xla
def test_intervals_hold_the_truth_as_often_as_they_say():
    """Pools of new classes, and of new images of the same classes; the intervals over tasks hardly ever hold it."""
    rng, spec, classes = np.random.default_rng(2), EpisodeSpec(5, 1, 10), 15
    centres = rng.normal(size=(classes, 8))

    def pool(centres, images):
        labels = np.repeat(np.arange(len(centres)), images)
        features = centres[labels] + 1.2 * rng.normal(size=(len(labels), 8))
        return Bank.of({"gap": features.astype(np.float32)}, labels, tuple(map(str, range(len(centres)))), "")

    def mean(bank):
        return score_tasks(bank, [EUCLID], spec=spec, seed=9, tasks=20_000)[0].accuracy.mean()

    truths = {"new_images": mean(pool(centres, 400)), "new_classes": mean(pool(rng.normal(size=(400, 8)), 50))}
    held = {name: [] for name in (*truths, "tasks")}
    for seed in range(60):
        for name, truth in truths.items():
            of = centres if name == "new_images" else rng.normal(size=(classes, 8))
            (scores,) = score_tasks(pool(of, 30), [EUCLID], spec=spec, seed=seed, tasks=500)
            result = found(scores)
            error = abs(result.tasks.mean - truth)
            held[name].append(error < result.half_widths[name])
            held["tasks"].append(error < result.tasks.half_width)
    shares = {name: np.mean(of) for name, of in held.items()}
    assert 0.88 <= shares["new_images"] <= 1 and 0.88 <= shares["new_classes"] <= 1
    assert shares["tasks"] < 0.6


# --- Base and novel classes together.


def test_of_base_and_novel_classes_the_novel_ones_are_new(bank):
    """Tasks with two kinds of classes: left out are the novel ones, and the number of base classes stays."""
    (scores,) = score_tasks(bank, [EUCLID], spec=SPECS["regular"], seed=3, tasks=60)
    scores = dataclasses.replace(scores, new=np.array([0, 1, 1, 1, 1, 0, 1], bool))
    expected = half_width([looped_classes(scores, scores.accuracy)], scores.accuracy)
    assert found(scores).half_widths["new_classes"] == pytest.approx(expected, rel=1e-9)


def test_queries_of_base_classes_beside_novel_ones(bank, make_bank):
    base = make_bank([9, 8, 12, 10], seed=1)[0]
    order = base.table.order
    base = Bank.of(
        {"gap": np.asarray(base.features["gap"])[order]}, np.repeat(range(4), [9, 8, 12, 10]), tuple("abcd"), ""
    )
    weights = base.features["gap"][base.table.start]
    scores = score_joint_tasks(bank, base, weights, EUCLID, spec=SPECS["regular"], seed=5, tasks=50)["both"]
    assert scores.new.tolist() == [False] * 4 + [True] * 7
    assert (scores.support[:, :3] == -1).all() and scores.query[:, :3].max() < 39 <= scores.query[:, 3:].min()
    result = found(scores)
    replicates = looped_images(scores)
    assert result.half_widths["new_images"] == pytest.approx(half_width(replicates.values(), scores.accuracy), rel=1e-9)
    expected = half_width([looped_classes(scores, scores.accuracy)], scores.accuracy)
    assert result.half_widths["new_classes"] == pytest.approx(expected, rel=1e-9)


# --- What is not known, and words.


def test_what_is_not_known_is_said_with_the_reason(bank):
    def of(spec, *, tasks=20, bank=bank, new=None):
        (scores,) = score_tasks(bank, [EUCLID], spec=spec, seed=0, tasks=tasks)
        result = found(scores if new is None else dataclasses.replace(scores, new=new))
        assert {name for name, width in result.half_widths.items() if width is None} == set(result.not_known)
        return dict(result.not_known)

    assert of(EpisodeSpec(3, 1, 4)) == {}
    assert of(EpisodeSpec((2, 7), 1, 4)) == {"new_classes": "a task can have all 7 classes"}
    none, few = np.zeros(7, bool), np.arange(7) < 4
    assert of(EpisodeSpec(3, 1, 4), new=none) == {"new_classes": "the network was trained on these classes"}
    assert of(EpisodeSpec(3, 1, 4), new=few) == {"new_classes": "there are 4 classes only"}
    assert of(EpisodeSpec(3, 10, 1)) == {"new_images": "a class has 11 images only"}
    one = of(EpisodeSpec(3, 1, 4), tasks=1)
    assert one == dict.fromkeys(("new_images", "new_classes"), "there is one task only")


def test_words():
    facts = {"interval": 0.002, "interval_new_images": 0.0061, "interval_new_classes": 0.041}
    assert in_words(facts) == "± 0.20 tasks, ± 0.61 new images, ± 4.10 new classes"
    facts |= {"interval_new_classes": None, "not_known": {"new_classes": "a task can have all 5 classes"}}
    assert in_words(facts) == ("± 0.20 tasks, ± 0.61 new images, new classes not known (a task can have all 5 classes)")
    interval = mean_interval(np.array([0.5]))
    assert str(without_tasks(interval, "one task")) == "new images and new classes not known (one task)"
    assert in_words({"interval": 0.002}) == "± 0.20 tasks"  # of a result.json of before


# --- Files.


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_tasks_come_back_from_their_arrays(bank, spec):
    for scores in score_tasks(bank, [EUCLID, COSINE], spec=spec, seed=3, tasks=60):
        arrays = arrays_of(scores, "7")
        read = scores_of(arrays, "7", scores.episodes)
        for field in dataclasses.fields(scores):
            np.testing.assert_array_equal(getattr(read, field.name), getattr(scores, field.name))
        assert sum(array.nbytes for array in arrays.values()) < 2 * (scores.support.size + scores.query.size)
        assert found(read) == found(scores)


def test_arrays_that_do_not_fit_are_refused(bank):
    (scores,) = score_tasks(bank, [EUCLID], spec=SPECS["ragged"], seed=3, tasks=60)
    arrays, name = arrays_of(scores, "0"), f"tasks_{scores.episodes}_"
    assert scores_of({"0": scores.accuracy}, "0", scores.episodes) is None
    for wrong in (
        {"0_new": scores.new[1:]},
        {"0_images": scores.images[1:], "0_new": scores.new[1:]},
        {"0_images": scores.images - 1},
        {f"{name}support": scores.support[1:]},
        {f"{name}query": scores.query[1:]},
    ):
        with pytest.raises(ValueError, match="the tasks of figure 0"):
            scores_of(arrays | wrong, "0", scores.episodes)
