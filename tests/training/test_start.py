"""A run that starts from another run's encoder: with its bits, and from no run that it must not start from."""

import json

import jax
import numpy as np
import pytest

import fsjax
from fsjax import data
from fsjax.errors import UserError
from fsjax.training import run
from fsjax.training.checkpoints import steps_in
from fsjax.training.experiment import build_experiment
from fsjax.training.start import started


@pytest.fixture(scope="module")
def classifier(noise_config, tmp_path_factory):
    """The folder of a trained classifier."""
    workdir = tmp_path_factory.mktemp("classifier") / "run"
    run(noise_config("classification", few_shot__classes=("novel",)), workdir)
    return workdir


def bits(tree):
    return {
        jax.tree_util.keystr(path): np.asarray(x).tobytes() for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def test_encoder_is_that_of_the_best_checkpoint_bit_for_bit(noise_config, classifier):
    config = noise_config("meta_baseline", start_from=str(classifier))
    experiment = build_experiment(config, data.load_splits(config.data, seed=config.seed))
    fresh = experiment.initial_state()
    state, other = started(fresh, config.start_from), fsjax.restore(classifier, which="best")
    assert other.step == steps_in(classifier / "checkpoints" / "best")[-1]
    assert bits(state.params["encoder"]) == bits(other.params["encoder"]) != bits(fresh.params["encoder"])
    assert bits(state.collections) == bits({"batch_stats": other.collections["batch_stats"]}) != bits(fresh.collections)
    # The rest is that of a fresh run: the classifier's weights and scale stay behind.
    assert bits(state.params["loss"]) == bits({"tau": np.float32(10.0)})
    rest = [bits(s.replace(params=None, collections=None)) for s in (state, fresh)]
    assert rest[0] == rest[1]


def test_training_goes_on_from_there(noise_config, classifier, tmp_path, caplog):
    """At a rate too small to move anything the encoder is still the classifier's after a run."""
    config = noise_config(
        "meta_baseline", start_from=str(classifier), train__steps=2, optimizer__learning_rate=1e-30,
        optimizer__weight_decay=0.0, few_shot__classes=("novel",),
    )  # fmt: skip
    with caplog.at_level("INFO", "fsjax"):
        run(config, tmp_path / "run")
    step = fsjax.restore(classifier).step
    assert f"starting from the encoder of {classifier}, step {step}" in caplog.text
    one, other = (fsjax.restore(path).params["encoder"] for path in (tmp_path / "run", classifier))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-20), one, other)


def test_a_run_that_was_stopped_does_not_start_over(noise_config, classifier, run_until, figures_of, tmp_path, caplog):
    config = noise_config("meta_baseline", start_from=str(classifier), few_shot__classes=("novel",))
    results = []
    for name in ("whole", "stopped"):
        if name == "stopped":
            run_until(4, config, tmp_path / name)
            caplog.clear()
        with caplog.at_level("INFO", "fsjax"):
            results.append(run(config, tmp_path / name))
    assert "continuing from step 4 of 6" in caplog.text and "starting from the encoder" not in caplog.text
    assert figures_of(tmp_path / "whole") == figures_of(tmp_path / "stopped")
    runs = [fsjax.restore(tmp_path / name, which="latest") for name in ("whole", "stopped")]
    assert bits(runs[0].params) == bits(runs[1].params)
    assert results[0]["test"] == results[1]["test"]


def test_meta_baseline_needs_a_start(noise_config, tmp_path):
    with pytest.raises(UserError, match="'meta_baseline' goes on from a trained classifier.*--config.start_from="):
        run(noise_config("meta_baseline"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"model__cnn__stages": ((4,), (6,))},
            r"model.cnn=.*\[\[4\], \[8\]\].*this run has .*\[\[4\], \[6\]\].*must be the same",
        ),
        (
            {"model__name": "resnet12", "model__resnet12__widths": (4, 8)},
            "model.name='cnn', and this run has 'resnet12'",
        ),
        (
            {"data__class_split__seed": 1},
            "data.class_split=.*'seed': 0.*this run has .*'seed': 1.*learned from what is tested",
        ),
        ({"data__class_split__test": 0.3}, "data.class_split=.*'test': 0.25.*this run has .*'test': 0.3"),
        (
            {"method__name": "aflm"},
            "trained with method.aflm.attention=None, and this run has True: they must be the same",
        ),
    ],
)
def test_other_networks_and_class_splits_are_refused(noise_config, classifier, tmp_path, overrides, message):
    config = noise_config("meta_baseline", start_from=str(classifier), **overrides)
    with pytest.raises(UserError, match=message):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        # The classifier would have trained on images that this run holds out to evaluate the base classes.
        ({"data__base_holdout": 8}, "data.base_holdout=6, and this run has 8"),
        ({"data__normalization": "none"}, "data.normalization='dataset', and this run has 'none'"),
        # Drawn from other classes, the same shares divide them otherwise.
        ({"data__fake__num_classes": 40, "data__fake__train": 40 * 16}, "trained with class_names="),
    ],
)
def test_classifiers_that_saw_what_is_held_out_are_refused(noise_config, classifier, tmp_path, overrides, message):
    config = noise_config(
        "meta_baseline", start_from=str(classifier), train__steps=1, few_shot__classes=("novel",), **overrides
    )
    with pytest.raises(UserError, match=message):
        run(config, tmp_path / "run")


def test_folders_without_a_checkpoint_are_refused(noise_config, tmp_path):
    config = noise_config("meta_baseline", start_from=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"nowhere: no checkpoint in .*is it the workdir of a run"):
        run(config, tmp_path / "run")


def test_the_latest_checkpoint_stands_in_where_there_is_no_best(noise_config, tmp_path):
    config = noise_config("classification", data__class_split__validation=0.0, few_shot__classes=("novel",))
    run(config, tmp_path / "classifier")
    assert json.loads((tmp_path / "classifier" / "result.json").read_text())["validation"] is None
    config = noise_config("meta_baseline", start_from=str(tmp_path / "classifier"), data__class_split__validation=0.0)
    experiment = build_experiment(config, data.load_splits(config.data, seed=config.seed))
    state = started(experiment.initial_state(), config.start_from)
    latest = fsjax.restore(tmp_path / "classifier", which="latest")
    assert latest.step == 6
    assert bits(state.params["encoder"]) == bits(latest.params["encoder"])
