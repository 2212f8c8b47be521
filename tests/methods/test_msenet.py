"""MSENet: its loss against a loop over stages, which parameters decay, and what it needs of a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.data import DataInfo
from fsjax.errors import UserError
from fsjax.methods import build_method
from fsjax.models.pretrained.torchvision import places

INFO = DataInfo("random", ("a", "b", "c"), (32, 32, 3), {"train": 30}, (20, 7, 3), (0.5,), (0.5,))
WAY, SHOT, QUERY = 3, 2, 2
ROWS = WAY * (SHOT + QUERY)
IMAGES = np.random.default_rng(0).normal(size=(ROWS, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def make(few_shot_config):
    def build(**overrides):
        given = {"model__name": "resnet18", "model__resnet18__width": 4, "model__resnet18__blocks": (1, 1, 1, 1)}
        given |= {"method__name": "msenet", "episodes__per_step": 1}
        return build_method(few_shot_config(**given, **overrides), INFO)

    return build


@pytest.fixture(scope="module")
def started(make, jit):
    method = make(method__msenet__learn_gamma=True)
    variables = jit(method.init)(jax.random.key(0), jnp.zeros((2, *INFO.image_shape)))
    return method, variables.pop("params"), variables


def test_the_loss_is_a_loop_over_stages(started, objective, in_training):
    method, params, collections = started
    weights = jnp.array([1.0, 0.0, 1.5, -1.0, 0.5])
    params = {**params, "encoder": {**params["encoder"], "stage_weights": weights}}
    loss, gradients, *_, metrics = objective(method, params, collections, image=IMAGES, weight=np.ones(ROWS, "f"))
    features, _ = in_training(method, params, collections, IMAGES)
    assert features.shape == (ROWS, method.dim) == (ROWS, 4 + 8 + 16 + 32 + 32)
    features = features.reshape(WAY, SHOT + QUERY, -1)
    stages = np.split(features, np.cumsum(method.widths)[:-1], axis=-1)  # weighted already
    losses, hits = [], []
    for way in range(WAY):
        for query in range(SHOT, SHOT + QUERY):
            logits = -sum(np.linalg.norm(stage[way, query] - stage[:, :SHOT].mean(1), axis=-1) for stage in stages)
            losses.append(np.log(np.exp(logits - logits[way]).sum()))
            hits.append(logits.argmax() == way)
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-4)
    np.testing.assert_allclose(metrics["accuracy"], np.mean(hits), atol=1e-6)
    of_weights = np.asarray(gradients["encoder"]["stage_weights"])
    assert (of_weights != 0).tolist() == [True, False, True, False, True]  # relu, at 0 as below
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))
    assert float(gradients["encoder"]["attention1"]["gamma"]) != 0.0
    assert np.any(gradients["encoder"]["attention3"]["query"]["kernel"])


def test_new_classes_are_met_stage_by_stage(started):
    method, params, _ = started
    rule = method.rule(params)
    assert (rule.similarity, rule.features, rule.widths) == ("euclid", ("embedding",), (4, 8, 16, 32, 32))


def test_weights_of_stages_and_attention_do_not_decay(started):
    method, params, _ = started
    mask = jax.tree_util.tree_leaves_with_path(method.weight_decay_mask(params))
    spared = {jax.tree_util.keystr(path) for path, decays in mask if not decays}
    assert spared == {
        "['loss']['tau']", "['encoder']['stage_weights']",
        *(f"['encoder']['attention{n}']['gamma']" for n in range(1, 6)),
    }  # fmt: skip


def test_the_network_takes_torchvisions_weights(started):
    """Its names in the tree are those that the file of a ResNet-18 has places for."""
    method, params, collections = started
    (where,) = method.pretrained.values()
    trees = {"params": params["encoder"], "batch_stats": collections["batch_stats"]}
    for part in where:
        trees = {kind: tree[part] for kind, tree in trees.items()}
    blocks = [f"layer{stage}.0" for stage in (1, 2, 3, 4)]
    names = {"conv1": "bn1", **{f"{b}.conv{i}": f"{b}.bn{i}" for b in blocks for i in (1, 2)}}
    names |= {f"{b}.downsample.0": f"{b}.downsample.1" for b in blocks[1:]}
    leaves = ("weight", "bias", "running_mean", "running_var")
    expected = {f"{conv}.weight" for conv in names} | {f"{bn}.{leaf}" for bn in names.values() for leaf in leaves}
    shapes = {}
    for conv, bn in names.items():
        stage = int(conv[5]) if conv.startswith("layer") else 0
        width = 4 * 2 ** max(stage - 1, 0)
        first = 3 if stage == 0 else width if conv.endswith("conv2") or stage == 1 else width // 2
        side = 7 if stage == 0 else 1 if "downsample" in conv else 3
        shapes[f"{conv}.weight"] = np.empty((width, first, side, side), np.float32)
        shapes |= {f"{bn}.{leaf}": np.empty(width, np.float32) for leaf in leaves}
    assert set(places(shapes, trees, source="the file").values()) == expected


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"method__msenet__stages": "all"}, "config.method.msenet.stages='all' must be one of 'released', 'ends'"),
        ({"model__resnet18__pool": "gmp"}, "'msenet' averages the maps of config.model.name='resnet18' itself"),
        ({"model__resnet18__dim": 5}, "set the model's pool to 'gap' and dim to None"),
        ({"model__name": "cnn"}, "stages='released' takes the maps after stage2_block1/conv1/conv"),
    ],
)
def test_networks_and_options_that_cannot_be(few_shot_config, overrides, message):
    given = {"model__name": "resnet18", "method__name": "msenet", **overrides}
    with pytest.raises(UserError, match=message):
        build_method(few_shot_config(**given), INFO)
