"""Linear evaluation by naive Bayes, against a fit of all embeddings in NumPy; the head on few-shot tasks."""

import json

import numpy as np
import pytest

import fsjax
from fsjax import data
from fsjax.cli import main
from fsjax.errors import UserError
from fsjax.evaluation.analysis.linear import naive_bayes_of_run
from fsjax.evaluation.few_shot.protocol import Protocol
from fsjax.evaluation.few_shot.tasks import score_tasks
from fsjax.methods.rules import Rule


def predicted(features, labels, queries, num_classes):
    """Classes by the formula of docs/readings.md, "Naive Bayes", in float64; every class has examples."""
    features, queries = features.astype(np.float64), queries.astype(np.float64)
    there = [features[labels == k] for k in range(num_classes)]
    variance = sum(len(x) / len(features) * (x.var(0) + 1e-9) for x in there)
    scores = [np.log(len(x) / len(features)) - 0.5 * ((queries - x.mean(0)) ** 2 / variance).sum(1) for x in there]
    return np.argmax(scores, 0)


def test_training_images_in_batches_give_the_formulas_accuracy(digits_run, digits_config, tmp_path, capsys):
    """And the command prints it, beside the accuracy that the run itself reported."""
    workdir, result = digits_run
    run = fsjax.restore(workdir)
    splits = run.splits()
    train, test = splits.train, splits.test
    guessed = predicted(run.embed(train.images), train.labels, run.embed(test.images), 10)
    head, facts = naive_bayes_of_run(run.method, run.params, run.collections, splits, batch_size=100)
    assert facts["accuracy"] == pytest.approx(np.mean(guessed == test.labels), abs=2 / len(test))
    assert facts["own_accuracy"] == pytest.approx(result["test"]["accuracy"], abs=1e-9)
    assert (facts["train"], facts["test"]) == (len(train), len(test)) and facts["accuracy"] > 0.5
    at_once = run.naive_bayes(train.images, train.labels)
    np.testing.assert_allclose(at_once.means, head.means, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(at_once.variance, head.variance, rtol=1e-3)
    out = tmp_path / "linear.json"
    assert main(["evaluate", str(workdir), "--head", "naive_bayes", "--batch-size", "100", "--out", str(out)]) == 0
    assert f"{100 * facts['own_accuracy']:.2f}" in capsys.readouterr().out
    assert json.loads(out.read_text())["linear"] == {"head": "naive_bayes", "data": "digits", **facts}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(3, int), "5 images need as many labels, at least one"),
        (np.array(["a"] * 5), "whole numbers from 0 on"),
        (np.array([0, 1, -1, 0, 0]), "whole numbers from 0 on"),
    ],
)
def test_labels_that_cannot_be(digits_run, labels, message):
    with pytest.raises(UserError, match=message):
        fsjax.restore(digits_run[0]).naive_bayes(np.zeros((5, 8, 8, 1), np.uint8), labels)


@pytest.mark.parametrize("shrinkage", [0.0, 0.4])
def test_tasks_are_a_loop(make_bank, shrinkage):
    bank, _ = make_bank()
    spec = data.parse_spec(way=(2, 4), shot=(1, 5), query=3)
    rule = Rule("cosine", "gap", "gap", 1.0, head="naive_bayes", shrinkage=shrinkage)
    (found,) = score_tasks(bank, [rule], spec=spec, seed=3, tasks=12)
    episodes = data.draw_episodes(bank.table, spec, seed=3, start=0, count=12)
    features = np.asarray(bank.features["gap"], np.float64)
    for task, (support, query) in enumerate(zip(episodes.support, episodes.query, strict=True)):
        way, shot = np.nonzero(support >= 0)
        x, q = features[support[way, shot]], query[query >= 0]
        classes = np.unique(way)
        parts = [x[way == k] for k in classes]
        variance = sum(len(p) / len(x) * (p.var(0) + 1e-9) for p in parts)
        variance = (1 - shrinkage) * variance + shrinkage * variance.mean()
        scores = [np.log(len(p) / len(x)) - 0.5 * ((features[q] - p.mean(0)) ** 2 / variance).sum(1) for p in parts]
        right = classes[np.argmax(scores, 0)] == np.nonzero(query >= 0)[0]
        assert found.accuracy[task] == pytest.approx(right.mean())


def test_figures_name_the_head_and_leave_others_as_they_were(few_shot_runs):
    evaluator = fsjax.restore(few_shot_runs["implants"]).evaluator()
    common = {"shots": (2,), "query": 4, "tasks": 20}
    (plain,) = evaluator.figures(Protocol(**common))
    (bayes,) = evaluator.figures(Protocol(head="naive_bayes", shrinkage=0.5, **common))
    assert not {"head", "shrinkage", "widths"} & plain.facts.keys() and plain.facts["query_pool"] == "dense"
    assert (bayes.facts["head"], bayes.facts["shrinkage"], bayes.facts["query_pool"]) == ("naive_bayes", 0.5, "gap")
    assert "similarity" not in bayes.facts and bayes.facts["episodes"] == plain.facts["episodes"]
    assert "gap/gap naive bayes, shrinkage 0.5" in str(bayes) and "naive" not in str(plain)
    with pytest.raises(UserError, match="among all base classes .* by prototypes; leave these out, or the head"):
        next(evaluator.figures(Protocol(head="naive_bayes", classes=("both",), **common)))
    with pytest.raises(UserError, match="pooling gap/dense: naive Bayes"):
        next(evaluator.figures(Protocol(head="naive_bayes", poolings=("gap/dense",), **common)))


def test_the_command_evaluates_tasks_with_the_head(few_shot_runs, tmp_path, capsys):
    out = tmp_path / "figures.json"
    arguments = ["--head", "naive_bayes", "--classes", "novel", "--shots", "2", "--tasks", "10", "--out", str(out)]
    assert main(["evaluate", str(few_shot_runs["gap"]), *arguments]) == 0
    (figure,) = json.loads(out.read_text())["figures"]
    assert figure["head"] == "naive_bayes" and "naive bayes" in capsys.readouterr().out
