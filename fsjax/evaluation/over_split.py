"""A whole split through a function of images, batch by batch."""

from collections.abc import Callable

import jax
import numpy as np

from fsjax import data


def over_examples(
    function: Callable[[jax.Array], tuple[jax.Array, ...]],
    examples: data.Examples,
    info: data.DataInfo,
    *,
    batch_size: int,
) -> tuple[np.ndarray, ...]:
    """What a function says of all images of a split, in their order.

    Args:
      function: normalised images `[batch, h, w, c]` -> arrays `[batch, ...]`; it is compiled.
      examples: the split.
      info: of the data, for the normalisation.
      batch_size: how many images go through at once.

    Returns:
      The arrays `[n, ...]`, without the rows that fill up the last batch.
    """
    compiled, parts = jax.jit(function), []
    for batch in data.eval_batches(examples, batch_size=batch_size, info=info):
        real = batch["weight"] > 0
        parts.append([np.asarray(x)[real] for x in compiled(batch["image"])])
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
