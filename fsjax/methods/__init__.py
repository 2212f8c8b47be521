"""Methods: a paper = model + objective + prediction rule; one file each, one line here to add it."""

from fsjax.errors import unknown
from fsjax.methods import classification

METHODS = {"classification": classification.build}


def build_method(config, info, *, axis_name=None):
    """The method that `config.method` names, for data described by `info` (see `METHODS[...]`)."""
    if config.method not in METHODS:
        raise unknown("method", config.method, METHODS)
    return METHODS[config.method](config, info, axis_name=axis_name)
