"""The geometry of runs: their own embeddings, classifiers and predictions, on the splits that they have."""

import dataclasses
import json
import types

import jax.numpy as jnp
import numpy as np
import pytest

import fsjax
from fsjax.errors import UserError
from fsjax.evaluation.analysis.contrastive import hardness, tolerance, uniformity
from fsjax.evaluation.analysis.geometry import linear_classifier, measure, table
from fsjax.evaluation.analysis.neural_collapse import neural_collapse
from fsjax.losses.harmonic import HarmonicLoss


@pytest.fixture(scope="module")
def digits(digits_run):
    return fsjax.restore(digits_run[0])


@pytest.mark.parametrize("split", ["train", "test"])
def test_of_an_ordinary_run(digits, split):
    found = digits.geometry(split)
    examples = getattr(digits.splits(), split)
    x, labels = digits.embed(examples.images), examples.labels
    weights = linear_classifier(digits.method, digits.params, x.shape[1])
    expected = neural_collapse(x, labels, weights, digits.predict(examples.images))
    assert found.collapse.nc1 == pytest.approx(expected.nc1, rel=1e-3)
    assert found.collapse.nc3 == pytest.approx(expected.nc3, rel=1e-3)
    assert found.collapse.nc4 == pytest.approx(expected.nc4, abs=2 / len(x))
    assert found.uniformity.value == pytest.approx(uniformity(x).value, rel=1e-3)
    assert found.tolerance == pytest.approx(tolerance(x, labels), rel=1e-3)
    assert found.hardness.value == pytest.approx(hardness(x, labels).value, rel=1e-3)
    # A run that has learned: far from noise on all of them.
    assert found.collapse.nc1 < 5 and found.collapse.nc4 < 0.5 and found.collapse.classes == 10


def test_of_a_few_shot_run(few_shot_runs):
    run = fsjax.restore(few_shot_runs["gap"])
    splits = run.splits()
    found = {split: measure(run.method, run.params, run.collections, splits, split) for split in ("base", "test")}
    for own, split in ((True, "base"), (False, "test")):
        collapse = found[split].collapse
        assert (collapse.weights is not None, collapse.nc3 is not None, collapse.nc4 is not None) == (own, own, own)
    assert (found["base"].collapse.classes, found["test"].collapse.classes) == (10, 5)
    novel = run.embed(splits.test.images)
    assert found["test"].collapse.nc1 == pytest.approx(neural_collapse(novel, splits.test.labels).nc1, rel=1e-3)
    assert "| NC3, classifier against class means | " in table(list(found.values()))
    with pytest.raises(UserError, match="no base images; there are: train, validation, test"):
        measure(run.method, run.params, run.collections, dataclasses.replace(splits, base=None), "base")
    with pytest.raises(UserError, match="novel"):
        run.geometry("novel")


def test_a_method_without_classes_has_no_classifier(few_shot_runs):
    run = fsjax.restore(few_shot_runs["gap"])

    other = types.SimpleNamespace(embed=run.method.embed, has_classes=False)
    found = measure(other, {"encoder": run.params["encoder"], "loss": {"tau": jnp.ones(())}}, run.collections,
                    run.splits(), "base")  # fmt: skip
    assert found.collapse.nc3 is found.collapse.nc4 is found.collapse.weights is None
    assert np.isfinite(found.collapse.nc1)


@pytest.mark.parametrize("name", ["kernel", "weights", "means"])
def test_classifiers_of_the_losses(name):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 3)) + 1
    given = rows.T if name == "kernel" else rows
    expected = rows - rows.mean(0) if name == "means" else rows
    method = types.SimpleNamespace(loss=None)
    np.testing.assert_allclose(linear_classifier(method, {"loss": {name: given, "tau": np.ones(())}}, 3), expected)
    assert linear_classifier(method, {"loss": {name: given}}, 4) is None
    assert linear_classifier(method, {"loss": {"tau": np.ones(())}}, 3) is None
    assert linear_classifier(method, {"loss": {"global": {name: given}}}, 3) is None


def test_centres_of_the_harmonic_loss_are_points():
    rows = np.random.default_rng(1).normal(size=(5, 3)) + 1
    method = types.SimpleNamespace(loss=HarmonicLoss(num_classes=5, dim=3))
    np.testing.assert_allclose(linear_classifier(method, {"loss": {"weights": rows}}, 3), rows - rows.mean(0))


def test_json_has_null_where_there_is_no_number(digits):
    found = digits.geometry("test")
    broken = dataclasses.replace(found, tolerance=float("nan"),
                                 collapse=dataclasses.replace(found.collapse, nc1=float("inf"), nc3=None))  # fmt: skip
    plain = json.loads(json.dumps(broken.to_json()), parse_constant=pytest.fail)
    assert plain["tolerance"] is plain["collapse"]["nc1"] is plain["collapse"]["nc3"] is None
    assert plain["collapse"]["means"]["norms"] == found.collapse.means.norms and plain["split"] == "test"
    cells = [line.split("|")[2].strip() for line in table([broken]).splitlines()]
    assert cells.count("–") == 3
