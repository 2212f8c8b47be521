"""The version of fsjax, in one place: the package, its metadata and every run read it here.

Internal, but for `fsjax.__version__`.
"""

__version__ = "0.1.0"
