"""The exported functions: read, and what to say where this jax cannot.

Internal: no part of the public interface.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jaxlib
from jax import export as jax_export

from .layout import ExportError


def platform_here() -> str:
    """What jax computes on, as jax.export calls it."""
    platform = jax.default_backend()
    if platform != "gpu":
        return platform
    return "rocm" if "rocm" in jax.devices()[0].client.platform_version.lower() else "cuda"


@contextlib.contextmanager
def of_this_jax(facts: Mapping[str, Any]) -> Iterator[None]:
    """Says of an error in reading or compiling a whole file that versions differ, if they do."""
    try:
        yield
    except Exception as error:
        # jax and its compiler raise almost anything for a program of another time.
        if facts.get("jaxlib") == jaxlib.__version__ and facts.get("jax") == jax.__version__:
            raise
        raise ExportError(
            f"this export was made with jax {facts.get('jax')} (jaxlib {facts.get('jaxlib')}), and jax "
            f"{jax.__version__} (jaxlib {jaxlib.__version__}) cannot read it: {str(error)[:300]}\njax reads "
            f"exports of up to six months before its release, and of up to three weeks after it: pip install "
            f"jax=={facts.get('jax')}, or export the run again"
        ) from error


def deserialized(content: bytes, facts: Mapping[str, Any]) -> Any:
    """A function that jax.export wrote.

    Raises:
      ExportError: where this jax cannot read it, or flatbuffers, with which it reads, is missing.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ExportError(
            "jax reads exports with the package flatbuffers, which is not installed: pip install flatbuffers"
        )
    with of_this_jax(facts):
        return jax_export.deserialize(bytearray(content))
