"""Neural implants: a few new filters beside a frozen network's last block, trained for one task (Lifchitz et al.).

Section and equation numbers are those of "Dense Classification and Implanting for Few-Shot Learning" (2019). What
the frozen network computes of an image never changes, so it is computed once, as `Activations`; the inner optimizer
then sees nothing but arrays:

    params, stats = train_implants(support, labels, mask, keys, options=options, num_ways=5)
    maps = implant_maps(params, stats, queries, options)

All arrays have a leading axis of tasks, which train side by side.
"""

import dataclasses
import functools
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from fsjax.errors import UserError
from fsjax.losses.base import as_loss_dtype, check_at_least, check_choice
from fsjax.losses.leave_one_out import leave_one_out_loss
from fsjax.models import implant_layers as layers
from fsjax.models.layers import HE_NORMAL
from fsjax.models.pooling import POOL_PADDINGS, max_pool_2x2
from fsjax.models.resnet12 import ACTIVATIONS

Params = dict[str, Any]
Stats = dict[str, dict[str, jax.Array]]

# Table 3's ways to train: what the prototypes are made of, and what is classified.
POOL_PAIRS = (("gmp", "gmp"), ("gmp", "dense"), ("gap", "gap"), ("gap", "dense"))
_MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True)
class ImplantOptions:
    """How implants look and train; the defaults are the paper's, or METHODS §2.2's where it is silent.

    Attributes:
      channels: new filters at each of the three convolutions (16).
      steps: full-batch steps of AdamW, one an epoch (50).
      learning_rate: of AdamW (not in the paper).
      weight_decay: of AdamW, decoupled, on all parameters (not in the paper).
      b1: AdamW's decay of the gradient's mean.
      b2: AdamW's decay of its square's.
      eps: AdamW's, outside of the root.
      tau: scale of the cosines while training (10).
      norm: "bn", batch normalisation of the implants alone, or "none", a bias instead.
      shortcut: whether the block's 1x1 convolution has implants too.
      support_pool: what prototypes are means of while training: "gap" or "gmp" (mean or maximum of a map).
      query_pool: what is classified while training: the same, or "dense", every position (Eq. 12).
      activation: the block's: "swish", "leaky" or "relu".
      pool_padding: of the block's max-pooling: "valid" or "same".
      statistics: batch normalisation at test. "support": those of the support images under the final implants.
        "running": averages over the steps with momentum 0.9, the support images under the final implants being
        the last of them (see `train_implants`).
    """

    channels: int = 16
    steps: int = 50
    learning_rate: float = 1e-3
    weight_decay: float = 5e-4
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    tau: float = 10.0
    norm: str = "bn"
    shortcut: bool = False
    support_pool: str = "gap"
    query_pool: str = "gap"
    activation: str = "swish"
    pool_padding: str = "valid"
    statistics: str = "support"

    def __post_init__(self) -> None:
        for name, least in (("channels", 1), ("steps", 0)):
            check_at_least(name, getattr(self, name), least)
            if not isinstance(getattr(self, name), int):
                raise UserError(f"{name}={getattr(self, name)!r}: must be a whole number")
        for name in ("learning_rate", "weight_decay", "eps"):
            check_at_least(name, getattr(self, name), 0)
        check_at_least("b1", self.b1, 0, below=1)
        check_at_least("b2", self.b2, 0, below=1)
        if not self.tau > 0:
            raise UserError(f"tau={self.tau}: the scale of the cosines must be above 0")
        check_choice("norm", self.norm, ("bn", "none"))
        check_choice("shortcut", self.shortcut, (True, False))
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_choice("pool_padding", self.pool_padding, POOL_PADDINGS)
        check_choice("statistics", self.statistics, ("support", "running"))
        check_choice("(support_pool, query_pool)", (self.support_pool, self.query_pool), POOL_PAIRS)


@flax.struct.dataclass
class Activations:
    """What the frozen network, in inference mode, computes of images: all that implants read or stand beside.

    Attributes:
      inputs: `[..., n, h, w, c0]`, of the last block.
      conv1: `[..., n, h, w, c]`, its first convolution after normalisation and activation ("activation1").
      conv2: `[..., n, h, w, c]`, its second, likewise ("activation2").
      output: `[..., n, h', w', d]`, the block's output after its pooling.
    """

    inputs: jax.Array
    conv1: jax.Array
    conv2: jax.Array
    output: jax.Array


def check_shots(labels: np.ndarray, mask: np.ndarray, num_ways: int) -> None:
    """Refuses tasks in which a class has a single support image, before anything is compiled.

    Args:
      labels: `[..., n]` integers.
      mask: `[..., n]`, 1 for an image, 0 for padding.
      num_ways: classes of a task; one that has no image at all is padding.

    Raises:
      UserError: naming the first such task and class, and the reason.
    """
    labels, mask = (np.asarray(x).reshape(-1, np.shape(x)[-1]) for x in (labels, mask))
    counts = np.stack([np.sum((labels == way) & (mask > 0), axis=-1) for way in range(num_ways)], axis=-1)
    for task, way in np.argwhere(counts == 1)[:1]:
        raise UserError(
            f"class {way} of task {task} has 1 support image; implants need at least 2 a class: they train by leaving "
            "one out and classifying it against prototypes of the others (Eq. 11), and its class would have none. "
            "Take 2 shots or more, or evaluate without implants"
        )


def init_implants(rng: jax.Array, options: ImplantOptions, *, in_channels: int, width: int, dtype=jnp.float32) -> Params:
    """Fresh implants of one task: He normal kernels over fan-in, scales 1, biases 0.

    Args:
      rng: key; another one for every task.
      options: see `ImplantOptions`.
      in_channels: channels of the last block's input (256 in ResNet-12).
      width: channels of its convolutions (512).
      dtype: of the parameters.

    Returns:
      By layer ("conv1", "conv2", "conv3", and "shortcut" if it is asked for) "kernel" `[3, 3, c, channels]`, "bias"
      `[channels]` and, with batch normalisation, "scale". The last `channels` of c in conv2 and conv3 are the
      implants of the layer before.
    """
    wide = width + options.channels
    shapes = {"conv1": (3, 3, in_channels), "conv2": (3, 3, wide), "conv3": (3, 3, wide)}
    if options.shortcut:
        shapes["shortcut"] = (1, 1, in_channels)
    params = {}
    for number, (name, shape) in enumerate(shapes.items()):
        key = jax.random.fold_in(rng, number)
        layer = {"kernel": HE_NORMAL["fan_in"](key, (*shape, options.channels), dtype)}
        layer["bias"] = jnp.zeros(options.channels, dtype)
        if options.norm == "bn":
            layer["scale"] = jnp.ones(options.channels, dtype)
        params[name] = layer
    return params


def implant_loss(
    maps: jax.Array, labels: jax.Array, mask: jax.Array, options: ImplantOptions, *, num_ways: int
) -> jax.Array:
    """The leave-one-out loss of a task's support images, the sum of Eq. 11 or 12.

    Args:
      maps: `[n, h, w, dim]` or `[n, positions, dim]` widened feature maps.
      labels: `[n]` integers `0 .. num_ways-1`.
      mask: `[n]`, 1 for an image, 0 for padding.
      options: the poolings and the scale.
      num_ways: classes of the task.

    Returns:
      A scalar.
    """
    support, queries = _reduced(maps, options.support_pool)[:, 0], _reduced(maps, options.query_pool)
    losses = leave_one_out_loss(support, queries, labels, mask, num_classes=num_ways, tau=options.tau)
    return jnp.sum(losses)


def _reduced(maps: jax.Array, pool: str) -> jax.Array:
    """Maps `[n, ..., dim]` as `[n, r, dim]`: r is the number of positions if `pool` is "dense", otherwise 1."""
    positions = as_loss_dtype(maps).reshape(maps.shape[0], -1, maps.shape[-1])
    if pool == "dense":
        return positions
    return (jnp.mean if pool == "gap" else jnp.max)(positions, axis=1, keepdims=True)


@functools.partial(jax.jit, static_argnames=("options", "num_ways"))
def train_implants(
    activations: Activations,
    labels: jax.Array,
    mask: jax.Array,
    keys: jax.Array,
    *,
    options: ImplantOptions,
    num_ways: int,
) -> tuple[Params, Stats]:
    """Trains fresh implants for each task on its support images (Sec. 3.2.2), all tasks side by side.

    Full-batch steps of AdamW on the sum of the leave-one-out losses. Call `check_shots` before.

    Batch normalisation takes the support images' statistics while it trains. METHODS §2.2 says of the test "running
    averages (momentum 0.9, final pass over the support set to refresh)". The weights move further in 50 steps than
    they were at the start, so an average over the last ten steps belongs to no network that exists any more: we read
    "refresh" as "replace by the statistics of the support images under the final implants", and the network at test
    is the one whose loss was minimised. `statistics="running"` is the other reading, in which the final pass is one
    more update of the averages.

    Args:
      activations: of the support images, `[tasks, n, ...]`.
      labels: `[tasks, n]` integers `0 .. num_ways-1`.
      mask: `[tasks, n]`, 1 for an image, 0 for padding, whose activations must be finite.
      keys: `[tasks]` JAX random keys, from which the implants of each task start.
      options: see `ImplantOptions`.
      num_ways: classes of a task, the most of all of them.

    Returns:
      The implants, see `init_implants`, and their "mean" and "var" at test by layer (empty without batch
      normalisation), all with a leading axis of tasks.
    """
    one_task = functools.partial(_train_one, options=options, num_ways=num_ways)
    return jax.vmap(one_task)(activations, labels, mask, keys)


def _train_one(activations, labels, mask, key, *, options, num_ways):
    """`train_implants` of a single task."""
    frozen = _Frozen.of(activations)
    width, dtype = activations.conv1.shape[-1], frozen.inputs.dtype
    params = init_implants(key, options, in_channels=activations.inputs.shape[-1], width=width, dtype=dtype)
    base_support, base_queries = (_reduced(activations.output, p) for p in (options.support_pool, options.query_pool))

    def loss(weights):
        maps, moments = _stream(weights, frozen, options, mask=mask)
        support = jnp.concatenate([base_support, _reduced(maps, options.support_pool)], axis=-1)[:, 0]
        queries = jnp.concatenate([base_queries, _reduced(maps, options.query_pool)], axis=-1)
        losses = leave_one_out_loss(support, queries, labels, mask, num_classes=num_ways, tau=options.tau)
        return jnp.sum(losses), moments

    optimizer = optax.adamw(
        options.learning_rate, b1=options.b1, b2=options.b2, eps=options.eps, weight_decay=options.weight_decay
    )

    def step(carry, _):
        weights, state, running = carry
        gradients, moments = jax.grad(loss, has_aux=True)(weights)
        updates, state = optimizer.update(gradients, state, weights)
        return (optax.apply_updates(weights, updates), state, _average(running, moments)), None

    weights = _as_matrices(params, width)
    stats = {}
    if options.norm == "bn":
        stats = {name: {"mean": jnp.zeros_like(p["bias"]), "var": jnp.ones_like(p["bias"])} for name, p in params.items()}
    (weights, _, stats), _ = lax.scan(step, (weights, optimizer.init(weights), stats), None, length=options.steps)
    _, moments = _stream(weights, frozen, options, mask=mask)
    return _as_kernels(weights), moments if options.statistics == "support" else _average(stats, moments)


def _average(running: Stats, moments: Stats) -> Stats:
    """Running statistics after one more batch of these moments."""
    return jax.tree.map(lambda old, new: _MOMENTUM * old + (1 - _MOMENTUM) * new, running, moments)


@functools.partial(jax.jit, static_argnames=("options", "train"))
def implant_maps(
    params: Params,
    stats: Stats,
    activations: Activations,
    options: ImplantOptions,
    train: bool = False,
    mask: jax.Array | None = None,
) -> jax.Array:
    """Feature maps of the widened network: the frozen network's, and the implants' beside them.

    Args:
      params: implants; with a leading axis of tasks if the activations have one.
      stats: their statistics, as `train_implants` returns them; not read if `train`.
      activations: of the images, `[n, ...]` or `[tasks, n, ...]`.
      options: see `ImplantOptions`.
      train: whether batch normalisation takes the statistics of these images.
      mask: `[n]` or `[tasks, n]`, 1 for an image, 0 for padding; read only if `train`. None: all are images.

    Returns:
      `[..., n, h', w', d + channels]`, at least float32.
    """
    if mask is None:
        mask = jnp.ones(activations.inputs.shape[:-3])
    if activations.inputs.ndim == 5:
        one_task = functools.partial(implant_maps, options=options, train=train)
        return jax.vmap(lambda p, s, a, m: one_task(p, s, a, mask=m))(params, stats, activations, mask)
    weights = _as_matrices(params, activations.conv1.shape[-1])
    maps, _ = _stream(weights, _Frozen.of(activations), options, mask=mask, stats=None if train else stats)
    return jnp.concatenate([as_loss_dtype(activations.output), maps], axis=-1)


@flax.struct.dataclass
class _Frozen:
    """The activations that implants read, channel by channel `[c, n · h · w]`, at least float32."""

    inputs: jax.Array
    conv1: jax.Array
    conv2: jax.Array
    shape: tuple[int, int, int] = flax.struct.field(pytree_node=False)

    @classmethod
    def of(cls, activations: Activations) -> "_Frozen":
        """Arranges one task's activations `[n, h, w, c]`."""
        read = (activations.inputs, activations.conv1, activations.conv2)
        return cls(*(layers.columns(as_loss_dtype(x)) for x in read), shape=activations.inputs.shape[:3])


def _stream(weights, frozen, options, *, mask, stats=None):
    """The implants' own stream, pooled `[n, h', w', channels]`, and the moments by which it was normalised.

    `stats` None stands for those of these images.
    """
    act, _ = ACTIVATIONS[options.activation]
    moments = {}

    def layer(name, inputs, stream=None):
        weight = weights[name]
        y = layers.frozen_product(inputs, weight["frozen"])
        if stream is not None:
            y = y + stream.reshape(-1, stream.shape[-1]) @ weight["own"]
        if name == "shortcut":
            y = y.reshape(*frozen.shape, -1)
        else:
            y = layers.add_shifted(y.reshape(*frozen.shape, 3, 3, -1))
        if options.norm == "bn":
            moments[name] = layers.batch_moments(y, mask) if stats is None else stats[name]
            y = layers.normalize(y, moments[name]) * weight["scale"]
        return y + weight["bias"]

    stream = act(layer("conv1", frozen.inputs))
    stream = act(layer("conv2", frozen.conv1, stream))
    last = layer("conv3", frozen.conv2, stream)
    if options.shortcut:
        last = last + layer("shortcut", frozen.inputs)
    return max_pool_2x2(act(last), padding=options.pool_padding), moments


def _as_matrices(params: Params, width: int) -> Params:
    """Kernels as matrices, cut into the rows that read the frozen network ("frozen") and the implants ("own").

    AdamW works on each number alone, so it does the same to them in either arrangement.
    """
    weights = {}
    for name, layer in params.items():
        weights[name] = {key: value for key, value in layer.items() if key != "kernel"}
        matrix = layers.kernel_matrix(layer["kernel"])
        if name in ("conv2", "conv3"):
            weights[name]["own"] = matrix[width:]
            matrix = matrix[:width]
        weights[name]["frozen"] = matrix
    return weights


def _as_kernels(weights: Params) -> Params:
    """The reverse of `_as_matrices`."""
    params = {}
    for name, layer in weights.items():
        matrix = jnp.concatenate([layer[key] for key in ("frozen", "own") if key in layer])
        kernel = layers.matrix_kernel(matrix, 1 if name == "shortcut" else 3)
        params[name] = {"kernel": kernel, **{key: layer[key] for key in ("bias", "scale") if key in layer}}
    return params
