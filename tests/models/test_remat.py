"""Rematerialisation: the same parameters, gradients and statistics, less that is kept for the gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.models import MODELS, build_model
from fsjax.models.fusion import fuse_branches
from fsjax.models.multi_stage import MultiStage
from fsjax.options import read

IMAGES = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32)
SWITCHES = {"fusion": "shared_concat", "attention": True, "gate_on": "source", "gate_slope": 0.1, "reduction": 2}


def shapes(model, images=IMAGES):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))


def objective(model, batch_stats, images):
    """A function of the parameters: a scalar of all maps and the embedding, and the new statistics."""

    def loss(params):
        variables = {"params": params, "batch_stats": batch_stats}
        out, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
        values = [out.embedding, *out.maps.values()]
        return sum(jnp.mean(jnp.sin(x.astype(jnp.float32))) for x in values), updated["batch_stats"]

    return loss


def kept_bytes(model, size, batch):
    """What the forward pass leaves for the gradient, the weights it reads among it: nothing is computed."""
    images = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)

    def backward(params, batch_stats, images):
        return jax.vjp(objective(model, batch_stats, images), params, has_aux=True)[1]

    left = jax.eval_shape(backward, variables["params"], variables["batch_stats"], images)
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(left))


def close(found, expected):
    """Equal to 1e-6 of the largest value."""
    scale = max(np.abs(expected).max(), 1e-3)
    np.testing.assert_allclose(np.asarray(found) / scale, np.asarray(expected) / scale, rtol=0, atol=1e-6)


def in_float64(name, narrow):
    """A network that computes in float64, without and with rematerialisation."""
    options = read(MODELS[name].options, narrow[name], name)
    plain = MODELS[name].load()(options, dtype=jnp.float64)
    return plain, plain.clone(backbone=plain.backbone.clone(remat=True))


@pytest.mark.parametrize("name", MODELS)
def test_names_and_shapes_of_a_checkpoint_are_the_same(name, narrow):
    plain, again = (shapes(build_model(name, remat=remat, options=narrow[name])) for remat in (False, True))
    assert jax.tree.structure(plain) == jax.tree.structure(again)
    assert jax.tree.leaves(plain) == jax.tree.leaves(again)


# One network of each kind of block; the others differ from these in sizes only.
@pytest.mark.parametrize("name", ["vgg13", "resnet12", "resnet32_bbn", "wrn28_10", "resnet18", "resnet50"])
def test_gradients_and_statistics_are_the_same(x64, name, narrow, randomised, jit):
    plain, again = in_float64(name, narrow)
    variables = randomised(plain, IMAGES)
    results = [
        jit(jax.value_and_grad(objective(model, variables["batch_stats"], IMAGES), has_aux=True))(variables["params"])
        for model in (plain, again)
    ]
    jax.tree.map(close, *results[::-1])  # were statistics updated twice, they would be twice as far from the old ones
    moved = jax.tree.map(lambda new, old: np.abs(new - old).max(), results[1][0][1], variables["batch_stats"])
    assert min(jax.tree.leaves(moved)) > 0


def test_same_first_weights_and_inference(jit, narrow):
    plain, again = (build_model("resnet18_cifar", remat=remat, options=narrow["resnet18_cifar"]) for remat in (0, 1))
    fresh = [jit(functools.partial(model.init, train=False))(jax.random.key(3), IMAGES) for model in (plain, again)]
    jax.tree.map(np.testing.assert_array_equal, *fresh)
    found = [jit(lambda v, m=m: m.apply(v, IMAGES, train=False).embedding)(fresh[0]) for m in (plain, again)]
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_what_blocks_sow_comes_out(jit, randomised):
    plain, again = (build_model("resnet12", remat=remat, options={"widths": (4, 6)}) for remat in (False, True))
    variables = randomised(plain, IMAGES)
    sown = [
        jit(lambda v, m=m: m.apply(v, IMAGES, train=False, mutable=["intermediates"])[1])(variables)
        for m in (plain, again)
    ]
    assert sown[0]["intermediates"]["backbone"]["stage2"].keys() == {"activation1", "activation2"}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *sown)


def test_fused_branches_keep_it():
    options = {"widths": (4, 6)}
    fused = fuse_branches(build_model("resnet12", remat=True, options=options), **SWITCHES)
    assert fused.backbone.global_branch.remat and fused.backbone.local_branch.remat
    plain = fuse_branches(build_model("resnet12", options=options), **SWITCHES)
    assert kept_bytes(fused, 16, 64) < 0.75 * kept_bytes(plain, 16, 64)


@pytest.mark.parametrize("name", MODELS)
def test_less_is_kept_for_the_gradient(name, narrow):
    plain, again = (build_model(name, remat=remat, options=narrow[name]) for remat in (False, True))
    assert kept_bytes(again, 16, 64) < 0.75 * kept_bytes(plain, 16, 64)


def test_kept_bytes_of_resnet12_by_hand():
    """Of each block its input, of each map what the objective here keeps of it, and the weights."""
    batch, sizes, widths = 64, (84, 42, 21, 10, 5), (3, 64, 128, 256, 512)
    maps = [size**2 * width for size, width in zip(sizes, widths, strict=True)]
    weights = sum(x.size for x in jax.tree.leaves(shapes(build_model("resnet12"), np.zeros((1, 84, 84, 3)))["params"]))
    kept = kept_bytes(build_model("resnet12", remat=True), 84, batch)
    assert kept == pytest.approx(4 * (batch * (sum(maps[:-1]) + sum(maps[1:])) + weights), rel=0.005)
    assert kept_bytes(build_model("resnet12"), 84, batch) > 25 * kept


def test_msenet_needs_the_insides_of_blocks(narrow):
    network = build_model("resnet18", remat=True, options=narrow["resnet18"])
    with pytest.raises(UserError, match=r"'released' takes maps from inside of blocks.*remat to False"):
        shapes(MultiStage(network))
    assert shapes(MultiStage(network, stages="ends"))
