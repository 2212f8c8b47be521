"""The error of everything that a user can set right: its message names the thing, the value and the way out.

Internal, but for `fsjax.UserError`.
"""

import contextlib
import difflib
import os
import re
import traceback
from collections.abc import Iterable, Iterator


class UserError(ValueError):
    """Bad input or an unusable environment; a command prints it without a traceback and exits with 2."""


def one_line(text: str) -> str:
    """A name, of a file say, as text that can be printed: what cannot be is escaped."""
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return escaped.encode("utf-8", "backslashreplace").decode()


def counted(count: int, thing: str, things: str = "") -> str:
    """ "1 image", "2,000 images"."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def unknown(what: str, value: object, known: Iterable[str]) -> UserError:
    """An error for a name that is in no table: it lists the valid names and guesses the one meant.

    Args:
      what: the kind of thing, such as "loss".
      value: the name as it was given.
      known: the valid names.

    Returns:
      The error, to be raised by the caller.
    """
    known = sorted(known)
    close = difflib.get_close_matches(str(value), known, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return UserError(f"unknown {what} {value!r}; known: {', '.join(known)}.{guess}")


@contextlib.contextmanager
def platform_errors() -> Iterator[None]:
    """Turn what JAX raises where it finds no device of the kind that it is told to use into a `UserError`."""
    try:
        yield
    except (RuntimeError, AssertionError) as error:
        text = str(error).strip()
        # Of a known platform without a device JAX only asserts that there was one.
        where = traceback.extract_tb(error.__traceback__)[-1].filename
        asserted = isinstance(error, AssertionError) and os.path.basename(where) == "xla_bridge.py"
        if not (asserted or re.match(r"Unable to initialize backend|Unknown backend", text)):
            raise
        reason = one_line(text.splitlines()[0][:160]) if text else "there is no such device, or no jax for it"
        raise UserError(
            f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')!r} names what JAX does not find here ({reason}): "
            "set it to cpu, install jax for that device, or leave it unset"
        ) from error
