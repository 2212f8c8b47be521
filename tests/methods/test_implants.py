"""Implants against the vectors, and against the paper's loop in NumPy with gradients by finite differences."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.methods import implants
from fsjax.methods.implants import Activations, ImplantOptions, implant_loss, implant_maps, train_implants
from fsjax.models import build_model
from fsjax.options.methods import POOL_PAIRS
from tests.numpy_arithmetic import numpy_jit

SMALL = {"channels": 2, "steps": 2, "learning_rate": 0.01, "weight_decay": 0.1, "eps": 1e-4}
LABELS = np.array([0, 0, 1, 1, 1, 2, 2])
WAYS = 3


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def random_activations(*lead, side=4, seed=0, dtype=np.float64) -> Activations:
    """A block from 3 to 4 channels and 5 out."""
    rng = np.random.default_rng(seed)
    small = -(-side // 2)
    shapes = [(side, side, 3), (side, side, 4), (side, side, 4), (small, small, 5)]
    return Activations(*(rng.normal(size=(*lead, *shape)).astype(dtype) for shape in shapes))


def by_numpy(function, static_argnames):
    return numpy_jit(function, jax.jit(function, static_argnames=static_argnames), static_argnames=static_argnames)


fast_train = by_numpy(train_implants, ("options", "num_ways"))
maps_of = by_numpy(implant_maps, ("options", "train"))
loss_and_gradient = by_numpy(jax.value_and_grad(implant_loss), ("options", "num_ways"))
loss_of = by_numpy(implant_loss, ("options", "num_ways"))


def keys(tasks: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), tasks)


def train(activations, labels, mask, key, options, ways=WAYS):
    return fast_train(activations, labels, mask, key, options=options, num_ways=ways)


# --- The oracle: the widened block, the loss as the paper's loop over subtasks, and AdamW, in NumPy.

ACTIVATE = {
    "swish": lambda x: x / (1 + np.exp(-x)),
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "relu": lambda x: np.maximum(x, 0),
}


def convolve(x, kernel):
    side, (_, height, width, _) = kernel.shape[0], x.shape
    x = np.pad(x, ((0, 0), (side // 2,) * 2, (side // 2,) * 2, (0, 0)))
    return sum(
        x[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in itertools.product(range(side), range(side))
    )


def pool(x, padding):
    if padding == "same":
        x = np.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), constant_values=-np.inf)
    rows, columns = x.shape[1] // 2, x.shape[2] // 2
    windows = x[:, : 2 * rows, : 2 * columns].reshape(len(x), rows, 2, columns, 2, -1)
    return windows.max((2, 4))


def widened(params, a, options, stats=None):
    """Maps of the widened block, and each layer's mean and variance over these images."""
    moments = {}

    def layer(name, x):
        p = params[name]
        y = convolve(x, p["kernel"])
        if options.norm == "bn":
            moments[name] = {"mean": y.mean((0, 1, 2)), "var": y.var((0, 1, 2))}
            used = moments[name] if stats is None else stats[name]
            y = (y - used["mean"]) / np.sqrt(used["var"] + 1e-5) * p["scale"]
        return y + p["bias"]

    act = ACTIVATE[options.activation]
    x = act(layer("conv1", a.inputs))
    x = act(layer("conv2", np.concatenate([a.conv1, x], -1)))
    x = layer("conv3", np.concatenate([a.conv2, x], -1))
    if options.shortcut:
        x = x + layer("shortcut", a.inputs)
    return np.concatenate([a.output, pool(act(x), options.pool_padding)], -1), moments


def leave_one_out(maps, labels, options):
    """Eq. 11 and 12 with a loop over the subtasks, each with prototypes of its own."""
    maps = maps.reshape(len(maps), -1, maps.shape[-1])
    pooled = {"gap": maps.mean(1, keepdims=True), "gmp": maps.max(1, keepdims=True), "dense": maps}
    support, queries = pooled[options.support_pool][:, 0], pooled[options.query_pool]
    total = 0
    for i, label in enumerate(labels):
        others = np.arange(len(labels)) != i
        classes = np.unique(labels)
        prototypes = np.stack([support[others & (labels == c)].mean(0) for c in classes])
        for query in queries[i]:
            cosines = prototypes @ query / np.linalg.norm(prototypes, axis=-1) / np.linalg.norm(query)
            logits = options.tau * cosines
            total += np.log(np.exp(logits).sum()) - logits[list(classes).index(label)]
    return total


def differences(function, params, step=1e-6):
    """The gradient by central differences; `params` are changed on the way and restored."""
    gradient = jax.tree.map(np.zeros_like, params)
    for array, result in zip(jax.tree.leaves(params), jax.tree.leaves(gradient), strict=True):
        for index in np.ndindex(array.shape):
            before = array[index]
            array[index] = before + step
            above = function(params)
            array[index] = before - step
            result[index] = (above - function(params)) / (2 * step)
            array[index] = before
    return gradient


def adamw_by_hand(params, a, labels, options):
    """Loshchilov & Hutter 2019, Algorithm 2, with the statistics of every step's forward pass."""
    first = jax.tree.map(np.zeros_like, params)
    second = jax.tree.map(np.zeros_like, params)
    seen = []
    for t in range(1, options.steps + 1):
        seen.append(widened(params, a, options)[1])
        gradient = differences(lambda p: leave_one_out(widened(p, a, options)[0], labels, options), params)
        first = jax.tree.map(lambda m, g: options.b1 * m + (1 - options.b1) * g, first, gradient)
        second = jax.tree.map(lambda v, g: options.b2 * v + (1 - options.b2) * g * g, second, gradient)

        def update(w, m, v, t=t):
            direction = m / (1 - options.b1**t) / (np.sqrt(v / (1 - options.b2**t)) + options.eps)
            return w - options.learning_rate * (direction + options.weight_decay * w)

        params = jax.tree.map(update, params, first, second)
    return params, [*seen, widened(params, a, options)[1]]


def fresh(key, options):
    params = implants.init_implants(key, options, in_channels=3, width=4, dtype=jnp.float64)
    return jax.tree.map(lambda x: np.array(x), params)


CASES = {
    "gap_gap": (4, {}),
    "gap_dense_running": (4, {"query_pool": "dense", "statistics": "running"}),
    "gmp_gmp_bias": (5, {"support_pool": "gmp", "query_pool": "gmp", "norm": "none", "activation": "leaky"}),
    "gmp_dense_shortcut": (
        5, {"support_pool": "gmp", "query_pool": "dense", "shortcut": True, "pool_padding": "same", "tau": 3.0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_inner_loop_is_adamw_on_the_papers_loss(x64, case):
    side, changes = CASES[case]
    options = ImplantOptions(**SMALL, **changes)
    a = random_activations(7, side=side)
    if options.pool_padding == "valid":
        a = dataclasses.replace(a, output=a.output[:, : side // 2, : side // 2])
    key = keys(1)
    params, stats = train(jax.tree.map(lambda x: x[None], a), LABELS[None], np.ones((1, 7)), key, options)
    start = fresh(key[0], options)
    expected, moments = adamw_by_hand(start, a, LABELS, options)
    assert all(np.any(np.abs(b - c) > 1e-3) for b, c in zip(*map(jax.tree.leaves, (start, expected)), strict=True))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[0], y, rtol=1e-6, atol=1e-7), params, expected)

    if options.statistics == "running":
        average = jax.tree.map(lambda x, y: np.zeros_like(x) + y, moments[0], {n: {"mean": 0, "var": 1} for n in stats})
        for batch in moments:
            average = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, average, batch)
    else:
        average = moments[-1]
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[0], y, rtol=1e-6, atol=1e-7), stats, average)

    queries = random_activations(3, side=side, seed=1)
    queries = dataclasses.replace(queries, output=queries.output[:, : a.output.shape[1], : a.output.shape[2]])
    maps = maps_of(*jax.tree.map(lambda x: x[0], (params, stats)), queries, options=options)
    np.testing.assert_allclose(maps, widened(expected, queries, options, average)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(maps[..., :5], queries.output)  # the frozen network's maps stay, to the bit


@pytest.mark.parametrize("support, query", POOL_PAIRS)
def test_loss_gives_the_vector(x64, root, support, query):
    vector = json.loads((root / "tests/vectors/implant_leave_one_out_eq11_12.json").read_text())
    maps, labels = (np.asarray(vector["inputs"][name]) for name in ("maps", "labels"))
    way, expected = vector["params"]["way"], vector["expected"]
    options = ImplantOptions(support_pool=support, query_pool=query, tau=vector["params"]["tau"])
    loss, gradient = loss_and_gradient(maps, labels, np.ones(len(labels)), options=options, num_ways=way)
    np.testing.assert_allclose(loss, expected[f"support_{support}_query_{query}"], rtol=1e-9)
    if (support, query) == ("gap", "dense"):
        np.testing.assert_allclose(gradient, expected["grad_sum_maps_gap_dense"], rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("support, query", POOL_PAIRS)
def test_closed_form_is_the_loop_over_subtasks(x64, support, query):
    options = ImplantOptions(support_pool=support, query_pool=query)
    maps = np.random.default_rng(3).normal(size=(7, 4, 6))
    # Padding with labels of real classes and of none, and a fourth class without images: nothing changes.
    padded = np.concatenate([maps, 100 * np.ones((2, 4, 6))])
    labels, mask = np.append(LABELS, [1, -1]), np.append(np.ones(7), [0, 0])
    loss = loss_of(padded, labels, mask, options=options, num_ways=4)
    np.testing.assert_allclose(loss, leave_one_out(maps, LABELS, options), rtol=1e-10)


def test_padding_changes_nothing(x64):
    options = ImplantOptions(channels=2, steps=5, query_pool="dense")
    a, padding = random_activations(1, 7), random_activations(1, 2, seed=5)
    padded = jax.tree.map(lambda x, y: np.concatenate([x, 50 * y], 1), a, padding)
    labels, mask = np.append(LABELS, [0, 2])[None], np.append(np.ones(7), [0, 0])[None]
    short = train(a, LABELS[None], np.ones((1, 7)), keys(1), options)
    long = train(padded, labels, mask, keys(1), options, ways=4)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-7, atol=1e-9), long, short)
    maps = maps_of(long[0], long[1], padded, options=options, train=True, mask=mask)
    np.testing.assert_allclose(maps[:, :7], maps_of(*short, a, options=options), rtol=1e-7, atol=1e-9)


def test_tasks_side_by_side_equal_one_at_a_time(x64):
    options = ImplantOptions(channels=2, steps=5)
    a = random_activations(3, 7)
    labels = np.stack([LABELS, LABELS[::-1], np.roll(LABELS, 1)])
    mask = np.ones((3, 7))
    together = train(a, labels, mask, keys(3), options)
    maps = maps_of(*together, a, options=options)
    for i in range(3):
        row = slice(i, i + 1)
        alone = train(jax.tree.map(lambda x: x[row], a), labels[row], mask[row], keys(3)[row], options)  # noqa: B023
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x[i], y[0], rtol=1e-9, atol=1e-12), together, alone)  # noqa: B023
        single = jax.tree.map(lambda x: x[i], (*together, a))  # noqa: B023
        np.testing.assert_allclose(maps[i], maps_of(*single, options=options), rtol=1e-9, atol=1e-12)


def test_start_is_he_normal_and_a_function_of_the_key():
    options = ImplantOptions(steps=0)
    make = jax.jit(jax.vmap(lambda k: implants.init_implants(k, options, in_channels=256, width=512)))
    params = make(keys(2))
    kernels = {name: np.asarray(layer["kernel"]) for name, layer in params.items()}
    assert sum(kernel[0].size for kernel in kernels.values()) == 188_928
    assert kernels["conv1"].shape == (2, 3, 3, 256, 16)
    for kernel in kernels.values():
        assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * kernel.shape[3])), rel=0.01)
        assert not np.any(kernel[0] == kernel[1])
    assert not np.any(kernels["conv2"] == kernels["conv3"])
    jax.tree.map(np.testing.assert_array_equal, params, make(keys(2)))
    assert np.any(np.asarray(make(keys(2, seed=1))["conv1"]["kernel"]) != kernels["conv1"])


def test_no_steps_return_the_start(x64):
    options = ImplantOptions(channels=2, steps=0)
    params, _ = train(random_activations(2, 7), np.stack([LABELS] * 2), np.ones((2, 7)), keys(2), options)
    for i, key in enumerate(keys(2)):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x[i], y, rtol=1e-14), params, fresh(key, options))  # noqa: B023


def test_training_lowers_the_loss_and_generalises():
    """Three classes that differ in one channel of the block's input, which its output does not show."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 5)
    support, queries = (random_activations(1, 15, seed=s, dtype=np.float32) for s in (1, 2))
    bumps = 4 * np.eye(3, dtype=np.float32)[labels][None, :, None, None, :]
    support, queries = (
        dataclasses.replace(a, inputs=a.inputs + bumps, output=0.3 + 0.05 * rng.normal(size=a.output.shape))
        for a in (support, queries)
    )
    losses, mask = [], np.ones((1, 15))
    for steps in (0, 50):
        options = ImplantOptions(steps=steps, learning_rate=0.01)
        params, stats = train(support, labels[None], mask, keys(1), options)
        maps = maps_of(params, stats, support, options=options)[0]
        losses.append(float(loss_of(maps, labels, mask[0], options=options, num_ways=3)))
    assert losses[1] < 0.1 * losses[0]
    gap = {name: np.asarray(maps_of(params, stats, a, options=options)[0]).mean((1, 2)) for name, a in
           (("support", support), ("queries", queries))}  # fmt: skip
    prototypes = np.stack([gap["support"][labels == c].mean(0) for c in range(3)])
    cosines = gap["queries"] @ (prototypes / np.linalg.norm(prototypes, axis=-1, keepdims=True)).T
    assert np.mean(cosines.argmax(-1) == labels) == 1


def test_activations_of_a_resnet12_are_those_of_its_last_block():
    encoder = build_model("resnet12", options={"widths": (4, 6)})
    images = np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype(np.float32)
    variables = encoder.init(jax.random.key(0), images, train=False)
    a = implants.base_activations(encoder, {k: variables[k] for k in ("params", "batch_stats")}, images)
    maps = encoder.apply(variables, images, train=False).maps
    np.testing.assert_array_equal(a.inputs, maps["stage1"])
    np.testing.assert_array_equal(a.output, maps["stage2"])
    block = jax.tree.map(np.asarray, variables["params"]["backbone"]["stage2"])
    for name, x, y in (("conv1", a.inputs, a.conv1), ("conv2", a.conv1, a.conv2)):
        # Fresh running statistics: mean 0 and variance 1.
        expected = ACTIVATE["swish"](convolve(np.asarray(x), block[name]["conv"]["kernel"]) / np.sqrt(1 + 1e-5))
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="resnet12"):
        implants.base_activations(build_model("cnn"), variables, images)


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": 0}, {"channels": 2.5}, {"steps": -1}, {"tau": 0.0}, {"b2": 1.0}, {"norm": "layer"},
        {"activation": "gelu"}, {"pool_padding": "full"}, {"query_pool": "gmp"}, {"statistics": "batch"},
        {"learning_rate": -1.0},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_options_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        ImplantOptions(**wrong)
