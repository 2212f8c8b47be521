"""Networks by name: `build_model("vgg13", options={"widths": (24, 48, 96)})`.

A network is an `Encoder`: images in, an `Encoded` with the embedding and the feature maps by stage out. To
add one, write a function of keyword-only options that returns an `Encoder`, and add its line to `MODELS`.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from fsjax.models import convnet, resnet, resnet_cifar, vgg
from fsjax.models.encoder import Encoded, Encoder
from fsjax.models.pooling import POOLS

__all__ = ["DTYPES", "MODELS", "Encoded", "Encoder", "build_model"]

MODELS: dict[str, Callable[..., Encoder]] = {
    "cnn": convnet.cnn,
    "mnist_2d": convnet.mnist_2d,
    "mnist_100d": convnet.mnist_100d,
    "vgg13": vgg.vgg13,
    "resnet18_cifar": resnet_cifar.resnet18_cifar,
    "resnet32": resnet_cifar.resnet32,
    "resnet32_bbn": resnet_cifar.resnet32_bbn,
    "resnet50": resnet.resnet50,
    "resnet101": resnet.resnet101,
}

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def build_model(
    name: str,
    *,
    dtype: str = "float32",
    axis_name: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Encoder:
    """Builds the network of this name.

    Args:
      name: a key of `MODELS`.
      dtype: "float32" or "bfloat16", the compute dtype; parameters, statistics and embeddings are float32.
      axis_name: the device axis over which batch statistics are synchronised (None: each device has its own).
      options: the network's own options; what is left out keeps its default.

    Raises:
      ValueError: for an unknown name, option, dtype or pooling; the message lists the known ones.
    """
    _check_known("model", name, MODELS)
    _check_known("model dtype", dtype, DTYPES)
    options = dict(options or {})
    known = [key for key in inspect.signature(MODELS[name]).parameters if key not in ("dtype", "axis_name")]
    for option in options:
        _check_known(f"option of model {name!r}", option, known)
    if "pool" in options:
        _check_known("pool", options["pool"], POOLS)
    return MODELS[name](**options, dtype=DTYPES[dtype], axis_name=axis_name)


def _check_known(kind: str, name: str, known: Mapping[str, Any] | list[str]) -> None:
    if name not in list(known):
        close = difflib.get_close_matches(str(name), list(known), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(known)}")
