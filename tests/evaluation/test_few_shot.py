"""The evaluator over a tiny network and noise, against the network called by hand and tasks looped in NumPy."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from fsjax import data
from fsjax.data import DataError, EpisodeSpec, class_table, draw_episodes
from fsjax.data.reconstructed import choose_base
from fsjax.errors import UserError
from fsjax.evaluation.few_shot import implanted
from fsjax.evaluation.few_shot.class_pools import check_pool
from fsjax.evaluation.few_shot.evaluator import Evaluator, extractor
from fsjax.evaluation.few_shot.protocol import Protocol
from fsjax.methods import build_method
from fsjax.methods.rules import Rule

BATCH = 32
SPEC = EpisodeSpec(3, 2, 3)
PROTOCOL = Protocol(way=3, shots=(2,), query=3, tasks=40, seed=4)
SPLITS = {"novel": "test", "validation": "validation", "base": "base", "train": "train"}


def make_config(method="classification", pool="gap", holdout=5):
    from fsjax.configs.common import base

    config = base()
    config.method.name, config.model.name, config.loss.name = method, "resnet12", "cosine"
    config.model.resnet12.update(widths=(4, 6), pool=pool)
    config.data.name = "fake"
    config.data.fake.update(height=8, width=8, num_classes=16, train=16 * 11, test=16 * 4)
    config.data.class_split.update(name="share", validation=0.25, test=0.25)
    config.data.base_holdout = holdout
    return config


@pytest.fixture(scope="module")
def splits():
    return data.load_splits(make_config().data, seed=0)


@pytest.fixture(scope="module")
def maps(splits):
    """By method and pooling, a method with its variables, and the last maps of each split's images, at one go."""
    known = {}

    def make(name="classification", pool="gap"):
        if (name, pool) not in known:
            method = build_method(make_config(name, pool), splits.info)
            images = {
                part: data.normalize(getattr(splits, split).images, splits.info) for part, split in SPLITS.items()
            }
            variables = jax.jit(method.init)(jax.random.key(3), images["novel"][:2])
            params = variables.pop("params")
            found = {}
            for part, of_part in images.items():
                encoded = jax.jit(method.encode)(params, variables, of_part)
                found[part] = np.asarray(list(encoded.maps.values())[-1], np.float64)
            known[name, pool] = types.SimpleNamespace(method=method, params=params, collections=variables, maps=found)
        return known[name, pool]

    return make


def pooled(maps):
    positions = maps.reshape(len(maps), -1, maps.shape[-1])
    return {
        "gap": positions.mean(1),
        "gmp": positions.max(1),
        "flatten": maps.reshape(len(maps), -1),
        "dense": positions,
        "embedding": positions.mean(1),  # of networks that end with "gap"
    }


def evaluator(made, splits, **options):
    """An evaluator, and the calls of its network: (images, names)."""
    calls, extract = [], extractor(made.method, made.params, made.collections)

    def counted(images, names):
        calls.append((np.asarray(images), names))
        return extract(images, names)

    return Evaluator(made.method, made.params, made.collections, splits, counted, BATCH, **options), calls


def once_through(calls, *examples):
    """Whether the calls hold each of these images once, the padding of each split's last batch aside."""
    rows = [image.tobytes() for images, _ in calls for image in images]
    batches = [-(-len(split) // BATCH) for split in examples]
    distinct = sum(len(np.unique(split.images.reshape(len(split), -1), axis=0)) for split in examples)
    padding = len(rows) - sum(map(len, examples))
    return len(calls) == sum(batches) and len(set(rows)) == distinct + (padding > 0)


# --- Each image once.


def test_each_image_goes_through_the_network_once(maps, splits):
    poolings = ("gap/gap", "gmp/dense", "flatten/flatten")
    protocol = dataclasses.replace(PROTOCOL, classes=("novel", "base", "validation"), poolings=poolings)
    of_run, calls = evaluator(maps(), splits)
    figures = [figure for shots in (1, 2) for figure in of_run.figures(dataclasses.replace(protocol, shots=(shots,)))]
    assert len(figures) == 3 * 2 * 3
    assert once_through(calls, splits.test, splits.base, splits.validation)
    assert {names for _, names in calls} == {("gap", "gmp", "dense", "flatten")}
    before = len(calls)
    list(of_run.figures(dataclasses.replace(protocol, seed=9)))
    assert len(calls) == before


@pytest.mark.parametrize("name", ["classification", "prototypical"])
def test_each_image_goes_through_the_network_once_for_joint_tasks_of_several_poolings(maps, splits, name):
    protocol = dataclasses.replace(PROTOCOL, classes=("both",), poolings=("gap/gap", "gmp/dense"))
    of_run, calls = evaluator(maps(name), splits)
    assert len(list(of_run.figures(protocol))) == 2
    of_train = [] if name == "classification" else [splits.train]
    assert once_through(calls, splits.test, splits.base, *of_train)
    # Maps of the training images would fill the memory, and nobody reads them.
    assert sum(names == ("gap", "gmp") for _, names in calls) == sum(-(-len(part) // BATCH) for part in of_train)


def test_networks_do_not_run_where_the_tasks_cannot_be(maps, splits):
    of_run, calls = evaluator(maps(), splits)
    with pytest.raises(DataError, match="has 15 images; 14-shot episodes with 3 queries need 17"):
        list(of_run.figures(dataclasses.replace(PROTOCOL, shots=(14,))))
    with pytest.raises(UserError, match="flatten"):
        list(of_run.figures(dataclasses.replace(PROTOCOL, poolings=("flatten/gap",))))
    assert not calls


# --- The figures are those of a loop.


@pytest.mark.parametrize("name", ["classification", "dense", "imprinted", "prototypical"])
def test_figures_by_the_methods_own_rule_are_the_looped_ones(maps, splits, by_hand, name):
    made = maps(name)
    rule = {
        "classification": Rule("cosine", "gap", "gap", 10.0),
        "dense": Rule("cosine", "gap", "dense", 10.0),
        "imprinted": Rule("cosine", "gap", "gap", 10.0, unit_support=True),
        "prototypical": Rule("squared_euclid", "gap", "gap", 1.0),
    }[name]
    protocol = dataclasses.replace(PROTOCOL, classes=("novel", "base", "validation"))
    for figure, part in zip(evaluator(made, splits)[0].figures(protocol), protocol.classes, strict=True):
        labels = getattr(splits, SPLITS[part]).labels
        table = class_table(labels, labels.max() + 1)
        episodes = draw_episodes(table, SPEC, seed=4, start=0, count=40)
        accuracy, correct, count = by_hand.looped(pooled(made.maps[part]), rule, episodes, len(table.count))
        np.testing.assert_allclose(figure.accuracy, accuracy, err_msg=part)
        facts = figure.facts
        assert facts["accuracy"] == pytest.approx(accuracy.mean())
        assert (facts["classes"], facts["episodes"], facts["tasks"]) == (part, episodes.hash, 40)
        assert (facts["support_pool"], facts["query_pool"]) == (rule.support_pool, rule.query_pool)
        assert (facts["way"], facts["shot"], facts["query"], facts["seed"]) == (3, 2, 3, 4)
        assert ("tau" in facts) == (rule.query_pool == "dense")
        names = {
            "novel": splits.info.test_classes,
            "base": splits.info.class_names,
            "validation": splits.info.validation_classes,
        }
        shares = dict(zip(names[part], correct / np.maximum(count, 1), strict=True))
        assert facts["per_class"] == pytest.approx({n: shares[n] for n in facts["per_class"]}, abs=1e-6)
        assert len(facts["per_class"]) == np.count_nonzero(count)


def test_every_pair_of_poolings_is_the_looped_one(maps, splits, by_hand):
    supports = ("gap", "gmp", "embedding")
    pairs = [(s, q) for s in supports for q in (*supports, "dense")] + [("flatten", "flatten")]
    protocol = dataclasses.replace(PROTOCOL, poolings=tuple(map("/".join, pairs)), inference_tau=20.0)
    made = maps()
    labels = splits.test.labels
    episodes = draw_episodes(class_table(labels, labels.max() + 1), SPEC, seed=4, start=0, count=40)
    figures = list(evaluator(made, splits)[0].figures(protocol))
    for figure, (support, query) in zip(figures, pairs, strict=True):
        # The embedding of this network is its averaged map, and is called so.
        support, query = ("gap" if name == "embedding" else name for name in (support, query))
        assert (figure.facts["support_pool"], figure.facts["query_pool"]) == (support, query)
        rule = Rule("cosine", support, query, 20.0)
        accuracy, _, _ = by_hand.looped(pooled(made.maps["novel"]), rule, episodes, labels.max() + 1)
        np.testing.assert_allclose(figure.accuracy, accuracy, err_msg=f"{support}/{query}")


def train_prototypes(made, splits, pool, unit=False):
    """The prototypes of the training images, class by class."""
    features = pooled(made.maps["train"])[pool]
    if unit:
        features = features / np.linalg.norm(features, axis=-1, keepdims=True)
    labels = splits.train.labels
    return np.stack([features[labels == label].mean(0) for label in range(splits.info.num_classes)])


@pytest.mark.parametrize(
    ("name", "own_pool", "pooling", "origin"),
    [
        ("classification", "gap", "gap/gap", "class weights"),
        ("dense", "gap", "gap/dense", "class weights"),
        ("classification", "gap", "flatten/flatten", "prototypes of the training images"),
        ("classification", "flatten", "flatten/flatten", "class weights"),
        ("classification", "flatten", "gmp/gap", "prototypes of the training images"),
        ("prototypical", "gap", "gap/gap", "prototypes of the training images"),
    ],
)
def test_joint_figures_are_the_looped_ones(maps, splits, by_hand, name, own_pool, pooling, origin):
    made = maps(name, own_pool)
    support, query = pooling.split("/")
    protocol = dataclasses.replace(PROTOCOL, classes=("both",), poolings=(pooling,))
    (figure,) = evaluator(made, splits)[0].figures(protocol)
    assert figure.facts["base_weights"] == origin
    learned = origin == "class weights"
    weights = made.params["loss"]["weights"] if learned else train_prototypes(made, splits, support)
    rule = Rule("squared_euclid" if name == "prototypical" else "cosine", support, query, 10.0)
    novel, base = (
        draw_episodes(class_table(labels, labels.max() + 1), spec, seed=4, start=0, count=40)
        for labels, spec in ((splits.test.labels, SPEC), (splits.base.labels, dataclasses.replace(SPEC, shot=1)))
    )
    features = pooled(made.maps["novel"]), pooled(made.maps["base"])
    expected = by_hand.jointly_looped(*features, weights, rule, novel, base)
    np.testing.assert_allclose(figure.accuracy, expected["both"])
    for part in ("novel", "base"):
        assert figure.facts[part] == pytest.approx(expected[part].mean())
    a, b = expected["novel"].mean(), expected["base"].mean()
    assert figure.facts["harmonic_mean"] == pytest.approx(2 * a * b / (a + b) if a + b else 0)
    assert figure.facts["episodes"] == f"{novel.hash}+{base.hash}"
    assert "harmonic mean" in str(figure)


def test_imprinted_prototypes_of_training_images_are_of_unit_features(maps, splits, by_hand):
    """Flattened maps, for which the classifier on pooled ones has no weights."""
    made = maps("imprinted")
    protocol = dataclasses.replace(PROTOCOL, classes=("both",), poolings=("flatten/flatten",))
    (figure,) = evaluator(made, splits)[0].figures(protocol)
    weights = train_prototypes(made, splits, "flatten", unit=True)
    novel, base = (
        draw_episodes(class_table(labels, labels.max() + 1), spec, seed=4, start=0, count=40)
        for labels, spec in ((splits.test.labels, SPEC), (splits.base.labels, dataclasses.replace(SPEC, shot=1)))
    )
    rule = Rule("cosine", "flatten", "flatten", 10.0, unit_support=True)
    features = pooled(made.maps["novel"]), pooled(made.maps["base"])
    expected = by_hand.jointly_looped(*features, weights, rule, novel, base)
    np.testing.assert_allclose(figure.accuracy, expected["both"])


# --- Novel and base classes together.


@pytest.mark.parametrize(("classes", "split"), [("reconstructed", "novel"), ("reconstructed_validation", "validation")])
def test_reconstructed_figures_are_the_looped_ones(maps, splits, by_hand, classes, split):
    made, options = maps(), data.ReconstructedOptions(seed=2)
    protocol = dataclasses.replace(PROTOCOL, classes=(classes,), reconstructed=options)
    (figure,) = evaluator(made, splits)[0].figures(protocol)
    # The novel classes and the chosen base ones side by side, by hand.
    chosen = choose_base(8, options, novel=4, validation=4)["test" if split == "novel" else "validation"]
    of_base = np.isin(splits.base.labels, chosen)
    features = np.concatenate([made.maps[split], made.maps["base"][of_base]])
    labels = getattr(splits, SPLITS[split]).labels
    labels = np.concatenate([labels, 4 + np.searchsorted(chosen, splits.base.labels[of_base])])
    episodes = draw_episodes(class_table(labels, 8), SPEC, seed=4, start=0, count=40)
    accuracy, correct, count = by_hand.looped(pooled(features), Rule("cosine", "gap", "gap", 10.0), episodes, 8)
    np.testing.assert_allclose(figure.accuracy, accuracy)
    facts = figure.facts
    assert (facts["classes"], facts["episodes"]) == (classes, episodes.hash)
    assert facts["base_classes"] == [splits.info.class_names[label] for label in chosen]
    assert facts["reconstructed"] == {"images": 0, "seed": 2, "held_out": len(splits.base)}
    names = splits.info.test_classes if split == "novel" else splits.info.validation_classes
    shares = dict(zip((*names, *facts["base_classes"]), correct / np.maximum(count, 1), strict=True))
    assert facts["per_class"] == pytest.approx({n: shares[n] for n in facts["per_class"]}, abs=1e-6)
    assert figure.parts["base_classes"].tolist() == (episodes.classes >= 4).sum(1).tolist()
    # Three classes of three queries each: the task's accuracy is the mean of its base and its novel queries'.
    weights = figure.parts["base_classes"] / 3
    both = [np.nan_to_num(figure.parts[name]) for name in ("base_queries", "novel_queries")]
    np.testing.assert_allclose(weights * both[0] + (1 - weights) * both[1], accuracy)


def test_parts_are_kept_apart_by_their_base_classes_alone(maps, splits):
    protocols = [
        dataclasses.replace(
            PROTOCOL, classes=("novel", "reconstructed"), reconstructed=data.ReconstructedOptions(seed=n)
        )
        for n in (0, 1, 0)
    ]
    of_run, calls = evaluator(maps(), splits)
    figures = [[figure.facts for figure in of_run.figures(protocol)] for protocol in protocols]
    assert figures[0] == figures[2]
    assert figures[0][0] == figures[1][0] and figures[0][1]["base_classes"] != figures[1][1]["base_classes"]
    rows = sum(len(images) for images, _ in calls)
    # Novel images once, and with each choice of base classes once more.
    batches = [-(-len(of_run.examples("novel")) // BATCH), 2 * -(-len(of_run.examples("reconstructed")) // BATCH)]
    assert rows == sum(batches) * BATCH
    assert of_run.examples("reconstructed") is of_run.examples("reconstructed", data.ReconstructedOptions())
    assert len(of_run.labels("reconstructed", data.ReconstructedOptions(images=2))) == 16
    assert of_run.bank("reconstructed", ("gap",)).features["gap"].shape[0] == 4 * 15 + 4 * 5


def test_reconstructed_tasks_that_cannot_be_are_refused(maps, splits):
    with pytest.raises(DataError, match="of the novel and base classes together has 5 images; 3-shot episodes with 3 "):
        check_pool(splits, "reconstructed", EpisodeSpec(3, 3, 3))
    with pytest.raises(DataError, match=r"8 classes \(the validation and base classes together\) cannot make 9-way"):
        check_pool(splits, "reconstructed_validation", EpisodeSpec(9, 1, 1))
    check_pool(splits, "reconstructed", EpisodeSpec(12, 1, 1), data.ReconstructedOptions(test_base=8))
    of_run, calls = evaluator(maps(), splits)
    with pytest.raises(DataError, match="test_base=9 and validation_base=0 need 9 base classes"):
        protocol = dataclasses.replace(PROTOCOL, classes=("reconstructed",))
        list(of_run.figures(dataclasses.replace(protocol, reconstructed=data.ReconstructedOptions(test_base=9))))
    with pytest.raises(UserError, match="unknown kind of classes 'novl'; known: .*Did you mean 'novel'"):
        of_run.bank("novl", ())
    assert not calls


# --- Lists of episodes.


@pytest.mark.parametrize("classes", ["novel", "reconstructed"])
def test_a_list_of_episodes_takes_the_place_of_drawn_ones(maps, splits, tmp_path, classes):
    of_run, _ = evaluator(maps(), splits)
    labels = of_run.labels(classes)
    episodes = draw_episodes(class_table(labels, labels.max() + 1), SPEC, seed=4, start=0, count=40)
    episodes.save(tmp_path / "episodes.npz")
    episodes = data.load_episodes(tmp_path / "episodes.npz", labels=labels)
    (drawn,) = of_run.figures(dataclasses.replace(PROTOCOL, classes=(classes,)))
    # Of the protocol, only the classes and the poolings count.
    other = Protocol(way=2, shots=(1, 5), query=1, tasks=7, seed=1, classes=(classes,))
    (listed,) = of_run.figures(other, episodes=episodes)
    assert listed.facts == drawn.facts
    np.testing.assert_array_equal(listed.accuracy, drawn.accuracy)


@pytest.mark.parametrize("classes", [("both",), ("novel", "base")])
def test_a_list_of_episodes_is_of_one_kind_of_classes(maps, splits, classes):
    labels = splits.test.labels
    episodes = draw_episodes(class_table(labels, labels.max() + 1), SPEC, seed=4, start=0, count=4)
    with pytest.raises(UserError, match="a list of episodes is of one kind of classes, and not of both"):
        list(evaluator(maps(), splits)[0].figures(dataclasses.replace(PROTOCOL, classes=classes), episodes=episodes))


# --- What the data cannot do.


@pytest.mark.parametrize("classes", ["base", "both", "reconstructed", "reconstructed_validation"])
def test_base_classes_without_held_out_images_are_refused(maps, splits, classes):
    bare = data.load_splits(make_config(holdout=0).data, seed=0)
    words = "images of the base classes.* kept out of training: set config.data.base_holdout above 0"
    with pytest.raises(UserError, match=words):
        check_pool(bare, classes, SPEC)
    of_run, calls = evaluator(maps(), bare)
    with pytest.raises(UserError, match=words):
        list(of_run.figures(dataclasses.replace(PROTOCOL, classes=(classes,))))
    assert not calls


def test_base_classes_beside_novel_ones_need_images_for_queries_alone(splits):
    many = EpisodeSpec(3, 9, 4)
    check_pool(splits, "both", many)
    with pytest.raises(DataError, match="of the base classes, on images kept out of training has 5 images"):
        check_pool(splits, "base", many)


def test_a_split_without_validation_classes_says_so(splits):
    bare = dataclasses.replace(splits, validation=None)
    with pytest.raises(UserError, match="there are no images of the validation classes: choose a class split that has"):
        check_pool(bare, "validation", SPEC)


def test_poolings_of_a_network_without_maps_at_its_end_are_refused(splits):
    config = make_config()
    config.model.resnet12.dim = 5
    method = build_method(config, splits.info)
    variables = method.init(jax.random.key(0), np.zeros((2, 8, 8, 3), np.float32))
    made = types.SimpleNamespace(method=method, params=variables.pop("params"), collections=variables)
    (figure,) = evaluator(made, splits)[0].figures(PROTOCOL)
    assert figure.facts["support_pool"] == "embedding"
    with pytest.raises(
        UserError, match="pooling 'gap' reads the last feature maps, but this network has layers of its own"
    ):
        list(evaluator(made, splits)[0].figures(dataclasses.replace(PROTOCOL, poolings=("gap/gap",))))


# --- Implants.


def test_implants_are_evaluated_beside_the_network_for_two_shots_or_more(maps, splits, monkeypatch):
    adapt = implanted._adapt_and_classify.__wrapped__
    options = {"static_argnames": ("options", "rules"), "compiler_options": {"xla_backend_optimization_level": 0}}
    monkeypatch.setattr(implanted, "_adapt_and_classify", jax.jit(adapt, **options))
    made = maps("implants")
    options = dataclasses.replace(made.method.implants, channels=2, steps=1)
    protocol = dataclasses.replace(
        PROTOCOL, shots=(1, 2), tasks=6, implant_tasks=3, poolings=("gap/gap", "gap/dense"),
        classes=("novel", "reconstructed"),
    )  # fmt: skip
    of_run, _ = evaluator(made, splits, implants=options)
    figures = [figure.facts for figure in of_run.figures(protocol)]
    plain = [(1, "gap", 6, False), (1, "dense", 6, False), (2, "gap", 6, False), (2, "dense", 6, False)]
    expected = [*plain, (2, "gap", 3, True), (2, "dense", 3, True)]
    found = [(f["classes"], f["shot"], f["query_pool"], f["tasks"], "implants" in f) for f in figures]
    assert found == [(classes, *row) for classes in protocol.classes for row in expected]
    assert ["base_queries" in f for f in figures] == [False] * 6 + [True] * 6
    assert figures[-1]["implants"] == dataclasses.asdict(options)
    assert figures[-1]["tau"] == options.tau
