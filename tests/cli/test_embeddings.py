"""`fsjax embeddings`, called as the shell calls it, in this process."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import fsjax
from fsjax.cli import main
from fsjax.cli.embeddings import check_kinds
from fsjax.errors import UserError
from fsjax.evaluation.analysis import embedding_maps
from fsjax.evaluation.analysis.scatter import quotient, scatter


def embeddings(runs, *more):
    return main(["embeddings", *map(str, runs), "--perplexity", "5", *map(str, more)])


def test_figure_and_numbers_of_two_runs(few_shot_runs, tmp_path, capsys):
    out, numbers, runs = tmp_path / "fig.png", tmp_path / "fig.json", [few_shot_runs[x] for x in ("gap", "implants")]
    shown = ("--classes-shown", "3", "--per-class", "6")
    assert embeddings(runs, *shown, "--out", out, "--json", numbers) == 0
    with Image.open(out) as image:
        assert image.size[0] == 2 * 840
        assert np.std(np.asarray(image.convert("L"))) > 10
    printed, found = capsys.readouterr().out, json.loads(numbers.read_text())
    assert found["normalised"] and found["seed"] == 0
    assert [figure["classes"] for figure in found["scatter"]] == ["base", "novel"] * 2
    # The last is that of the run with implants, whose queries are dense: pooled, by the support's pooling.
    run = fsjax.restore(runs[1])
    assert run.method.rule(run.params).query_pool == "dense"
    evaluator, last = run.evaluator(), found["scatter"][-1]
    expected = scatter(run.embed(evaluator.examples("novel").images), evaluator.labels("novel"))
    assert last["ratio"] == pytest.approx(expected.ratio, rel=1e-4)
    assert (last["images"], last["num_classes"], last["step"]) == (5 * 24, 5, run.step)
    assert last["similarity"] == "cosine" and len(last["class_names_drawn"]) == 3
    assert f"W/B {last['ratio']:.3f}" in printed
    (of_base, of_novel) = found["quotients"]
    assert (of_base["classes"], of_novel["classes"]) == ("base", "novel")
    assert of_novel["run"] == str(runs[1]) and of_novel["by"] == str(runs[0])


def test_raw_embeddings_of_training_images(few_shot_runs, tmp_path):
    run, numbers = fsjax.restore(few_shot_runs["gap"]), tmp_path / "fig.json"
    more = ("--raw", "--classes", "train", "--out", tmp_path / "fig.png", "--json", numbers)
    assert embeddings([few_shot_runs["gap"]], *more) == 0
    found, evaluator = json.loads(numbers.read_text()), run.evaluator()
    embedded = run.embed(evaluator.examples("train").images)
    expected = scatter(embedded, evaluator.labels("train"), normalised=False)
    assert not found["normalised"] and not found["quotients"]
    assert found["scatter"][0]["within"] == pytest.approx(expected.within, rel=1e-4)


def numbers_of(runs, tmp_path, *, scatter_of, monkeypatch):
    """What is written of the novel classes, where their scatter is that of other embeddings."""
    monkeypatch.setattr(embedding_maps, "scatter", lambda x, y, **_: scatter_of(x, y))
    numbers = tmp_path / "fig.json"
    more = ("--classes", "novel", "--per-class", "3", "--out", tmp_path / "fig.png", "--json", numbers)
    assert embeddings(runs, *more) == 0
    return json.loads(numbers.read_text(), parse_constant=pytest.fail)


def test_intervals_are_written_and_printed(few_shot_runs, tmp_path, monkeypatch, capsys):
    """Classes that lie apart, for the noise of these runs has no classes."""
    made = []

    def scatter_of(x, labels):
        noise = np.random.default_rng(len(made)).normal(size=(len(x), 5))
        made.append(scatter(4.0 * np.eye(5)[labels] + noise, labels, normalised=False))
        return made[-1]

    found = numbers_of(few_shot_runs.values(), tmp_path, scatter_of=scatter_of, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    low, high = found["scatter"][0]["interval"]
    assert found["scatter"][0]["unbiased"] == made[0].unbiased
    assert (low, high) == made[0].interval and low < made[0].unbiased < high
    assert f"without bias {made[0].unbiased:.3f} [{low:.3f}, {high:.3f}]  (" in printed
    low, high = found["quotients"][0]["interval"]
    assert (found["quotients"][0]["quotient"], (low, high)) == quotient(made[1], made[0])
    assert f": {made[1].unbiased / made[0].unbiased:.3f} [{low:.3f}, {high:.3f}]" in printed


def test_json_has_null_where_there_is_no_number(few_shot_runs, tmp_path, monkeypatch, capsys):
    """A network that sees nothing: all embeddings are the same."""
    found = numbers_of(
        few_shot_runs.values(),
        tmp_path,
        scatter_of=lambda x, y: scatter(np.ones_like(x), y, normalised=False),
        monkeypatch=monkeypatch,
    )
    for one in found["scatter"]:
        assert (one["within"], one["between"]) == (0, 0)
        assert one["ratio"] is one["unbiased"] is one["interval"] is None
    assert found["quotients"][0]["quotient"] is found["quotients"][0]["interval"] is None
    assert "W/B -  without bias -  (" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "way_out"), [((), "--classes novel train"), (("--classes", "train", "base"), "--classes train")]
)
def test_a_run_that_held_no_base_images_out_is_told_both_ways_out(
    few_shot_runs, with_config, tmp_path, capsys, asked, way_out
):
    run = shutil.copytree(few_shot_runs["gap"], tmp_path / "run")
    with_config(run, lambda config: config["data"].update(base_holdout=0))
    assert embeddings([run], *asked, "--out", tmp_path / "fig.png") == 2
    assert capsys.readouterr().err == (
        f"error: {run} kept no images of base classes out of training: draw others, with {way_out}, or train anew "
        "with config.data.base_holdout above 0\n"
    )


@pytest.mark.parametrize(
    ("asked", "others"), [(["validation", "novel"], "novel"), (["validation"], "base novel train")]
)
def test_a_run_without_validation_classes_is_told_what_it_has(few_shot_runs, asked, others):
    evaluator = fsjax.restore(few_shot_runs["gap"]).evaluator()
    evaluator = dataclasses.replace(evaluator, splits=dataclasses.replace(evaluator.splits, validation=None))
    with pytest.raises(
        UserError, match=f"^x has no images of validation classes: draw others, with --classes {others}$"
    ):
        check_kinds(evaluator, asked, "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "fig.jpg"), "--out=fig.jpg: the name must end with .png"),
        (("--out", "fig.png", "--json", "nowhere/x.json"), "there is no folder nowhere"),
        (("--out", "fig.png", "--classes-shown", "12"), "12 classes cannot be drawn"),
        (
            ("--out", "fig.png", "--per-class", "1", "--classes-shown", "3"),
            "t-SNE of 3 images needs a perplexity below",
        ),
    ],
)
def test_errors_name_the_thing_and_the_way_out(few_shot_runs, capsys, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert embeddings([few_shot_runs["gap"]], *arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
