"""Networks by name: `build_model("vgg13", options={"widths": (24, 48, 96)})`.

A network is an `Encoder`: images in, an `Encoded` with the embedding and the feature maps by stage out. To add one,
write a function of its options that returns an `Encoder`, and declare these and their line in `fsjax.options.models`.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from fsjax.errors import unknown
from fsjax.models.encoder import Encoded, Encoder
from fsjax.options import read
from fsjax.options.models import MODELS, ModelOptions

__all__ = ["DTYPES", "MODELS", "Encoded", "Encoder", "build_model"]

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def build_model(
    name: str,
    *,
    dtype: str = ModelOptions.dtype,
    axis_name: str | None = None,
    remat: bool = ModelOptions.remat,
    options: Mapping[str, Any] | None = None,
) -> Encoder:
    """Builds the network of this name.

    Args:
      name: a key of `MODELS`.
      dtype: "float32" or "bfloat16", the compute dtype; parameters, statistics and embeddings are float32.
      axis_name: the device axis over which batch statistics are synchronised (None: each device has its own).
      remat: whether the gradient computes each block again instead of keeping it, see `Staged`.
      options: the network's own options; what is left out keeps its default.

    Raises:
      UserError: for an unknown name, dtype or option, or a value that is not valid; the message lists the known ones.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    if dtype not in DTYPES:
        raise unknown("model dtype", dtype, DTYPES)
    chosen: Any = read(MODELS[name].options, options or {}, f"model.{name}")
    encoder = MODELS[name].load()(chosen, dtype=DTYPES[dtype], axis_name=axis_name)
    return encoder.clone(backbone=encoder.backbone.clone(remat=True)) if remat else encoder
