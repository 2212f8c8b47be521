"""`fsjax embeddings`, called as the shell calls it, in this process."""

import json

import numpy as np
import pytest
from PIL import Image

import fsjax
from fsjax.cli import main
from fsjax.evaluation.scatter import scatter


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
    assert last["interval"] == pytest.approx(expected.interval, rel=1e-4)
    assert (last["images"], last["num_classes"], last["step"]) == (5 * 24, 5, run.step)
    assert last["similarity"] == "cosine" and len(last["class_names_drawn"]) == 3
    assert f"W/B {last['ratio']:.3f}" in printed
    first = found["scatter"][1]
    (of_base, of_novel) = found["quotients"]
    assert (of_base["classes"], of_novel["classes"]) == ("base", "novel")
    assert of_novel["quotient"] == pytest.approx(last["ratio"] / first["ratio"])
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
