"""Exports of runs, read by `fsjax.exported`: their outputs are the run's, and every mistake is met with words."""

import dataclasses
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export
from PIL import Image

import fsjax
from fsjax import data, exported
from fsjax.data import DataInfo
from fsjax.export import export
from fsjax.exported import ExportError, command, load, scoring
from fsjax.exported.layout import FEATURES
from fsjax.exported.loading import opened
from fsjax.labelling import HEADS, label
from fsjax.methods import build_method
from fsjax.runs import Run

INFO = DataInfo("random", ("ä", "b", "c"), (16, 16, 3), {"train": 30}, (20, 7, 3), (0.5, 0.4, 0.3), (0.5, 0.2, 0.3))
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
SUPPORT = RNG.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
LABELS = np.array(["heron", "crane", "heron", "heron", "crane"])
LOCALIZATION = {"att_width": 4, "att_blocks": 1, "aff_hidden": 6, "crop_size": 16}

# Runs by what is scored how: (overrides of the config, "loss" or "rule", whether it has classes of its own).
KINDS = {
    "softmax": ({"loss.name": "softmax"}, "loss", True),
    "icu": ({"loss.name": "icu"}, "loss", True),
    "cosine, embedding layer": ({"model.cnn.dim": 5}, "rule", True),
    "cosine, fewer features in evaluation": (
        {"feature_dropout.name": "nested", "feature_dropout.keep": 4},
        "loss",
        True,
    ),
    "imprinted": ({"method.name": "imprinted"}, "rule", True),
    "dense": ({"method.name": "dense"}, "rule", True),
    "dense, softmax": ({"method.name": "dense", "loss.name": "softmax"}, "loss", True),
    "prototypical": ({"method.name": "prototypical"}, "rule", False),
    "msenet": ({"method.name": "msenet", "method.msenet.stages": "ends"}, "rule", False),
    "aflm": ({"method.name": "aflm", "loss.name": "softmax"}, "loss", True),
    "co_teaching": ({"method.name": "co_teaching", "loss.name": "softmax"}, "loss", True),
    "localization": (
        {"method.name": "localization", "loss.name": "softmax"}
        | {f"method.localization.{name}": value for name, value in LOCALIZATION.items()},
        "loss",
        True,
    ),
}


@pytest.fixture(scope="module")
def make_run(tmp_path_factory, jit):
    """A run of a small network that was never trained, its variables moved away from where they begin."""
    from fsjax.configs.common import base

    def make(overrides=None):
        config = base()
        config.name, config.model.name, config.loss.name = "tiny", "cnn", "cosine"
        config.data.name = "random"
        config.model.cnn.update(stages=((4,), (6,)))
        config.episodes.update(way=(3,), shot=(2,), query=(2,), per_step=2)
        config.update_from_flattened_dict(overrides or {})
        method = build_method(config, INFO)
        variables = jit(method.init)(jax.random.key(0), jnp.zeros((2, *INFO.image_shape)))
        rng = np.random.default_rng(1)
        variables = jax.tree.map(
            lambda x: x + 0.1 * np.abs(rng.normal(size=x.shape)).astype(x.dtype) if x.dtype == jnp.float32 else x,
            variables,
        )
        params = variables.pop("params")
        return Run(tmp_path_factory.mktemp("never") / "trained", config, INFO, 7, params, variables)

    return make


@pytest.fixture(scope="module")
def dense_run(make_run):
    return make_run(KINDS["dense"][0])


@pytest.fixture(scope="module")
def of_rule(dense_run, tmp_path_factory):
    """The folder of an export without classes, of dense queries."""
    folder = tmp_path_factory.mktemp("rule") / "export"
    export(dense_run, folder, with_classes=False)
    return folder


@pytest.fixture(scope="module")
def of_loss(make_run, tmp_path_factory):
    """The folder of an export of a softmax classifier."""
    folder = tmp_path_factory.mktemp("loss") / "export"
    export(make_run(KINDS["softmax"][0]), folder)
    return folder


@pytest.fixture
def copied(of_rule, tmp_path):
    """A copy of an export, to be damaged."""
    return Path(shutil.copytree(of_rule, tmp_path / "copied"))


# Of the kinds of methods; what differs in the others is the methods' own.
QUICK = {"softmax", "dense", "prototypical"}


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_outputs_are_the_runs(make_run, tmp_path, monkeypatch, kind):
    """Embeddings, scores and labels, of its own classes and of new ones."""
    overrides, scored_by, has_classes = KINDS[kind]
    run = make_run(overrides)
    # Compared here, and better.
    monkeypatch.setattr("fsjax.export.write._compared", lambda *args, **kwargs: None)
    report = export(run, tmp_path / "export")
    model = load(tmp_path / "export", batch_size=4)
    assert (report.scored_by, report.classes) == (scored_by, INFO.class_names if has_classes else ())
    close = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(model.embed(IMAGES), run.embed(IMAGES, batch_size=4), **close)
    if has_classes:
        logits = run.logits(IMAGES, batch_size=4)
        np.testing.assert_allclose(model.scores(IMAGES), logits, **close)
        assert model.predict(IMAGES).tolist() == [INFO.class_names[i] for i in logits.argmax(-1)]
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        np.testing.assert_allclose(model.probabilities(IMAGES), shares / shares.sum(-1, keepdims=True), **close)
    if scored_by == "loss":
        with pytest.raises(ExportError, match="'heron' cannot be added: .*--no-classes"):
            model.add_class("heron", SUPPORT)
        return
    for name in ("heron", "crane"):
        model.add_class(name, SUPPORT[LABELS == name])
    for name in report.classes:
        model.remove_class(name)
    few = run.few_shot(SUPPORT, LABELS, IMAGES, batch_size=4)
    assert model.predict(IMAGES).tolist() == few.tolist()
    np.testing.assert_allclose(model.scores(IMAGES), rule_scores(run, model.classes), **close)


def rule_scores(run, names):
    """The method's rule, in float32 as the run has it, for prototypes of `SUPPORT`."""
    rule = run.method.rule(run.params)
    of_support, of_queries = (
        run.method.features(run.params, run.collections, data.normalize(images, INFO), (pool,))[pool]
        for images, pool in ((SUPPORT, rule.support_pool), (IMAGES, rule.query_pool))
    )
    if rule.unit_support:
        of_support = of_support / jnp.linalg.norm(of_support, axis=-1, keepdims=True)
    return rule.scores(of_queries, jnp.stack([of_support[LABELS == name].mean(0) for name in names]))


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_any_number_of_images(dense_run, of_rule, count):
    model = load(of_rule)
    model.add_class("heron", SUPPORT[:2])
    expected = dense_run.embed(IMAGES, batch_size=4)[:count]
    np.testing.assert_allclose(model.embed(IMAGES[:count]), expected, rtol=1e-5, atol=1e-5)
    assert model.scores(IMAGES[:count]).shape == (count, 1) and model.predict(IMAGES[:count]).shape == (count,)
    assert model.embed(IMAGES[:count]).dtype == model.scores(IMAGES[:count]).dtype == np.float32


def test_similarities_are_those_of_fsjax():
    from fsjax.losses.arithmetic.similarity import SIMILARITIES

    features, vectors = (RNG.normal(size=(n, 6)).astype(np.float32) for n in (4, 3))
    for name, similarity in SIMILARITIES.items():
        rule = {"similarity": name, "tau": 3.0, "widths": [2, 4]}
        expected = similarity(features[:, :2], vectors[:, :2], 3.0) + similarity(features[:, 2:], vectors[:, 2:], 3.0)
        found = scoring.rule_scores(features, vectors.astype(np.float64), rule)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_as_it_was_trained_or_in_float32(make_run, tmp_path):
    run = make_run({"loss.name": "softmax", "model.dtype": "bfloat16"})
    report = export(run, tmp_path / "half")
    assert report.difference <= 0.02  # of 8 bits
    model = load(tmp_path / "half")
    assert "bf16" in model._programs[FEATURES].mlir_module()
    same = make_run({"loss.name": "softmax"})
    export(run, tmp_path / "whole", dtype="float32")
    model = load(tmp_path / "whole", batch_size=4)
    np.testing.assert_allclose(model.embed(IMAGES), same.embed(IMAGES, batch_size=4), rtol=1e-5, atol=1e-5)
    assert "bf16" not in model._programs[FEATURES].mlir_module()
    with pytest.raises(fsjax.UserError, match="'float16'"):
        export(run, tmp_path / "other", dtype="float16")


@pytest.mark.parametrize("kind", ["dense", "prototypical", "msenet"])
def test_labels_and_probabilities_and_rejections_are_those_of_labelling(make_run, tmp_path, monkeypatch, kind):
    run = make_run(KINDS[kind][0])
    monkeypatch.setattr("fsjax.export.write._compared", lambda *args, **kwargs: None)
    # Of classes that differ: of scores that are nearly the same, the temperature makes what is left in float32.
    blue = SUPPORT.copy()
    blue[LABELS == "crane", ..., :2] //= 8
    birds, many = save_pictures(tmp_path / "birds", blue), save_queries(tmp_path / "many")
    report = export(run, tmp_path / "export", support=birds, reject=True, platforms=("cpu",))
    model, labelled = load(tmp_path / "export", batch_size=4), label(run, birds, many, reject=True)
    assert report.threshold == labelled.threshold and labelled.classifier.temperature != 1
    assert_says_the_same(model, labelled)
    # One of which it is known that it parts the queries.
    model.facts["rule"]["threshold"] = threshold = float(np.sort([row.score for row in labelled.rows])[2:4].mean())
    labelled = label(run, birds, many, reject=threshold)
    assert sum(row.rejected for row in labelled.rows) == 3
    assert_says_the_same(model, labelled)
    model.remove_class("crane")
    model.add_class("stork", IMAGES[:3])
    model.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.facts["rule"]["threshold"] == threshold
    shares = np.exp(again.scores(IMAGES).astype(np.float64) / labelled.classifier.temperature)
    np.testing.assert_allclose(again.probabilities(IMAGES), shares / shares.sum(-1, keepdims=True), rtol=1e-5)


def save_queries(folder):
    """`IMAGES` as files."""
    folder.mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


def assert_says_the_same(model, labelled):
    """An export and the labels of `IMAGES` by `fsjax.labelling.label`, of two classes."""
    close = {"rtol": 1e-5, "atol": 1e-5}
    assert model.predict(IMAGES).tolist() == [row.label for row in labelled.rows]
    np.testing.assert_allclose(model.similarities(IMAGES), [row.score for row in labelled.rows], **close)
    expected = [row.confidence if row.best == 0 else 1 - row.confidence for row in labelled.rows]
    np.testing.assert_allclose(model.probabilities(IMAGES)[:, 0], expected, **close)


@pytest.mark.slow
def test_implants_trained_for_the_support_pictures(few_shot_runs, tmp_path):
    """As the labelling of pictures has them, and other features than the network without."""
    run = fsjax.restore(few_shot_runs["implants"])
    pictures, many = save_pictures(tmp_path / "birds"), save_queries(tmp_path / "many")
    shutil.copy(many / "0.png", pictures / "crane" / "2.png")  # three of each: one can be left out
    report = export(run, tmp_path / "export", support=pictures, implants=True, reject=True)
    model = load(tmp_path / "export", batch_size=4)
    assert report.classes == ("crane", "heron") and report.difference < 1e-5
    labelled = label(run, pictures, many, implants=True, reject=True)
    assert report.threshold == labelled.threshold and labelled.classifier.temperature != 1
    assert_says_the_same(model, labelled)
    assert model.embed(IMAGES).shape[1] == run.embed(IMAGES).shape[1] + 4
    for number in (1, 2):
        (tmp_path / "birds" / "crane" / f"{number}.png").unlink()
    with pytest.raises(fsjax.UserError, match="'crane' has 1 support picture: implants"):
        export(run, tmp_path / "export", support=pictures, implants=True)
    with pytest.raises(fsjax.UserError, match="--implants are trained on the pictures of --support"):
        export(run, tmp_path / "export", implants=True)


def save_pictures(folder, images=SUPPORT):
    """Images of `LABELS` as files of class folders."""
    for name in np.unique(LABELS):
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(images[name == LABELS]):
            Image.fromarray(image).save(folder / name / f"{number}.png")
    return folder


def test_classes_of_folders_are_those_of_their_pictures(dense_run, of_rule, tmp_path):
    pictures = save_pictures(tmp_path / "my birds ü")
    (pictures / "crane" / "broken.png").write_bytes(b"no picture")
    report = export(dense_run, tmp_path / "export", support=pictures, platforms=("cpu",), head="prototypes")
    (unreadable,) = report.unreadable
    assert unreadable.startswith("crane/broken.png")
    model, other = load(tmp_path / "export"), load(of_rule)
    for name in ("crane", "heron"):
        other.add_class(name, SUPPORT[name == LABELS])
    assert model.classes == other.classes == report.classes and model.counts == {"crane": 2, "heron": 3}
    np.testing.assert_allclose(model.scores(IMAGES), other.scores(IMAGES), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_each_head_says_what_labels_say(dense_run, tmp_path, head):
    """The export's labels, probabilities and similarities of files are those of `label`, with the same head."""
    support, queries = save_pictures(tmp_path / "few"), save_pictures(tmp_path / "many", SUPPORT + IMAGES[:5])
    files = sorted(queries.rglob("*.png"))
    labelled = label(dense_run, support, files, head=head, reject=True)
    report = export(dense_run, tmp_path / "export", support=support, platforms=("cpu",), head=head, reject=True)
    model = load(tmp_path / "export")
    images = model.open_pictures(files)
    assert report.head == model.facts["rule"]["head"] == labelled.classifier.head == head
    assert report.doubt == labelled.classifier.verdict.doubt
    assert model.predict(images).tolist() == [row.label for row in labelled.rows]
    np.testing.assert_allclose(model.similarities(images), [row.score for row in labelled.rows], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        model.probabilities(images), labelled.classifier.classify(images).probability, rtol=1e-3, atol=1e-4
    )
    model.save(tmp_path / "again")
    assert load(tmp_path / "again").predict(images).tolist() == model.predict(images).tolist()
    if head in ("prototypes", "centred"):
        model.add_class("stork", IMAGES[:2])
        assert "stork" in model.classes
    else:
        for add in (lambda: model.add_class("stork", IMAGES[:2]), lambda: model.add_pictures("heron", IMAGES[:2])):
            with pytest.raises(ExportError, match=f"head '{head}' was fitted on the pictures of all.*--head prot"):
                add()
    kept = model.classes[0]
    for name in model.classes[1:]:
        model.remove_class(name)
    assert set(load(tmp_path / "export").classes) > {kept} and np.isfinite(model.scores(images)).all()


def test_without_a_head_asked_for_the_best_goes_along(dense_run, tmp_path):
    support = save_pictures(tmp_path / "few")
    labelled = label(dense_run, support, support)
    report = export(dense_run, tmp_path / "export", support=support, platforms=("cpu",))
    assert report.head == labelled.classifier.head
    files = [row.file for row in labelled.rows]
    model = load(tmp_path / "export")
    assert model.predict(model.open_pictures(files)).tolist() == [row.label for row in labelled.rows]


def test_a_head_needs_pictures(dense_run, tmp_path):
    with pytest.raises(fsjax.UserError, match="the head 'ridge' is fitted on the pictures of --support"):
        export(dense_run, tmp_path / "export", head="ridge")
    with pytest.raises(fsjax.UserError, match="unknown head 'svm'"):
        export(dense_run, tmp_path / "export", head="svm")


@pytest.mark.parametrize("unit_support", [False, True])
def test_more_pictures_later_are_as_all_at_once(of_rule, unit_support):
    at_once, later = load(of_rule), load(of_rule)
    for model in (at_once, later):
        model.facts["rule"]["unit_support"] = unit_support
    at_once.add_class("heron", SUPPORT)
    later.add_class("heron", SUPPORT[:2])
    later.add_pictures("heron", SUPPORT[2:])
    assert at_once.counts == later.counts == {"heron": 5}
    for model in (at_once, later):
        model.add_class("crane", IMAGES[:1])
    np.testing.assert_allclose(later.scores(IMAGES), at_once.scores(IMAGES), rtol=1e-6, atol=1e-6)


def test_classes_come_and_go_without_touching_the_others(of_loss):
    model = load(of_loss)
    before = model.scores(IMAGES)
    model.remove_class("b")
    assert model.classes == ("ä", "c")
    np.testing.assert_array_equal(model.scores(IMAGES), before[:, [0, 2]])
    with pytest.raises(ExportError, match="no class 'b'; there are: 'ä', 'c'"):
        model.remove_class("b")
    model.remove_class("ä")
    with pytest.raises(ExportError, match="'c' is the last one"):
        model.remove_class("c")
    assert set(model.predict(IMAGES)) == {"c"}


def test_trained_classes_beside_those_of_pictures(dense_run, tmp_path):
    report = export(dense_run, tmp_path / "export", reject=0.25)
    model = load(tmp_path / "export", batch_size=4)
    model.add_class("heron", SUPPORT)
    assert model.counts == {"ä": 0, "b": 0, "c": 0, "heron": 5}
    rule = dense_run.method.rule(dense_run.params)
    features = dense_run.method.features(
        dense_run.params, dense_run.collections, data.normalize(np.concatenate([SUPPORT, IMAGES]), INFO), rule.features
    )
    vectors = jnp.concatenate([dense_run.params["loss"]["weights"], features["gap"][:5].mean(0, keepdims=True)])
    expected = rule.scores(features["dense"][5:], vectors)
    np.testing.assert_allclose(model.scores(IMAGES), expected, rtol=1e-5, atol=1e-5)
    pooled, vectors = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (features["gap"][5:], vectors))
    np.testing.assert_allclose(model.similarities(IMAGES), (pooled @ vectors.T).max(-1), rtol=1e-5, atol=1e-5)
    assert report.threshold.value == model.facts["rule"]["threshold"] == 0.25
    with pytest.raises(ExportError, match="'b' was trained, and is no mean"):
        model.add_pictures("b", SUPPORT)


def test_saved_and_opened_again(of_rule, tmp_path):
    model = load(of_rule)
    model.add_class("crane ü", SUPPORT[:2])
    model.save(tmp_path / "new" / "folder")
    model.add_class("<b>", SUPPORT[2:])
    model.save(tmp_path / "new" / "folder")
    again = load(tmp_path / "new" / "folder")
    assert again.classes == ("crane ü", "<b>") and again.counts == model.counts
    np.testing.assert_array_equal(again.scores(IMAGES), model.scores(IMAGES))
    again.add_pictures("<b>", IMAGES)  # the sums are there, not only the means
    assert again.counts["<b>"] == 10
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["folder"]
    (tmp_path / "new" / "folder" / "diary.txt").write_text("dear")
    with pytest.raises(ExportError, match="holds 'diary.txt', which no export does"):
        model.save(tmp_path / "new" / "folder")
    with pytest.raises(ExportError, match="is a file"):
        model.save(tmp_path / "new" / "folder" / "diary.txt")


def test_an_export_that_cannot_be_replaced_stays(copied, monkeypatch):
    model = load(copied)
    model.add_class("crane", SUPPORT)
    rename = Path.rename

    def fails(self, target):
        if self.parent.name == "fresh" and self.name == "features.jaxexport":
            raise PermissionError("the disk is full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(ExportError, match="cannot be written: the disk is full"):
        model.save(copied)
    assert load(copied).classes == () and [path.name for path in copied.parent.iterdir()] == ["copied"]


@pytest.mark.parametrize("name", ["features.jaxexport", "weights.npz", "classes.npz"])
def test_a_damaged_or_missing_file_is_named(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ExportError, match=rf"{name} is damaged .*sha256"):
        load(copied)
    (copied / name).unlink()
    with pytest.raises(ExportError, match=rf"{name} cannot be read"):
        load(copied)


def test_folders_that_are_none(copied, tmp_path):
    def with_facts(**changes):
        facts = json.loads((copied / "export.json").read_text())
        (copied / "export.json").write_text(json.dumps(facts | changes))
        return copied

    with pytest.raises(ExportError, match="holds no export.json: is it the folder of an export"):
        load(tmp_path)
    with pytest.raises(ExportError, match="has format 1, and this is a reader of format 4: .*or export the run again"):
        load(with_facts(format=1))
    (copied / "export.json").write_text('{"format": 4}')
    with pytest.raises(ExportError, match="is not as it was written .*run, images"):
        load(copied)
    (copied / "export.json").write_text("{")
    with pytest.raises(ExportError, match=r"export.json cannot be read: .*export the run again"):
        load(copied)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("files", "../x"), {}, r"\(../x\)"),
        (("files", "weights.npz"), "abc", r"files\['weights.npz'\]"),
        (("files", "logits.jaxexport"), {"sha256": "abc"}, r"weights\['logits.jaxexport'\]"),
        (("weights",), [], r"\(weights\)"),
        (("weights", "features.jaxexport"), [], "do not agree about 'collections/"),
        (("classes",), 5, r"\(classes\)"),
        (("classes",), ["heron"], "names 1 classes, and classes.npz has 0"),
        (("classes",), ["heron", "heron"], "two of one name"),
        (("images", "shape"), [16, 16], r"images\['shape'\]"),
        (("rule", "temperature"), 0, r"rule\['temperature'\]"),
        (("rule", "threshold"), "0.5", r"rule\['threshold'\]"),
        (("rule", "similarity"), "cosin", r"rule\['similarity'\]"),
        (("rule", "query_pool"), "gab", "do not agree about 'gab'"),
        (("pictures",), None, r"\(pictures\)"),
    ],
)
def test_facts_that_somebody_edited(copied, path, value, named):
    facts = json.loads((copied / "export.json").read_text())
    inner = facts
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (copied / "export.json").write_text(json.dumps(facts))
    with pytest.raises(ExportError, match=named):
        load(copied)


def test_another_platform(dense_run, tmp_path):
    report = export(dense_run, tmp_path / "tpu", platforms=("tpu",))
    assert report.difference is None
    with pytest.raises(ExportError, match="exported for tpu, and jax computes on cpu here.*--platforms tpu cpu"):
        load(tmp_path / "tpu")
    with pytest.raises(fsjax.UserError, match="unknown platform 'gpu'; known: cpu, cuda, rocm, tpu"):
        export(dense_run, tmp_path / "gpu", platforms=("gpu",))
    with pytest.raises(fsjax.UserError, match="each once"):
        export(dense_run, tmp_path / "gpu", platforms=("cpu", "cpu"))


def test_a_program_of_another_jax(of_rule):
    """Its whole files do not open here."""
    facts = json.loads((of_rule / "export.json").read_text())
    files = {name: (of_rule / name).read_bytes() for name in facts["files"]}
    files["features.jaxexport"] = files["features.jaxexport"][:-4000]
    facts["jax"] = "0.99.1"
    with pytest.raises(ExportError, match=r"made with jax 0.99.1 .*\n.*up to six months .*pip install jax==0.99.1"):
        opened(facts, files).embed(IMAGES)


def test_images_that_the_network_does_not_take(of_rule):
    model = load(of_rule)
    for images, words in (
        (IMAGES.astype(np.float32), "dtype float32: give uint8 .*255 \\* images"),
        (IMAGES[0], r"shape \(16, 16, 3\): this network takes \[n, 16, 16, 3\] .*image\[None\]"),
        (IMAGES[:, :8], r"shape \(7, 8, 16, 3\)"),
        (np.concatenate([IMAGES] * 2, -1), r"shape \(7, 16, 16, 6\)"),
    ):
        with pytest.raises(ExportError, match=words):
            model.embed(images)
    grey = IMAGES[..., 0]
    np.testing.assert_array_equal(model.embed(grey), model.embed(np.repeat(grey[..., None], 3, -1)))


def test_classes_that_cannot_be(of_rule):
    model = load(of_rule)
    with pytest.raises(ExportError, match="no classes yet: model.add_class"):
        model.predict(IMAGES)
    with pytest.raises(ExportError, match="'heron' needs at least one picture"):
        model.add_class("heron", IMAGES[:0])
    with pytest.raises(ExportError, match="not empty"):
        model.add_class("", IMAGES)
    with pytest.raises(ExportError, match="no class 'heron'; there are: none"):
        model.add_pictures("heron", IMAGES)
    model.add_class("heron", IMAGES)
    with pytest.raises(ExportError, match=r"add_pictures\('heron', images\)"):
        model.add_class("heron", IMAGES)
    model.facts["rule"]["threshold"] = 0.5
    with pytest.raises(ExportError, match="'none of these' is that of rejected pictures"):
        model.add_class("none of these", IMAGES)
    with pytest.raises(ExportError, match="batch_size=0"):
        load(of_rule, batch_size=0)


def test_options_that_exclude_each_other(dense_run, tmp_path):
    with pytest.raises(fsjax.UserError, match="--support and --no-classes"):
        export(dense_run, tmp_path / "x", support=tmp_path, with_classes=False)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.tex").touch()
    with pytest.raises(fsjax.UserError, match=r"holds 'thesis.tex', which no export does"):
        export(dense_run, tmp_path / "x")
    twice = dataclasses.replace(dense_run, info=dataclasses.replace(INFO, class_names=("a", "b", "a")))
    with pytest.raises(fsjax.UserError, match="two classes of the run are called 'a'"):
        export(twice, tmp_path / "y")


def test_places_that_cannot_be_written_are_known_before_the_work(dense_run, tmp_path, monkeypatch):
    """Permissions are no oracle: the tests may run as root, to whom all is allowed."""

    def refused(*args, dir, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fsjax.export.write.source_of", lambda *args, **kwargs: pytest.fail("computed"))
    (tmp_path / "file").touch()
    with pytest.raises(fsjax.UserError, match="there is no folder .*file"):
        export(dense_run, tmp_path / "file" / "x")
    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(fsjax.UserError, match="new cannot be written: Permission denied; choose another place"):
        export(dense_run, tmp_path / "new" / "x")
    assert not (tmp_path / "new").exists()
    with pytest.raises(fsjax.UserError, match="export.json cannot be written: Permission denied"):
        (tmp_path / "empty").mkdir()
        export(dense_run, tmp_path / "empty")


def test_a_folder_beside_which_nothing_can_be_written(of_rule, tmp_path, monkeypatch):
    """It is filled, and replaced, all the same: nothing is made or moved beside it."""
    folder, mkdir, rename = tmp_path / "parent" / "export", Path.mkdir, Path.rename
    folder.mkdir(parents=True)

    def inside(path):
        if folder not in Path(path).parents:
            raise PermissionError(13, "Permission denied", str(path))

    make = tempfile.mkdtemp
    monkeypatch.setattr("tempfile.mkdtemp", lambda *args: inside(Path(args[-1]) / "x") or make(*args))
    monkeypatch.setattr(Path, "rename", lambda path, to: inside(path) or inside(to) or rename(path, to))
    monkeypatch.setattr(
        Path, "mkdir", lambda path, *args, **kwargs: path.is_dir() or inside(path) or mkdir(path, *args, **kwargs)
    )
    model = load(of_rule)
    for name in ("crane", "heron"):
        model.add_class(name, SUPPORT)
        model.save(folder)
        assert load(folder).classes == model.classes
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in of_rule.iterdir())


def test_thresholds_that_cannot_be(make_run, dense_run, of_loss, tmp_path):
    out, birds = tmp_path / "x", save_pictures(tmp_path / "birds")
    with pytest.raises(ExportError, match="by the rule of its loss, which has no similarities"):
        load(of_loss).similarities(IMAGES)
    with pytest.raises(fsjax.UserError, match="by the rule of its loss, which has none: export with --support"):
        export(make_run(KINDS["softmax"][0]), out, reject=0.5)
    with pytest.raises(fsjax.UserError, match=r"chosen on the pictures of --support: .*or the threshold"):
        export(dense_run, out, reject=True)
    with pytest.raises(fsjax.UserError, match="reject=inf must be a number"):
        export(dense_run, out, support=birds, reject=float("inf"))
    renamed = dataclasses.replace(dense_run, info=dataclasses.replace(INFO, class_names=("a", "b", "none of these")))
    with pytest.raises(fsjax.UserError, match="class of the run is called 'none of these'"):
        export(renamed, out, reject=0.5)
    for file in (birds / "crane" / "1.png", birds / "heron" / "1.png", birds / "heron" / "2.png"):
        file.unlink()
    with pytest.raises(fsjax.UserError, match="too few: at least one class needs 2 or more"):
        export(dense_run, out, support=birds, reject=True)
    (birds / "crane").rename(birds / "none of these")
    with pytest.raises(fsjax.UserError, match="a class folder is called 'none of these'"):
        export(dense_run, out, support=birds, reject=0.5)
    assert not out.exists()


def test_the_function_is_free_in_its_batch_and_without_unstable_calls(of_rule):
    """By what jax says of the file, which no code of ours has read."""
    program = jax_export.deserialize(bytearray((of_rule / "features.jaxexport").read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu") and not program.has_vjp()
    assert [str(aval.shape) for aval in program.in_avals if aval.dtype == np.uint8] == ["(batch, 16, 16, 3)"]
    assert {str(aval.dtype) for aval in program.out_avals} == {"float32"}
    with np.load(of_rule / "weights.npz") as weights:
        assert set(weights) == set(json.loads((of_rule / "export.json").read_text())["weights"]["features.jaxexport"])


# Pictures.


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Files of all kinds."""
    folder = tmp_path_factory.mktemp("pictures")
    rgb = Image.fromarray(RNG.integers(0, 256, (40, 30, 3), dtype=np.uint8))
    grey = RNG.integers(0, 2**16, (20, 33), dtype=np.uint16)
    clear = np.dstack([np.asarray(rgb), RNG.integers(0, 256, (40, 30), dtype=np.uint8)])
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.save(folder / "turned ü.jpg", exif=exif)
    rgb.save(folder / "plain.webp", lossless=True)
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.quantize(9).save(folder / "palette.gif")
    rgb.convert("1").save(folder / "bits.bmp")
    rgb.convert("LA").save(folder / "grey and alpha.png")
    Image.fromarray(clear, "RGBA").save(folder / "alpha.png")
    Image.fromarray(grey).save(folder / "sixteen.png")
    Image.fromarray(grey.astype(np.float32) / 2**16).save(folder / "share.tiff")
    Image.fromarray(grey.astype(np.int32)).save(folder / "wide.tiff", tiffinfo={274: 6})
    return sorted(folder.iterdir())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", [("crop", 1.0, "bilinear"), ("crop", 0.875, "bicubic"), ("stretch", 1.0, "lanczos")])
def test_pictures_are_opened_as_fsjax_opens_them(of_rule, make_run, pictures, channels, view):
    model, shape = load(of_rule), (16, 16, channels)
    fit, share, resize = view
    config = make_run().config.data.copy_and_resolve_references()
    config.update(image_size=16, fit=fit, resize=resize)
    config.augment.crop = "random_resized" if share < 1 else "none"
    model.facts["pictures"] = {"image_size": 16, "fit": fit, "share": share, "resize": resize}
    model.facts["images"]["shape"] = list(shape)
    expected = data.open_pictures(pictures, config, dataclasses.replace(INFO, image_shape=shape))
    assert dataclasses.asdict(expected.view) == model.facts["pictures"]
    np.testing.assert_array_equal(model.open_pictures(pictures), expected.images)


def test_pictures_that_cannot_be_opened(of_rule, tmp_path, monkeypatch):
    model = load(of_rule)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    Image.new("L", (40, 30)).save(tmp_path / "large.png")
    Image.fromarray(np.full((9, 9), np.nan, np.float32)).save(tmp_path / "nan.tiff")
    with pytest.raises(ExportError, match=r"nan.tiff cannot be read: some of its values are no finite numbers"):
        model.open_pictures([tmp_path / "nan.tiff"])
    with pytest.raises(ExportError, match=r"broken.jpg cannot be read"):
        model.open_pictures([tmp_path / "broken.jpg"])
    with pytest.raises(ExportError, match=r"none.jpg cannot be read: .*No such file"):
        model.open_pictures([tmp_path / "none.jpg"])
    monkeypatch.setattr(exported.pictures, "MAX_PIXELS", 1199)
    with pytest.raises(ExportError, match=r"large.png cannot be read: 40×30 pixels are more than 1,199"):
        model.open_pictures([tmp_path / "large.png"])
    model.facts["pictures"]["image_size"] = 0
    monkeypatch.undo()
    with pytest.raises(ExportError, match=r"large.png is 30×40, and this network takes 16×16"):
        model.open_pictures([tmp_path / "large.png"])


# Without fsjax.


def test_with_jax_and_numpy_alone(python, root, dense_run, tmp_path):
    """In a process where nothing else is installed, with the copy that lies in the folder."""
    birds = save_pictures(tmp_path / "birds")
    export(dense_run, tmp_path / "export", support=birds, platforms=("cpu",), reject=-2, head="prototypes")
    np.save(tmp_path / "images.npy", IMAGES)
    script = root / "tests" / "exported_on_bare_machine.py"
    places = (str(tmp_path / name) for name in ("export", "images.npy", "new"))
    done = python(str(script), *places, PYTHONPATH=str(root))
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["loaded"] == []
    model = load(tmp_path / "export")
    np.testing.assert_allclose(result["embedded"], model.embed(IMAGES), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(result["scores"], model.scores(IMAGES), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(result["probabilities"], model.probabilities(IMAGES), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(result["similarities"], model.similarities(IMAGES), rtol=1e-5, atol=1e-5)
    assert result["labels"] == dense_run.few_shot(SUPPORT, LABELS, IMAGES).tolist()
    model.add_class("stork", IMAGES[:2])
    again = load(tmp_path / "new")
    assert again.classes == ("crane", "heron", "stork")
    np.testing.assert_allclose(again.scores(IMAGES), model.scores(IMAGES), rtol=1e-5, atol=1e-5)


def test_without_flatbuffers_the_way_to_get_it_is_said(of_rule, monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ExportError, match="pip install flatbuffers"):
        load(of_rule)


def test_the_command_in_the_folder(dense_run, of_loss, tmp_path, capsys, monkeypatch):
    birds = save_pictures(tmp_path / "birds")
    export(dense_run, tmp_path / "export", support=birds, platforms=("cpu",))
    monkeypatch.setattr(exported.loading, "__file__", str(tmp_path / "export" / "exported" / "loading.py"))
    file = birds / "crane" / "0.png"
    assert command.main([str(file)]) == 0
    name, said, share, near = capsys.readouterr().out.strip().split("\t")
    model, image = load(tmp_path / "export"), np.asarray(Image.open(file))[None]
    assert (name, said) == (str(file), load().predict(image)[0])
    assert float(share) == pytest.approx(model.probabilities(image).max(), abs=1e-3)
    assert float(near) == pytest.approx(model.similarities(image)[0], rel=1e-3)
    model.facts["rule"]["threshold"] = 2.0  # above every cosine
    model.save(tmp_path / "export")
    assert command.main([str(file)]) == 0
    assert capsys.readouterr().out.strip().split("\t") == [str(file), "none of these", "-", near]
    assert command.main([str(tmp_path / "none.png")]) == 2
    assert "error: " in capsys.readouterr().err
    (tmp_path / "a\tb.png").write_bytes(b"no picture")
    odd = str(shutil.copy(file, tmp_path / "c\nd\udcff.png"))
    assert command.main([str(file), str(tmp_path / "a\tb.png"), odd]) == 3
    printed = capsys.readouterr()
    said = [line.split("\t")[0] for line in printed.out.splitlines()]
    assert said == [str(file), str(tmp_path / "c") + r"\nd\udcff.png"]
    assert r"a\tb.png cannot be read" in printed.err and len(printed.err.splitlines()) == 1
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
        assert command.main([shutil.copy(str(file), str(tmp_path / "ü.png"))]) == 0
        sys.stdout.seek(0)
        assert sys.stdout.read().startswith(str(tmp_path / r"\xfc.png"))
    assert command.main([]) == 2 and "photo.jpg" in capsys.readouterr().out
    monkeypatch.setattr(exported.loading, "__file__", str(of_loss / "exported" / "loading.py"))
    assert command.main([str(file)]) == 0 and len(capsys.readouterr().out.split("\t")) == 3


def test_files_that_are_no_arrays_are_not_unpickled(copied):
    stream = io.BytesIO()
    np.savez(stream, vectors=np.array([{}], object), counts=np.zeros(1), outputs=np.zeros(1))
    facts = json.loads((copied / "export.json").read_text())
    files = {name: (copied / name).read_bytes() for name in facts["files"]} | {"classes.npz": stream.getvalue()}
    with pytest.raises(ValueError, match="allow_pickle"):
        opened(facts, files)
