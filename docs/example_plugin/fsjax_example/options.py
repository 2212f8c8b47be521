"""What fsjax reads of this package first: names, options, and where the code is. It does not import jax.

The tables below are for `--plugin fsjax_example.options`, where the package is not installed.
"""

import dataclasses

from fsjax.options import Choice, NoOptions, option


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class Poly1Options:
    """Of PolyLoss (Leng et al. 2022)."""

    epsilon: float = option(2.0, "weight of the first polynomial term", at_least=-1, at_most=100)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PatchesOptions:
    """Of an image cut into squares."""

    size: int = option(4, "side of the squares in pixels", at_least=1, at_most=1_000)
    width: int = option(32, "features of each", at_least=1, at_most=100_000)
    pool: str = option("gap", "how they become a vector", choices=("gap", "gmp"))


POLY1 = Choice(Poly1Options, "fsjax_example.losses:Poly1Loss")
PATCHES = Choice(PatchesOptions, "fsjax_example.models:patches")
NEAREST = Choice(NoOptions, "fsjax_example.methods:build")
STRIPES = Choice(NoOptions, "fsjax_example.sources:load")
MEDIAN = Choice(NoOptions, "fsjax_example.metrics:median_class_accuracy")

LOSSES, MODELS, METHODS = {"poly1": POLY1}, {"patches": PATCHES}, {"nearest": NEAREST}
SOURCES, METRICS = {"stripes": STRIPES}, {"median_class_accuracy": MEDIAN}
