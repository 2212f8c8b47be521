"""The version of fsjax, in one place: the package, its metadata and every run read it here."""

__version__ = "0.1.0"
