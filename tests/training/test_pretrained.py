"""A run that starts from files of weights: with their values, once, and from no file that does not fit."""

import hashlib
import json
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from safetensors.numpy import save_file

import fsjax
from fsjax import data
from fsjax.config import options
from fsjax.errors import UserError
from fsjax.methods import METHODS, build_method
from fsjax.models import build_model
from fsjax.training import pretrained, run
from fsjax.training import state as states
from fsjax.training.experiment import build_experiment
from fsjax.training.optimizer import build_optimizer

BLOCKS, WIDTH = (1, 2), 8


@pytest.fixture(scope="module")
def file_of(root, tmp_path_factory):
    """Write random weights of a small ResNet, in torchvision's layout: the path and the state dict."""
    script = runpy.run_path(str(root / "tests" / "models" / "torchvision_activations.py"))

    def write(blocks=BLOCKS, name="weights", **options):
        weights = script["weights"](blocks, width=WIDTH, **options)
        path = tmp_path_factory.mktemp(name) / f"{name}.safetensors"
        save_file(weights, path)
        return path, weights

    return write


@pytest.fixture(scope="module")
def small(noise_config):
    """A run of a small ResNet-50 on noise that starts from a file."""

    def make(path, method="classification", **overrides):
        return noise_config(
            method, model__name="resnet50", model__resnet50__width=WIDTH, model__resnet50__blocks=BLOCKS,
            pretrained__network=str(path), few_shot__classes=("novel",), **overrides,
        )  # fmt: skip

    return make


def bits(tree):
    return {
        jax.tree_util.keystr(path): np.asarray(x).tobytes() for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def assert_has(params, batch_stats, weights):
    """The backbone's variables are those of the state dict: an array of each kind, by names written by hand."""
    params, batch_stats = params["backbone"], batch_stats["backbone"]
    for found, name in [
        (params["stem"]["conv"]["kernel"].transpose(3, 2, 0, 1), "conv1.weight"),
        (params["stem"]["bn"]["scale"], "bn1.weight"),
        (params["stage2_block2"]["conv2"]["conv"]["kernel"].transpose(3, 2, 0, 1), "layer2.1.conv2.weight"),
        (params["stage1_block1"]["conv3"]["bn"]["bias"], "layer1.0.bn3.bias"),
        (params["stage2_block1"]["shortcut"]["conv"]["kernel"].transpose(3, 2, 0, 1), "layer2.0.downsample.0.weight"),
        (batch_stats["stem"]["bn"]["mean"], "bn1.running_mean"),
        (batch_stats["stage2_block1"]["shortcut"]["bn"]["var"], "layer2.0.downsample.1.running_var"),
    ]:
        np.testing.assert_array_equal(found, weights[name], err_msg=name)


def test_the_state_at_step_0_has_the_file_s_weights(small, file_of):
    path, weights = file_of()
    config = small(path)
    experiment = build_experiment(config, data.load_splits(config.data, seed=config.seed))
    files = pretrained.find_files(config)
    pretrained.check_files(config, files, experiment.method, experiment.splits.info.image_shape)
    fresh = experiment.initial_state()
    state, record = pretrained.loaded(fresh, files, experiment.method)
    assert_has(state.params["encoder"], state.collections["batch_stats"], weights)
    assert not set(bits(state.params["encoder"]).items()) & set(bits(fresh.params["encoder"]).items())
    # The rest is that of a fresh run.
    assert bits(state.params["loss"]) == bits(fresh.params["loss"])
    rest = [bits(s.replace(params=None, collections=None)) for s in (state, fresh)]
    assert rest[0] == rest[1]
    assert record["network"] == {
        "file": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "parameters": sum(
            x.size
            for name, x in weights.items()
            if "fc." not in name and not name.endswith(("_mean", "_var", "_tracked"))
        ),
    }


@pytest.mark.slow
def test_training_goes_on_from_there_and_only_once(small, file_of, run_until, figures_of, tmp_path, caplog):
    """At a rate too small to move anything, the weights are still the file's after a run; its statistics have moved.

    A run that was stopped goes on without the file, to the same bits.
    """
    path, weights = file_of()
    weights["bn1.running_mean"] *= 1000
    save_file(weights, path)
    config = small(path, train__steps=4, optimizer__learning_rate=1e-30, optimizer__weight_decay=0.0)
    with caplog.at_level("INFO", "fsjax"):
        result = run(config, tmp_path / "whole")
    assert f"parameters from {path}, SHA-256 {result['pretrained']['network']['sha256'][:12]}" in caplog.text
    whole = fsjax.restore(tmp_path / "whole", which="latest")
    backbone = whole.params["encoder"]["backbone"]
    kernel = backbone["stage2_block1"]["conv2"]["conv"]["kernel"]
    np.testing.assert_allclose(kernel.transpose(3, 2, 0, 1), weights["layer2.0.conv2.weight"], rtol=0, atol=1e-20)
    # Four steps leave 0.9^4 of the statistics that were there, beside which those of the batches are small.
    mean = whole.collections["batch_stats"]["backbone"]["stem"]["bn"]["mean"]
    np.testing.assert_allclose(mean, 0.9**4 * weights["bn1.running_mean"], rtol=0, atol=1)

    run_until(2, config, tmp_path / "stopped")
    path.unlink()
    caplog.clear()
    with caplog.at_level("INFO", "fsjax"):
        again = run(config, tmp_path / "stopped")
    assert "continuing from step 2 of 4" in caplog.text and "SHA-256" not in caplog.text
    assert again["pretrained"] == result["pretrained"] and again["test"] == result["test"]
    assert figures_of(tmp_path / "stopped") == figures_of(tmp_path / "whole")
    assert bits(fsjax.restore(tmp_path / "stopped", which="latest").params) == bits(whole.params)
    assert json.loads((tmp_path / "stopped" / "result.json").read_text())["pretrained"] == result["pretrained"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"start_from": "runs/classifier"},
            "config.start_from=runs/classifier and config.pretrained=.*leave one of them",
        ),
        ({"model__name": "resnet12"}, "there are such weights for resnet18, resnet50, resnet101, and .* is 'resnet12'"),
        (
            {"pretrained__network": "/none.safetensors"},
            "config.pretrained.network=/none.safetensors: there is no such fil",
        ),
        ({"pretrained__network": "w.pth"}, "config.pretrained.network=w.pth: a .pth file is a pickle"),
        ({"pretrained__attnet": "w.pt"}, "config.pretrained.attnet=w.pt: a .pt file is a pickle"),
    ],
)
def test_what_needs_no_data_is_refused_before_they_are_read(small, file_of, tmp_path, overrides, message):
    config = small(file_of()[0], data__name="folder", data__path=str(tmp_path / "no pictures"))
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in overrides.items()})
    with pytest.raises(UserError, match=message):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("blocks", "overrides", "message"),
    [
        ((1, 3), {}, "weights.safetensors has 'layer2.2.*3 blocks in its layer2, 2 in the network's stage2"),
        ((1,), {}, "weights.safetensors has no 'layer2.0.conv1.weight'"),
        (BLOCKS, {"model__resnet50__stem": "C"}, "has no 'conv1.0.weight'.*its stem is the plain one"),
        (BLOCKS, {"data__fake__channels": 1}, "'conv1.weight' is 8x3x7x7, .*one takes 3 channels, the other 1"),
        (BLOCKS, {"method__name": "aflm"}, "method 'aflm' has no such part; it takes nothing of config.pretrained"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_compiled(
    small, file_of, tmp_path, monkeypatch, blocks, overrides, message
):
    from fsjax.training import loop

    monkeypatch.setattr(loop, "_train", None)
    method = overrides.get("method__name", "classification")
    with pytest.raises(UserError, match=message):
        run(small(file_of(blocks)[0], method, **overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_parts_that_a_method_has_not(small, file_of, tmp_path):
    path, _ = file_of()
    config = small("", pretrained__attnet=str(path))
    with pytest.raises(
        UserError, match=r"method 'classification' has no such part; it takes config.pretrained.network"
    ):
        run(config, tmp_path / "run")


def test_weights_that_are_not_finite_are_refused(small, file_of, tmp_path):
    path, weights = file_of()
    weights["layer2.0.bn3.bias"][5] = np.inf
    save_file(weights, path)
    with pytest.raises(UserError, match="1 of the 64 numbers of 'layer2.0.bn3.bias' are not finite"):
        run(small(path), tmp_path / "run")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_parts_that_it_names(noise_config, name):
    """Below the encoder's parameters and the batch statistics alike."""
    overrides = {
        "implants": {"model__name": "resnet12", "model__resnet12__widths": (4, 4)},
        "msenet": {"model__name": "resnet18", "model__resnet18__width": 8},
    }
    config = noise_config(name, **overrides.get(name, {}))
    info = data.load_splits(config.data, seed=config.seed).info
    method = build_method(config, info)
    images = jax.ShapeDtypeStruct((2, *info.image_shape), np.float32)
    variables = jax.eval_shape(method.init, jax.random.key(0), images)
    assert set(method.pretrained) <= {"network", "attnet"}
    for where in method.pretrained.values():
        trees = variables["params"]["encoder"], variables["batch_stats"]
        for part in where:
            trees = [tree[part] for tree in trees]
        assert all(jax.tree.leaves(tree) for tree in trees)


def test_both_networks_of_localization_start_from_one_file(small, file_of):
    """The classifier takes all of it, AttNet's trunk the stem and the first stage."""
    path, weights = file_of()
    attnet = {"pretrained__attnet": str(path), "method__localization__att_width": WIDTH}
    config = small(path, "localization", method__localization__att_blocks=BLOCKS[0], **attnet)
    info = data.load_splits(config.data, seed=config.seed).info
    method, files = build_method(config, info), pretrained.find_files(config)
    pretrained.check_files(config, files, method, info.image_shape)
    images = jax.ShapeDtypeStruct((2, *info.image_shape), np.float32)
    shapes = jax.eval_shape(method.init, jax.random.key(0), images)
    fresh = states.create(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes), {}, ())
    state, record = pretrained.loaded(fresh, files, method)
    encoder, statistics = state.params["encoder"], state.collections["batch_stats"]
    assert_has(encoder["classifier"], statistics["classifier"], weights)
    trunk = encoder["attnet"]["trunk"]
    assert bits(trunk["stem"]) == bits(encoder["classifier"]["backbone"]["stem"])
    assert trunk.keys() == {"stem", "stage1_block1"}
    assert record["network"]["parameters"] > record["attnet"]["parameters"] > 0
    # What is new in these networks is as it was.
    assert not encoder["attnet"]["map"]["kernel"].any()


# Weights that move slowly, or stay


def test_a_factor_of_the_rate_is_of_what_was_loaded(rate=0.5, factor=0.1):
    """One step of SGD with L2 on a tree of two arrays, by hand; and Adam's, whose size is the rate's."""
    params = {"encoder": jnp.array([1.0, -2.0]), "loss": jnp.array([3.0])}
    grads = {"encoder": jnp.array([0.5, 0.25]), "loss": jnp.array([-1.0])}
    slowed = {"encoder": True, "loss": False}
    for name in ("sgd", "adam"):
        for slow in (factor, 0.0):
            config = options().defaults()["optimizer"] | {"name": name, "momentum": 0.0, "weight_decay": 0.2}
            made = build_optimizer(
                ConfigDict(config), lambda _: rate, decay_mask=jax.tree.map(lambda _: True, params),
                slowed=slowed, factor=slow,
            )  # fmt: skip
            updates, _ = made.update(grads, made.init(params), params)
            decayed = {key: np.asarray(grads[key] + 0.2 * params[key]) for key in params}
            steps = decayed if name == "sgd" else {key: np.sign(x) for key, x in decayed.items()}
            np.testing.assert_allclose(updates["encoder"], -slow * rate * steps["encoder"], rtol=1e-5, atol=1e-9)
            np.testing.assert_allclose(updates["loss"], -rate * steps["loss"], rtol=1e-5)


def test_a_frozen_backbone_is_in_inference_mode_and_gets_no_gradient():
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    encoder = build_model("cnn", options={"stages": ((4,), (6,)), "dim": 3})
    variables = encoder.init(jax.random.key(1), images, train=False)

    def total(params, encoder):
        applied, updates = encoder.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
        return jnp.sum(applied.embedding**2), updates

    frozen = jax.grad(total, has_aux=True)(variables["params"], encoder.clone(frozen=True))
    free = jax.grad(total, has_aux=True)(variables["params"], encoder)
    assert all(not np.any(x) for x in jax.tree.leaves(frozen[0]["backbone"]))
    assert np.any(frozen[0]["embedding"]["kernel"]) and any(np.any(x) for x in jax.tree.leaves(free[0]["backbone"]))
    assert bits(frozen[1]["batch_stats"]) == bits(variables["batch_stats"]) != bits(free[1]["batch_stats"])


@pytest.mark.slow
def test_at_rate_0_the_weights_and_the_statistics_stay(small, file_of, tmp_path):
    path, weights = file_of()
    config = small(
        path, train__steps=4, optimizer__learning_rate=0.5, optimizer__weight_decay=0.1, pretrained__rate=0.0
    )
    run(config, tmp_path / "run")
    found = fsjax.restore(tmp_path / "run", which="latest")
    assert_has(found.params["encoder"], found.collections["batch_stats"], weights)
    fresh = build_experiment(config, data.load_splits(config.data, seed=config.seed)).initial_state()
    assert bits(found.params["loss"]) != bits(fresh.params["loss"])


def test_published_weights_by_name(noise_config):
    """They are those of `fsjax.network`; what does not fit is refused, with what to set."""
    config = noise_config(
        "classification", model__name="efficientnet_lite0", pretrained__network="efficientnet_lite0",
        data__normalization="lite", few_shot__classes=("novel",),
    )  # fmt: skip
    files = pretrained.find_files(config)
    known = fsjax.network("efficientnet_lite0")
    empty = jax.tree.map(np.zeros_like, {"params": dict(known.params), **known.collections})
    state = states.create(empty, (), ())
    state, record = pretrained.loaded(state, files, known.method)
    assert bits(state.params["encoder"]) == bits(known.params["encoder"])
    assert bits(state.collections["batch_stats"]) == bits(known.collections["batch_stats"])
    assert not np.any(state.params["loss"]["kernel"]) and record["network"]["parameters"] == 3_371_008
    for key, value, message in (
        ("data.normalization", "dataset", r"needs config.data.normalization='lite', and it is 'dataset': set --con"),
        ("model.name", "resnet18", "needs config.model.name='efficientnet_lite0', and it is 'resnet18'"),
        ("pretrained.network", "efficientnet_lite2", "needs config.model.efficientnet_lite0.widths=.*352.*: set --"),
    ):  # fmt: skip
        wrong = config.copy_and_resolve_references()
        wrong.update_from_flattened_dict({key: value})
        with pytest.raises(UserError, match=message):
            pretrained.find_files(wrong)


def test_a_rate_of_nothing_and_networks_that_cannot_stay(small, file_of, tmp_path):
    with pytest.raises(UserError, match=r"config.pretrained.rate=0.5 is of pretrained weights, and .* names none"):
        run(small("", pretrained__rate=0.5), tmp_path / "run")
    config = small(file_of()[0], "localization", pretrained__rate=0.0, loss__name="softmax")
    with pytest.raises(UserError, match=r"config.pretrained.rate=0: method 'localization' has a network of its own"):
        run(config, tmp_path / "run")


@pytest.mark.parametrize("architecture", ["resnetaa50", "resnetblur50", "resnet101"])
def test_weights_of_a_network_that_only_looks_the_same(small, file_of, architecture):
    """timm writes the architecture into config.json; without one nothing can be told."""
    path, _ = file_of()
    config = small(path)
    assert pretrained.find_files(config)["network"].path == path
    for known in ("resnet50", "tv_resnet50", "resnet50c"):
        path.with_name("config.json").write_text(json.dumps({"architecture": known}))
        pretrained.find_files(config)
    path.with_name("config.json").write_text(json.dumps({"architecture": architecture}))
    with pytest.raises(UserError, match=f"these are weights of '{architecture}', and config.model.name is 'resnet50'"):
        pretrained.find_files(config)
