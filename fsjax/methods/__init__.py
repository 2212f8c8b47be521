"""Methods: a paper = model + objective + prediction rule; one file each, one line here to add it."""

from fsjax.errors import unknown
from fsjax.methods import (
    aflm,
    classification,
    dense,
    dense_implants,
    imprinted,
    localization,
    meta_baseline,
    prototypical,
)
from fsjax.methods.base import check_sections

METHODS = {
    "classification": classification.build,
    "dense": dense.build,
    "implants": dense_implants.build,
    "imprinted": imprinted.build,
    "prototypical": prototypical.build,
    "meta_baseline": meta_baseline.build,
    "aflm": aflm.build,
    "localization": localization.build,
}


def build_method(config, info, *, axis_name=None):
    """The method that `config.method.name` names, for data described by `info` (see `METHODS[...]`)."""
    name = config.method.name
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    check_sections("config.method", config.method, ("name", *METHODS))
    return METHODS[name](config, info, axis_name=axis_name)
