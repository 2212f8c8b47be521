import json
import os
import shutil
import stat

import jax
import numpy as np
import optax
import pytest

from fsjax.errors import UserError
from fsjax.training import experiment, run
from fsjax.training.checkpoints import steps_in
from fsjax.training.reporting import DivergedError


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "icu_digits", "icu_mnist:100d", "icu_cifar10", "icu_cifar_lt:cifar10,10", "icu_cifar_lt:cifar100,100",
        "icu_imagenet",
    ],
)  # fmt: skip
def test_smoke_variants_resolve(smoke_config, resolve, name):
    assert resolve(smoke_config(name)).params["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["icu_mnist:2d", "icu_cifar100"])
def test_smoke_variants_run(smoke_config, tmp_path, name):
    result = run(smoke_config(name), tmp_path / "run")
    assert result["training"]["steps"] == 4
    assert np.isfinite(result["training"]["last"]["loss"])
    assert result["test"]["num_examples"] > 0
    assert (tmp_path / "run" / "features.png").exists() == (name == "icu_mnist:2d")


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["softmax", "focal", "class_balanced", "mixup", "center", "lsoftmax", "lgm", "icu"])
def test_every_loss_trains(digits_config, tmp_path, loss):
    """Each loss, by one override; half the digits right after 60 steps is five times chance."""
    result = run(digits_config(loss__name=loss), tmp_path)
    assert result["test"]["accuracy"] > 0.5
    assert result["loss"] == loss


@pytest.mark.slow
def test_bfloat16_learns_like_float32(digits_config, digits_run, tmp_path):
    result = run(digits_config(model__dtype="bfloat16"), tmp_path)
    assert result["test"]["accuracy"] > digits_run[1]["test"]["accuracy"] - 0.05


def test_what_a_run_leaves(digits_run):
    workdir, result = digits_run
    assert json.loads((workdir / "result.json").read_text()) == json.loads(json.dumps(result))
    assert json.loads((workdir / "config.json").read_text())["train"]["steps"] == 60
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [(x["kind"], x["step"]) for x in lines] == [
        (kind, step) for step in (20, 40, 60) for kind in ("train", "validation")
    ]
    assert {"loss", "accuracy", "learning_rate", "grad_norm"} <= lines[0].keys()
    assert lines[0]["timing"]["images_per_second"] > 0
    assert list(workdir.glob("events.out.tfevents.*"))
    assert steps_in(workdir / "checkpoints" / "latest") == [40, 60]
    best = max((x for x in lines if x["kind"] == "validation"), key=lambda x: (x["accuracy"], x["step"]))
    assert result["selected"]["step"] == best["step"]
    assert steps_in(workdir / "checkpoints" / "best") == [best["step"]]
    # Every test image is scored once: 359 is not a multiple of the evaluation batch.
    assert result["test"]["num_examples"] * result["test"]["accuracy"] == pytest.approx(
        round(result["test"]["num_examples"] * result["test"]["accuracy"]), abs=1e-6
    )


def test_finished_run_gives_its_result_again(digits_config, digits_run, caplog):
    workdir, result = digits_run
    with caplog.at_level("INFO", "fsjax"):
        assert run(digits_config(), workdir) == json.loads(json.dumps(result))
    assert "nothing is trained: test accuracy" in caplog.text


def test_run_killed_before_its_result_was_written(digits_config, digits_run, tmp_path):
    """All steps are taken and saved, but there is no result: the same command gives the same one."""
    workdir = tmp_path / "run"
    shutil.copytree(digits_run[0], workdir)
    (workdir / "result.json").unlink()
    result = run(digits_config(), workdir)
    assert result["test"] == digits_run[1]["test"]
    assert result["selected"] == digits_run[1]["selected"]


def test_continuing_with_other_data_is_refused(digits_config, digits_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(digits_run[0], workdir)
    (workdir / "result.json").unlink()
    known = json.loads((workdir / "data.json").read_text())
    known["class_counts"][0] += 1
    (workdir / "data.json").write_text(json.dumps(known))
    with pytest.raises(UserError, match="another data: class_counts is"):
        run(digits_config(), workdir)


def test_same_seed_same_bits_other_seed_other_bits(digits_config, digits_run, tmp_path):
    import fsjax

    run(digits_config(), tmp_path / "again")
    run(digits_config(seed=1), tmp_path / "other")
    bits = [
        [np.asarray(x).tobytes() for x in jax.tree.leaves(fsjax.restore(path, which="latest").params)]
        for path in (digits_run[0], tmp_path / "again", tmp_path / "other")
    ]
    assert bits[0] == bits[1]
    assert bits[0] != bits[2]


def test_divergence_stops_with_step_checkpoint_and_cause(digits_config, tmp_path, monkeypatch):
    """The rate is multiplied by 1e30 at step 30: the features, then the loss, overflow at the step after."""
    schedule = optax.piecewise_constant_schedule(0.01, {30: 1e30})  # no config may ask for it
    monkeypatch.setattr(experiment, "build_schedule", lambda *_, **__: schedule)
    config = digits_config(optimizer__name="sgd")
    with pytest.raises(DivergedError) as caught:
        run(config, tmp_path)
    message = str(caught.value)
    assert "training diverged at step 31" in message
    assert "last good checkpoint is of step 20" in message
    assert "learning rate" in message
    assert steps_in(tmp_path / "checkpoints" / "latest") == [20]


def test_images_that_are_not_finite_are_named_as_the_cause(digits_config, tmp_path, monkeypatch):
    from fsjax import data

    real = data.train_batches

    def poisoned(*args, **kwargs):
        for number, batch in enumerate(real(*args, **kwargs)):
            if number == 7:
                batch["image"] = np.where(
                    np.arange(len(batch["image"]))[:, None, None, None] == 3, np.nan, batch["image"]
                )
            yield batch

    monkeypatch.setattr(data, "train_batches", poisoned)
    with pytest.raises(DivergedError, match=r"diverged at step 7: not finite: images.*No checkpoint was saved yet"):
        run(digits_config(), tmp_path)


def test_workdir_of_another_config(digits_config, digits_run):
    with pytest.raises(UserError, match="another config: loss.name is 'icu' there and 'lgm' here"):
        run(digits_config(loss__name="lgm"), digits_run[0])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the next test stands for it")
def test_read_only_workdir(digits_config, tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UserError, match="cannot write the workdir"):
        run(digits_config(), tmp_path / "run")


def test_workdir_that_cannot_be_made(digits_config):
    with pytest.raises(UserError, match=r"cannot write the workdir /proc/nowhere"):
        run(digits_config(), "/proc/nowhere")


def test_unknown_names_list_the_known(digits_config, tmp_path):
    for key, value, known in [
        ("loss__name", "lgn", "lgm"), ("model__name", "vgg", "vgg13"), ("method__name", "classify", "classification"),
        ("model__dtype", "float16", "bfloat16"), ("model__vgg", {}, "vgg13"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=f"unknown key .*{known}|must be one of .*{known}"):
            run(digits_config(**{key: value}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sizes_that_cannot_be(digits_config, tmp_path):
    for key, value, message in [
        ("model__cnn__dim", 0, "config.model.cnn.dim=0 must be at least 1"),
        (
            "model__cnn__stages",
            (8, 16),
            r"stages=\(8, 16\) must be a tuple of 1 to 50 tuples of whole numbers",
        ),
        ("train__batch_size", 100_000, "batch_size=100000 is more than the 1293 training images"),
    ]:
        with pytest.raises(UserError, match=message):
            run(digits_config(**{key: value}), tmp_path / "run")


def test_scatter_of_features_that_are_not_plane(digits_config, tmp_path):
    with pytest.raises(UserError, match="here are 16 dimensions and 10 classes"):
        run(digits_config(figures__scatter=True), tmp_path)


def test_features_of_two_dimensions_are_drawn(digits_config, tmp_path):
    """A point for each image of both panels; the figure says which panel and which class."""
    from PIL import Image

    from fsjax.training import finish

    seen = {}

    def note(panels, path, *, class_names):
        seen.update(
            {title: (features.shape, sorted(set(labels.tolist()))) for title, (features, labels) in panels.items()}
        )
        assert len(class_names) == 10
        return feature_scatter(panels, path, class_names=class_names)

    feature_scatter = finish.feature_scatter
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "feature_scatter", note)
        config = digits_config(figures__scatter=True, model__cnn__dim=2, train__steps=4, train__log_every=2)
        run(config, tmp_path / "run")
    assert seen == {"training": ((1293, 2), list(range(10))), "test": ((359, 2), list(range(10)))}
    with Image.open(tmp_path / "run" / "features.png") as picture:
        assert picture.width > picture.height > 100
