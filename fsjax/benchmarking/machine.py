"""What a figure was measured on: the device, its matrix products at their fastest, its memory, versions, the date."""

import datetime
import functools
from typing import Any

import flax
import jax
import jax.numpy as jnp

from fsjax.benchmarking.timing import timed
from fsjax.version import __version__

# Side of the square matrices, and how many products follow each other before they are waited for.
_PRODUCTS = {"cpu": (2048, 1)}
_PRODUCTS_ELSEWHERE = (8192, 20)


@functools.cache
def matmul_peak(dtype: str) -> float:
    """Operations per second of one device in a large square matrix product of this dtype, the best of seven."""
    side, count = _PRODUCTS.get(jax.default_backend(), _PRODUCTS_ELSEWHERE)
    x = jax.random.normal(jax.random.key(0), (side, side)).astype(dtype)
    multiply = jax.jit(jnp.matmul)

    def run() -> list[jax.Array]:
        return [multiply(x, x) for _ in range(count)]

    timed(run)  # compiles
    return 2.0 * side**3 * count / min(timed(run) for _ in range(7))


def share_of_peak(flops: float, seconds: float, *, dtype: str, devices: int) -> dict[str, float]:
    """So many operations in so many seconds, as a share of what the devices' matrix products reach in this dtype."""
    peak = matmul_peak(dtype)
    return {"share_of_peak": flops / seconds / (peak * devices), "matmul_peak": peak}


def peak_bytes() -> dict[str, int]:
    """The most memory that this process has had on a device so far, where the device counts it."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return {"peak_bytes": stats["peak_bytes_in_use"]} if "peak_bytes_in_use" in stats else {}


def facts() -> dict[str, Any]:
    """Device, versions and date."""
    return {
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "jax": jax.__version__,
        "flax": flax.__version__,
        "fsjax": __version__,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
