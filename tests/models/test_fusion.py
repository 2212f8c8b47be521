"""The fused branches: gates against the vector, wiring, what passes between the branches, and parameter counts."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.models import MODELS, build_model
from fsjax.models.fusion import CrossAttention, fuse_branches
from fsjax.options import choices
from fsjax.options.methods import AflmOptions

COUNTS = json.loads((Path(__file__).parents[1] / "vectors" / "parameter_counts.json").read_text())["expected"]
SWITCHES = {"fusion": "shared_concat", "attention": True, "gate_on": "source", "gate_slope": 0.1, "reduction": 16}
SMALL = {
    "cnn": {"stages": ((4,), (6,))}, "mnist_2d": None, "mnist_100d": None, "c64f": {"widths": (4, 4, 6, 6)},
    "c128f": {"widths": (4, 4, 6, 6)}, "vgg13": {"widths": (4, 6, 8), "convs": (1, 1, 1)},
    "resnet12": {"widths": (4, 6, 8)}, "resnet18_cifar": {"width": 4, "blocks": (1, 1, 1)},
    "resnet32": {"width": 4, "blocks": (1, 1, 1)}, "resnet32_bbn": {"width": 4, "blocks": (1, 1, 2)},
    "wrn28_10": {"depth": 10, "widen": 1}, "resnet18": {"width": 4, "blocks": (1, 1)},
    "resnet50": {"width": 4, "blocks": (1, 1)},
    "resnet101": {"width": 4, "blocks": (1, 1)},
    "efficientnet_lite0": {"stem_width": 4, "widths": (4, 6, 6), "blocks": (1, 2, 1), "head_width": 8},
}  # fmt: skip


def fused(name="resnet12", **switches):
    return fuse_branches(build_model(name, options=SMALL[name]), **{**SWITCHES, **switches})


def images(size=16):
    return np.random.default_rng(0).normal(size=(3, size, size, 3)).astype(np.float32)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def evaluate(encoder, variables, x):
    return jax.jit(lambda v: encoder.apply(v, x, train=False, mutable=["intermediates"]))(variables)


@pytest.mark.parametrize("gate_on", ["source", "target"])
def test_gates_are_the_vectors(x64, vector, gate_on):
    v = vector("aflm_cross_attention_gate")
    variables = {"params": {"reduce": {"kernel": v.inputs["W1"]}, "expand": {"kernel": v.inputs["W2"]}}}
    flows = v.inputs["x_source"], v.inputs["x_target"]
    if gate_on == "target":  # Eq. 3 as printed: the flow that is gated is the one that the gates come from
        flows = flows[::-1]
    for slope, name in ((0.1, "z"), (0.01, "z_leaky_001")):
        module = CrossAttention(reduction=16, slope=slope, gate_on=gate_on)
        out, sown = module.apply(variables, *flows, mutable=["intermediates"])
        gate = sown["intermediates"]["gate"][0]
        np.testing.assert_allclose(gate, v.expected[name], rtol=1e-6)  # the gate is float32 whatever comes in
        np.testing.assert_allclose(out, flows[0] * v.expected[name][:, None, None], rtol=1e-6)
    expected = v.expected["out_gate_source" if gate_on == "source" else "out_gate_target"]
    module = CrossAttention(reduction=16, slope=0.1, gate_on=gate_on)
    np.testing.assert_allclose(module.apply(variables, *flows), expected, rtol=1e-6)


def test_pooling_a_gated_map_is_gating_the_pooled_one(randomised):
    """GAP(z ⊙ G) = z ⊙ GAP(G): the network's embedding from its own gates and the maps before them."""
    encoder = fused()
    variables = randomised(encoder, images())
    out, sown = evaluate(encoder, variables, images())
    gates = [sown["intermediates"]["backbone"][f"gate_{branch}3"]["gate"][0] for branch in ("global", "local")]
    gates = np.concatenate(gates, axis=-1)
    before = np.asarray(out.maps["stage3"]) / gates[:, None, None]
    np.testing.assert_allclose(out.embedding, gates * before.mean((1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out.embedding, np.asarray(out.maps["stage3"]).mean((1, 2)), rtol=1e-5, atol=1e-6)
    assert np.all((gates > 0) & (gates < 1)) and np.std(gates, axis=0).min() > 0


@pytest.mark.parametrize("gates", ["source", "target", "none"])
@pytest.mark.parametrize("fusion", choices(AflmOptions, "fusion"))
def test_wiring_is_that_of_the_branches_by_hand(randomised, jit, fusion, gates):
    """What the last stage reads in each fusion, from parts that know nothing of each other; every gate has a say."""
    attention, gate_on = gates != "none", "source" if gates == "none" else gates
    encoder = fused("vgg13", fusion=fusion, attention=attention, gate_on=gate_on)  # three stages, soon compiled
    branch = build_model("vgg13", options=SMALL["vgg13"]).backbone
    variables = randomised(encoder, images())
    params, stats = variables["params"]["backbone"], variables["batch_stats"]["backbone"]

    def run(name, x, stages):
        own = {"params": params[name], "batch_stats": stats[name]}
        return np.asarray(branch.apply(own, x, train=False, stages=stages)[f"stage{stages[1]}"])

    def gated(name, own, other):
        if not attention:
            return own
        hidden = np.mean(other if gate_on == "source" else own, (1, 2)) @ params[name]["reduce"]["kernel"]
        hidden = np.where(hidden > 0, hidden, 0.1 * hidden)
        return own / (1 + np.exp(-(hidden @ params[name]["expand"]["kernel"])))[:, None, None]

    def beside(*maps):
        return np.concatenate(maps, axis=-1)

    of_global, of_local = run("global_branch", images(), (1, 2)), run("local_branch", images(), (1, 2))
    gated_global = gated("gate_global2", of_global, of_local)
    gated_local = gated("gate_local2", of_local, of_global)
    both = beside(gated_global, gated_local)
    read_by_global, read_by_local = {
        "shared_concat": (both, both),
        "own_concat": (beside(of_global, gated_global), beside(of_local, gated_local)),
        "none": (gated_global, gated_local),
    }[fusion]
    of_global, of_local = run("global_branch", read_by_global, (3, 3)), run("local_branch", read_by_local, (3, 3))
    last = beside(gated("gate_global3", of_global, of_local), gated("gate_local3", of_local, of_global))

    def total(trained):
        out = encoder.apply({**variables, "params": trained}, images(), train=False)
        return jnp.sum(out.embedding * jnp.arange(1.0, 17.0)), out

    (_, out), gradients = jit(jax.value_and_grad(total, has_aux=True))(variables["params"])
    np.testing.assert_allclose(out.maps["stage2"], both, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out.maps["stage3"], last, rtol=1e-4, atol=1e-5)
    of_gates = {name: tree for name, tree in gradients["backbone"].items() if name.startswith("gate_")}
    assert len(of_gates) == (4 if attention else 0)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(of_gates))


def test_gates_of_one_are_no_gates(randomised):
    """The row "w/o attention": weights that saturate the sigmoid give its maps bit for bit."""
    gated, plain = fused(), fused(attention=False)
    x = np.abs(images())
    variables = randomised(gated, x)
    backbone = variables["params"]["backbone"]
    without = {name: tree for name, tree in backbone.items() if not name.startswith("gate_")}
    assert len(without) == len(backbone) - 4
    for name in backbone.keys() - without.keys():
        backbone[name] = jax.tree.map(lambda kernel: np.full_like(kernel, 100.0), backbone[name])
    out, sown = evaluate(gated, variables, x)
    gates = jax.tree.leaves(sown["intermediates"]["backbone"])
    gates = [gate for gate in gates if gate.ndim == 2]
    assert len(gates) == 4 and all(np.all(gate == 1) for gate in gates)
    plain_variables = {**variables, "params": {"backbone": without}}
    expected, _ = evaluate(plain, plain_variables, x)
    for name in expected.maps:
        np.testing.assert_array_equal(out.maps[name], expected.maps[name])


@pytest.mark.parametrize("gate_on", ["source", "target"])
def test_gradients_pass_between_branches_through_the_gates(randomised, gate_on):
    """Without concatenation the gates are all that joins the branches; gated by itself, a flow is on its own."""
    encoder = fused(fusion="none", gate_on=gate_on)
    variables = randomised(encoder, images())

    def by_half(params, half):
        def total(params):
            embedding = encoder.apply({**variables, "params": params}, images(), train=False).embedding
            return jnp.sum(jnp.split(embedding, 2, axis=-1)[half] * jnp.arange(1.0, 9.0))

        return jax.grad(total)(params)

    by_half = jax.jit(by_half, static_argnums=1)
    for half, other in ((0, "local_branch"), (1, "global_branch")):
        gradients = by_half(variables["params"], half)["backbone"]
        sizes = [float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(gradients[other])]
        assert all(size > 0 for size in sizes) == (gate_on == "source")
        if gate_on == "target":
            assert max(sizes) == 0
        own = gradients["global_branch" if other == "local_branch" else "local_branch"]
        assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(own))


def test_fusion_decides_what_the_last_stage_reads():
    widths = {}
    for fusion in ("shared_concat", "own_concat", "none"):
        encoder = fused(fusion=fusion)
        shapes = jax.eval_shape(lambda x, e=encoder: e.init(jax.random.key(0), x, train=False), images())
        branch = shapes["params"]["backbone"]["local_branch"]
        widths[fusion] = branch["stage3"]["conv1"]["conv"]["kernel"].shape[2]
    assert widths == {"shared_concat": 12, "own_concat": 12, "none": 6}


def test_branches_have_weights_of_their_own():
    backbone = fused().init(jax.random.key(0), images(), train=False)["params"]["backbone"]
    one, other = (backbone[name]["stage1"]["conv1"]["conv"]["kernel"] for name in ("global_branch", "local_branch"))
    assert np.all(one != other)


def test_parameter_counts():
    image = jax.ShapeDtypeStruct((1, 84, 84, 3), jnp.float32)
    for attention in (False, True):
        encoder = fuse_branches(build_model("resnet12"), **{**SWITCHES, "attention": attention})
        params = jax.eval_shape(lambda x, e=encoder: e.init(jax.random.key(0), x, train=False), image)["params"]
        gates = COUNTS["aflm_all_gates"] if attention else 0
        assert count(params) == COUNTS["aflm_two_branches_shared_concat_no_gates"] + gates
    backbone = params["backbone"]
    assert count(backbone["gate_global3"]) == count(backbone["gate_local3"]) == COUNTS["aflm_gate_c256"]
    assert count(backbone["gate_global4"]) == count(backbone["gate_local4"]) == COUNTS["aflm_gate_c512"]


@pytest.mark.parametrize("name", [name for name in MODELS if SMALL[name]])
def test_any_network_can_be_a_branch(name):
    encoder, x = fused(name), images(32)
    shapes = jax.eval_shape(lambda: encoder.init_with_output(jax.random.key(0), x, train=False)[0])
    alone = build_model(name, options=SMALL[name])
    own = jax.eval_shape(lambda: alone.init_with_output(jax.random.key(0), x, train=False)[0])
    assert list(shapes.maps) == list(own.maps)
    for stage, maps in own.maps.items():
        assert shapes.maps[stage].shape == (*maps.shape[:3], 2 * maps.shape[3])
    assert shapes.embedding.shape == (3, 2 * own.embedding.shape[1])


@pytest.mark.parametrize("name", [name for name in MODELS if SMALL[name]])
def test_stages_in_parts_are_the_whole(name, randomised):
    backbone, x = build_model(name, options=SMALL[name]).backbone, images(32)
    variables = randomised(backbone, x)
    whole, last = backbone.apply(variables, x, train=False), backbone.num_stages
    first = backbone.apply(variables, x, train=False, stages=(1, last - 1))
    rest = backbone.apply(variables, first[f"stage{last - 1}"], train=False, stages=(last, last))
    assert list(whole) == [*first, *rest]
    for stage, maps in {**first, **rest}.items():
        np.testing.assert_allclose(maps, whole[stage], rtol=1e-5, atol=1e-6)


def test_computes_in_bfloat16_with_float32_embeddings_and_gates():
    encoder = fuse_branches(build_model("resnet12", dtype="bfloat16", options=SMALL["resnet12"]), **SWITCHES)
    variables = encoder.init(jax.random.key(0), images(), train=False)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    out, sown = evaluate(encoder, variables, images())
    assert {maps.dtype for maps in out.maps.values()} == {jnp.dtype("bfloat16")}
    assert out.embedding.dtype == sown["intermediates"]["backbone"]["gate_local3"]["gate"][0].dtype == jnp.float32
    exact, _ = evaluate(fused(), variables, images())
    np.testing.assert_allclose(out.embedding, exact.embedding, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("name", "switches", "message"),
    [
        ("cnn", {"options": {"stages": ((4,),)}}, "the last two stages; ConvNet has not two"),
        ("cnn", {"options": {"stages": ((4,), (4,)), "dim": 2}}, "layers of its own after them"),
    ],
)
def test_what_cannot_be_fused(name, switches, message):
    switches = dict(switches)
    encoder = build_model(name, options=switches.pop("options", SMALL[name]))
    with pytest.raises(UserError, match=message):
        fuse_branches(encoder, **{**SWITCHES, **switches})
