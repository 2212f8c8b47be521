"""The network widened by neural implants, over activations of the frozen network (see `fsjax.methods.implants`)."""

import dataclasses
import functools
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from fsjax.errors import UserError
from fsjax.losses.base import as_loss_dtype
from fsjax.methods.rules import check_features
from fsjax.models import implant_layers as layers
from fsjax.models.layers import HE_NORMAL
from fsjax.models.pooling import max_pool_2x2
from fsjax.models.resnet12 import ACTIVATIONS, ResNet12
from fsjax.options import check_fields, section
from fsjax.options.methods import ImplantTrainingOptions
from fsjax.options.models import ResNet12Options

Params = dict[str, Any]
Stats = dict[str, dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImplantOptions(ImplantTrainingOptions):
    """How implants look and train; the defaults are the paper's, or ours: docs/readings.md, "Implants".

    The activation, and the padding of the pooling, are those of the network's blocks.
    """

    activation: str = ResNet12Options.activation
    pool_padding: str = ResNet12Options.pool_padding

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("activation", "pool_padding"):
            section(ResNet12Options).keys[name].read(getattr(self, name), name)


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


def check_network(encoder: nn.Module) -> ResNet12:
    """The network beside whose last block implants can stand.

    Raises:
      UserError: for another.
    """
    backbone = getattr(encoder, "backbone", None)  # a method's own network has none
    if not isinstance(backbone, ResNet12) or len(backbone.widths) < 2:
        raise UserError(
            "implants stand beside the last block of a resnet12 of two stages or more, and of no other network"
        )
    check_features(encoder, ("dense",))
    return backbone


def base_activations(encoder: nn.Module, variables: dict[str, Any], images: jax.Array) -> Activations:
    """What a ResNet-12 in inference mode computes of images `[n, h, w, 3]`; its variables stay as they are.

    Raises:
      UserError: for another network, or one of a single stage.
    """
    check_network(encoder)
    encoded, sown = encoder.apply(variables, images, train=False, mutable=["intermediates"])
    *_, (_, inputs), (last, output) = encoded.maps.items()
    inner = sown["intermediates"]["backbone"][last]
    return Activations(inputs, inner["activation1"][0], inner["activation2"][0], output)


def init_implants(
    rng: jax.Array, options: ImplantOptions, *, in_channels: int, width: int, dtype: DTypeLike = jnp.float32
) -> Params:
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
    weights = as_matrices(params, activations.conv1.shape[-1])
    maps, _ = widened_stream(weights, Frozen.of(activations), options, mask=mask, stats=None if train else stats)
    return jnp.concatenate([as_loss_dtype(activations.output), maps], axis=-1)


@flax.struct.dataclass
class Frozen:
    """The activations that implants read, channel by channel `[c, n · h · w]`, at least float32."""

    inputs: jax.Array
    conv1: jax.Array
    conv2: jax.Array
    shape: tuple[int, int, int] = flax.struct.field(pytree_node=False)

    @classmethod
    def of(cls, activations: Activations) -> "Frozen":
        """Arranges one task's activations `[n, h, w, c]`."""
        read = (activations.inputs, activations.conv1, activations.conv2)
        inputs, conv1, conv2 = (layers.columns(as_loss_dtype(x)) for x in read)
        count, height, width, _ = activations.inputs.shape
        return cls(inputs, conv1, conv2, shape=(count, height, width))


def widened_stream(
    weights: Params, frozen: Frozen, options: ImplantOptions, *, mask: jax.Array, stats: Stats | None = None
) -> tuple[jax.Array, Stats]:
    """The implants' own stream, pooled `[n, h', w', channels]`, and the moments by which it was normalised.

    `stats` None stands for those of these images.
    """
    act, _ = ACTIVATIONS[options.activation]
    moments: Stats = {}

    def layer(name: str, inputs: jax.Array, stream: jax.Array | None = None) -> jax.Array:
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


def as_matrices(params: Params, width: int) -> Params:
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


def as_kernels(weights: Params) -> Params:
    """The reverse of `as_matrices`."""
    params = {}
    for name, layer in weights.items():
        matrix = jnp.concatenate([layer[key] for key in ("frozen", "own") if key in layer])
        kernel = layers.matrix_kernel(matrix, 1 if name == "shortcut" else 3)
        params[name] = {"kernel": kernel, **{key: layer[key] for key in ("bias", "scale") if key in layer}}
    return params
