"""Packages that are hidden from a script of the tests, as if they were not installed."""

import sys


def hide(names):
    """Hide packages, by the first part of their names; call it before anything imports them."""
    sys.meta_path[:] = [Bare(list(sys.meta_path), frozenset(names))]


class Bare:
    """The finders of modules, blind to the absent."""

    def __init__(self, finders, absent):
        self._finders, self._absent = finders, absent

    def find_spec(self, name, path=None, target=None):
        """The specification that the first of the finders has."""
        if name.partition(".")[0] in self._absent:
            return None
        return next((spec for f in self._finders if (spec := f.find_spec(name, path, target))), None)

    def find_distributions(self, *args):
        """What importlib.metadata asks for the versions of packages."""
        return (x for f in self._finders if hasattr(f, "find_distributions") for x in f.find_distributions(*args))
