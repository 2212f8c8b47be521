"""Runs on divided classes: what they report, what selects their checkpoint, and that test data have no part in it."""

import dataclasses
import json
import re

import numpy as np
import pytest

import fsjax
from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.protocol import Protocol
from fsjax.training import run
from fsjax.training.checkpoints import steps_in

METHODS = ("dense", pytest.param("prototypical", marks=pytest.mark.slow))


@pytest.fixture(scope="module", params=METHODS)
def finished(request, noise_config, tmp_path_factory):
    """A finished run of the method: its config, its folder and its result."""
    config, workdir = noise_config(request.param), tmp_path_factory.mktemp(request.param) / "run"
    return config, workdir, run(config, workdir)


def changed(change):
    """`load_splits` whose splits were changed afterwards."""
    load = data.load_splits
    return lambda *args, **kwargs: change(load(*args, **kwargs))


def permuted(examples):
    """The same images with their labels permuted; each class keeps its number of images."""
    order = np.random.default_rng(5).permutation(len(examples))
    return dataclasses.replace(examples, labels=examples.labels[order])


def other_images(examples):
    """The same labels over pictures that are all different, and easily told apart by class."""
    grey = (40 * (examples.labels % 6) + 20).astype(np.uint8)
    images = np.ones_like(examples.images) * grey[:, None, None, None]
    return dataclasses.replace(examples, images=images)


def outcome(result):
    """What a run reports of its training; `test` is left out."""
    training = {k: v for k, v in result["training"].items() if k != "seconds"}
    return {"training": training, "selected": result["selected"], "validation": result["validation"]}


def test_figures_say_what_they_were_measured_on(finished):
    config, workdir, result = finished
    assert json.loads((workdir / "result.json").read_text()) == json.loads(json.dumps(result))
    figures = result["test"]["figures"]
    kinds = [(f["classes"], f["shot"]) for f in figures]
    assert kinds == [(c, shot) for c in ("novel", "base", "both") for shot in (2, 1)]
    assert result["test"]["accuracy"] == figures[0]["accuracy"]
    query_pool = "dense" if config.method.name == "dense" else "gap"
    for figure in figures:
        assert (figure["way"], figure["query"], figure["tasks"], figure["seed"]) == (5, 4, 30, 0)
        assert (figure["support_pool"], figure["query_pool"]) == ("gap", query_pool)
        assert ("tau" in figure) == (query_pool == "dense")
        assert re.fullmatch(r"[0-9a-f]{16}(\+[0-9a-f]{16})?", figure["episodes"])
        assert 0 < figure["accuracy"] < 1 and figure["interval"] > 0
    # What the hash stands for: the list that anyone can draw.
    splits = data.load_splits(config.data, seed=config.seed)
    for part, number in (("test", 0), ("base", 2)):
        table = data.class_table(getattr(splits, part).labels, 5 if part == "test" else 10)
        drawn = data.draw_episodes(table, data.parse_spec(way=5, shot=2, query=4), seed=0, start=0, count=30)
        assert drawn.hash == figures[number]["episodes"]


def test_validation_tasks_select_the_checkpoint(finished, figures_of):
    _, workdir, result = finished
    validation = [x for x in figures_of(workdir) if x["kind"] == "validation"]
    assert [(x["step"], x["tasks"]) for x in validation] == [(2, 20), (4, 20), (6, 20)]
    best = max(validation, key=lambda x: (x["accuracy"], x["step"]))
    assert result["selected"] == {"step": best["step"], "why": "best validation accuracy"}
    assert steps_in(workdir / "checkpoints" / "best") == [best["step"]]
    assert result["validation"] == {k: v for k, v in best.items() if k != "kind"}
    assert fsjax.restore(workdir).step == best["step"]


@pytest.mark.parametrize("change", [permuted, other_images])
def test_test_data_change_nothing_before_the_final_evaluation(
    finished, figures_of, arrays_of, tmp_path, monkeypatch, change
):
    """Of novel classes and of base classes held out: labels, then images.

    Every figure logged, every array saved, and the step selected are equal in all bits; the test result is not.
    """
    config, workdir, expected = finished
    with monkeypatch.context() as patch:
        both = changed(lambda s: dataclasses.replace(s, test=change(s.test), base=change(s.base)))
        patch.setattr(data, "load_splits", both)
        result = run(config, tmp_path / "run")
    assert figures_of(tmp_path / "run") == figures_of(workdir)
    arrays = arrays_of(config, workdir)
    assert {which for which, *_ in arrays} == {"latest", "best"} and len(arrays) > 50
    assert arrays_of(config, tmp_path / "run") == arrays
    assert outcome(result) == outcome(expected)
    figures = zip(result["test"]["figures"], expected["test"]["figures"], strict=True)
    assert all(found["accuracy"] != known["accuracy"] for found, known in figures)


def test_novel_labels_reach_no_choice_that_the_data_make(finished, figures_of, arrays_of, tmp_path, monkeypatch):
    """As above, changed where they are read: before statistics are taken and images are held out."""
    from fsjax.data import by_class

    def divide(*args):
        parts, classes = by_class.divide(*args)
        return {**parts, "test": permuted(parts["test"])}, classes

    config, workdir, expected = finished
    with monkeypatch.context() as patch:
        patch.setattr("fsjax.data.load.divide", divide)
        result = run(config, tmp_path / "run")
    assert figures_of(tmp_path / "run") == figures_of(workdir)
    assert arrays_of(config, tmp_path / "run") == arrays_of(config, workdir)
    assert outcome(result) == outcome(expected)
    pairs = zip(result["test"]["figures"], expected["test"]["figures"], strict=True)
    assert {a["classes"] for a, b in pairs if a["accuracy"] != b["accuracy"]} == {"novel", "both"}


def test_validation_data_do_select(finished, figures_of, tmp_path, monkeypatch):
    """The counterpart of the test above: it would see a difference if there were one."""
    config, workdir, _ = finished
    with monkeypatch.context() as patch:
        change = changed(lambda s: dataclasses.replace(s, validation=permuted(s.validation)))
        patch.setattr(data, "load_splits", change)
        run(config, tmp_path / "run")
    found, known = (
        {kind: [x for x in figures_of(folder) if x["kind"] == kind] for kind in ("train", "validation")}
        for folder in (tmp_path / "run", workdir)
    )
    assert found["train"] == known["train"]
    assert found["validation"] != known["validation"]


def test_a_run_that_was_stopped_has_the_bits_of_one_that_was_not(finished, run_until, figures_of, arrays_of, tmp_path):
    config, workdir, expected = finished
    run_until(4, config, tmp_path)
    assert steps_in(tmp_path / "checkpoints" / "latest")[-1] == 4
    assert not (tmp_path / "result.json").exists()
    result = run(config, tmp_path)
    assert figures_of(tmp_path) == figures_of(workdir)
    assert arrays_of(config, tmp_path) == arrays_of(config, workdir)
    assert outcome(result) == outcome(expected) and result["test"] == expected["test"]


def test_tasks_of_validation_and_base_classes_select_the_checkpoint(noise_config, figures_of, tmp_path):
    """And say so: a figure of the same tasks, drawn afterwards from the checkpoint, is the one that was logged."""
    config = noise_config(
        "dense",
        few_shot__classes=("reconstructed",),
        few_shot__shots=(2,),
        few_shot__reconstructed__seed=3,
        few_shot__reconstructed__validation_base=4,
        few_shot__validation__classes="reconstructed_validation",
    )
    result = run(config, tmp_path / "run")
    validation = [x for x in figures_of(tmp_path / "run") if x["kind"] == "validation"]
    best = max(validation, key=lambda x: (x["accuracy"], x["step"]))
    assert result["selected"] == {"step": best["step"], "why": "best validation accuracy"}
    options = data.ReconstructedOptions(validation_base=4, seed=3)
    protocol = Protocol(
        classes=("reconstructed_validation", "validation"), shots=(2,), query=4, tasks=20, reconstructed=options
    )  # fmt: skip
    mixed, alone = fsjax.restore(tmp_path / "run").evaluator().figures(protocol)
    assert best["accuracy"] == pytest.approx(mixed.facts["accuracy"]) and best["tasks"] == 20
    assert mixed.facts["episodes"] != alone.facts["episodes"] and len(mixed.facts["base_classes"]) == 4
    (figure,) = result["test"]["figures"]
    assert figure["classes"] == "reconstructed" and len(figure["base_classes"]) == 5
    assert not set(figure["base_classes"]) & set(mixed.facts["base_classes"])
    assert result["test"]["accuracy"] == figure["accuracy"]


def test_a_method_on_episodes_with_a_loss_of_its_own_names_it(noise_config, tmp_path):
    config = noise_config("aflm", train__steps=2, few_shot__classes=("novel",), few_shot__shots=(2,))
    result = run(config, tmp_path / "run")
    assert result["loss"] == "cosine" and result["training"]["batch_size"] == config.episodes.per_step * 4 * (2 + 2)
    restored = fsjax.restore(tmp_path / "run")
    assert "method aflm, loss cosine" in repr(restored) and "embeddings 16-d" in repr(restored)
    assert restored.predict(np.zeros((3, 8, 8, 3), np.uint8)).shape == (3,)
    assert run(noise_config("prototypical", train__steps=1), tmp_path / "other")["loss"] is None


def test_without_validation_classes_the_last_step_is_scored(noise_config, tmp_path):
    config = noise_config("dense", data__class_split__validation=0.0, few_shot__classes=("novel",))
    result = run(config, tmp_path / "run")
    assert result["selected"]["step"] == 6 and "no validation data" in result["selected"]["why"]
    assert result["validation"] is None
    assert [f["classes"] for f in result["test"]["figures"]] == ["novel"] * 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"episodes__shot": (20,)}, r"class 'class_\d+' .*has 18 images; 20-shot episodes with 2 queries need 22"),
        ({"episodes__way": (11,)}, "11-way"),
        ({"episodes__per_step": 0}, "config.episodes.per_step=0 must be at least 1"),
        ({"train__batch_size": 16}, "config.train.batch_size=16, but method 'prototypical' trains on episodes: set it"),
        ({"train__steps": 0, "train__epochs": 2.0}, "no epochs: set config.train.steps"),
        ({"few_shot__query": (30,)}, "need 32"),
        ({"few_shot__way": (6,)}, "6-way"),
        ({"few_shot__validation__query": (30,)}, "need 32"),
        ({"data__base_holdout": 0}, "set config.data.base_holdout above 0"),
        (
            {"data__base_holdout": 0, "few_shot__classes": ("reconstructed",)},
            "base classes that were kept out of training: set config.data.base_holdout above 0",
        ),
        (
            {
                "data__base_holdout": 0,
                "few_shot__classes": ("novel",),
                "few_shot__validation__classes": "reconstructed_validation",
            },
            "base classes that were kept out of training: set config.data.base_holdout above 0",
        ),
        (
            {"data__class_split__validation": 0.0, "few_shot__validation__classes": "reconstructed_validation"},
            "'reconstructed_validation', but the class split has no validation classes: set it to 'validation'",
        ),
        ({"few_shot__classes": ("reconstructed",), "few_shot__reconstructed__test_base": 11}, "need 11 base classes"),
        ({"few_shot__classes": ("reconstructed",), "few_shot__reconstructed__images": 5}, "need 6"),
        ({"few_shot__reconstructed__seed": -1}, "few_shot.reconstructed.seed=-1 must be at least 0"),
        (
            {"few_shot__validation__classes": "novel"},
            "config.few_shot.validation.classes='novel' must be one of 'validation', 'reconstructed_validation'",
        ),
        ({"few_shot__classes": ("novell",)}, "few_shot.classes=.*'novell'.*: each must be one of"),
    ],
)
def test_what_cannot_be_is_refused_before_training(noise_config, tmp_path, overrides, message):
    with pytest.raises(UserError, match=message):
        run(noise_config("prototypical", **overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_mixup_of_episodes_is_refused(noise_config, tmp_path):
    with pytest.raises(UserError, match="mixup=0.4 would mix the classes of an episode"):
        run(noise_config("prototypical", data__augment__mixup=0.4), tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"few_shot__poolings": ("gap",)}, "'gap' must be SUPPORT/QUERY"),
        (
            {"few_shot__poolings": ("gap/dens",)},
            "'gap/dens' must be SUPPORT/QUERY, such as gap/dense; SUPPORT is one of",
        ),
        ({"few_shot__poolings": ("gap/dense",), "model__cnn__dim": 4}, "pooling 'gap' reads the last feature maps"),
    ],
)
def test_poolings_that_cannot_be_are_refused_before_training(noise_config, tmp_path, overrides, message):
    config = noise_config("prototypical", train__steps=1, **overrides)
    with pytest.raises(UserError, match=message):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_methods_on_single_images_need_a_batch_size(noise_config, tmp_path):
    with pytest.raises(UserError, match="config.train.batch_size=0 must be at least 1"):
        run(noise_config("dense", train__batch_size=0), tmp_path / "run")
