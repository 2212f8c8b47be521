"""Arrays of other libraries' layouts as ours: their axes, their dtype, and values that no network has."""

import numpy as np

from fsjax.errors import UserError


def needed_shape(here: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that PyTorch's layout has for an array of this shape of ours: (out, in, height, width)."""
    return tuple(here[i] for i in (3, 2, 0, 1)) if len(here) == 4 else tuple(here)


def converted(name: str, value: np.ndarray, *, source: str) -> np.ndarray:
    """An array of PyTorch's layout as float32, convolutions as (height, width, in, out).

    Raises:
      UserError: for numbers that are not finite in float32, and running variances below 0.
    """
    with np.errstate(over="ignore"):  # float64 beyond float32's range becomes infinite, and is refused
        value = np.asarray(value).astype(np.float32)
    if not np.isfinite(value).all():
        count = np.sum(~np.isfinite(value))
        raise UserError(f"{source}: {count} of the {value.size} numbers of {name!r} are not finite")
    if name.endswith("running_var") and value.min(initial=0) < 0:
        raise UserError(f"{source}: {name!r} has a variance of {value.min():g}: it is damaged")
    return np.ascontiguousarray(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value)


def sizes(shape: tuple[int, ...]) -> str:
    """A shape in a message."""
    return "x".join(map(str, shape)) or "a single number"
