"""Networks by name: `build_model("vgg13", options={"widths": (24, 48, 96)})`.

A network is an `Encoder`: images in, an `Encoded` with the embedding and the feature maps by stage out. To
add one, write a function of keyword-only options that returns an `Encoder`, and add its line to `MODELS`.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from fsjax.errors import UserError, unknown
from fsjax.models import convnet, efficientnet, resnet, resnet12, resnet_cifar, vgg, wide_resnet
from fsjax.models.encoder import Encoded, Encoder
from fsjax.models.pooling import POOLS

__all__ = ["DTYPES", "MODELS", "Encoded", "Encoder", "build_model"]

MODELS: dict[str, Callable[..., Encoder]] = {
    "cnn": convnet.cnn,
    "mnist_2d": convnet.mnist_2d,
    "mnist_100d": convnet.mnist_100d,
    "c64f": convnet.c64f,
    "c128f": convnet.c128f,
    "vgg13": vgg.vgg13,
    "resnet12": resnet12.resnet12,
    "resnet18_cifar": resnet_cifar.resnet18_cifar,
    "resnet32": resnet_cifar.resnet32,
    "resnet32_bbn": resnet_cifar.resnet32_bbn,
    "wrn28_10": wide_resnet.wrn28_10,
    "resnet18": resnet.resnet18,
    "resnet50": resnet.resnet50,
    "resnet101": resnet.resnet101,
    "efficientnet_lite0": efficientnet.efficientnet_lite0,
}

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}

_BY_STAGE = ("stages", "widths", "convs", "blocks")  # options with a value for each stage
_SHARES = ("momentum",)  # options from 0 to 1


def build_model(
    name: str,
    *,
    dtype: str = "float32",
    axis_name: str | None = None,
    remat: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Encoder:
    """Builds the network of this name.

    Args:
      name: a key of `MODELS`.
      dtype: "float32" or "bfloat16", the compute dtype; parameters, statistics and embeddings are float32.
      axis_name: the device axis over which batch statistics are synchronised (None: each device has its own).
      remat: whether the gradient computes each block again in the place of keeping it, see `Staged`.
      options: the network's own options; what is left out keeps its default.

    Raises:
      UserError: for an unknown name, option, dtype or pooling; the message lists the known ones.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    if dtype not in DTYPES:
        raise unknown("model dtype", dtype, DTYPES)
    options = dict(options or {})
    known = [key for key in inspect.signature(MODELS[name]).parameters if key not in ("dtype", "axis_name")]
    for option in options:
        if option not in known:
            raise unknown(f"option of model {name!r}", option, known)
    if "pool" in options and options["pool"] not in POOLS:
        raise unknown("pool", options["pool"], POOLS)
    for option, value in options.items():
        if option in _SHARES:
            _check_share(f"option {option}={value!r} of model {name!r}", value)
            continue
        _check_sizes(f"option {option}={value!r} of model {name!r}", value)
        if option in _BY_STAGE and value in ((), []):
            raise UserError(f"option {option}={value!r} of model {name!r}: a network needs at least one stage")
    try:
        encoder = MODELS[name](**options, dtype=DTYPES[dtype], axis_name=axis_name)
    except TypeError as error:  # a number where a tuple belongs, or the reverse
        raise UserError(f"the options {options} do not fit model {name!r}: {error}") from error
    return encoder.clone(backbone=encoder.backbone.clone(remat=True)) if remat else encoder


def _check_share(what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UserError(f"{what}: it must be a number from 0 to 1")


def _check_sizes(what: str, value: Any) -> None:
    """Widths, depths and dimensions are whole numbers of at least 1, alone or in nested tuples."""
    if isinstance(value, list | tuple):
        for part in value:
            _check_sizes(what, part)
    elif not (value is None or isinstance(value, bool | str)) and not (isinstance(value, int) and value >= 1):
        raise UserError(f"{what}: sizes must be whole numbers of at least 1")
