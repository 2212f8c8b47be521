"""The error of everything that can be wrong with data or with what a config asks of them."""

from fsjax.errors import UserError


class DataError(UserError):
    """Bad or missing data, named in the message together with the way out."""
