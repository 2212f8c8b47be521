"""The files below a folder: one walk for all that read folders of pictures, which leaves nothing out in silence."""

import contextlib
import dataclasses
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from fsjax.data.errors import DataError
from fsjax.data.sources.layout import is_passed_over

SUFFIXES = frozenset(
    ".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split()
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Below:
    """What is below a folder, without what is passed over.

    Attributes:
      images: the image files by suffix, in order.
      others: how many files are none, or no files at all: links to nothing, pipes.
      closed: folders that cannot be opened, maybe the folder itself, and why.
    """

    images: list[Path]
    others: int
    closed: dict[str, str]


def below(folder: Path, seen: dict[str, str] | None = None) -> Below:
    """What is below a folder; links to folders are followed, and each real folder is read once.

    Args:
      folder: where to begin.
      seen: see `walk`.
    """
    closed: dict[str, str] = {}
    paths = [os.path.join(path, name) for path, _, names in walk(folder, closed, seen) for name in names]
    images = sorted(Path(path) for path in paths if is_image(path))
    return Below(images, len(paths) - len(images), closed)


def walk(
    folder: Path, closed: dict[str, str], seen: dict[str, str] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, in order, through links but into no real folder twice, without what is passed over.

    Args:
      folder: where to begin.
      closed: what cannot be opened is put here, and why.
      seen: real folders that were read before, from other folders than this one, and the paths that led there; those of
        this one are added.

    Raises:
      DataError: for a folder that is below one of those others too: its pictures would be of two classes, or parts.
    """
    seen = {} if seen is None else seen

    def failed(error: OSError) -> None:
        closed[str(error.filename)] = reason(error)

    def is_new(path: str, around: frozenset[str]) -> bool:
        real = os.path.realpath(path)
        if real in around:
            return False  # a circle
        before = seen.setdefault(real, path)
        if before != path and not Path(before).is_relative_to(folder):
            raise DataError(
                f"{before} and {path} are one folder, by a link: its pictures would be read twice; leave one"
            )
        return before == path

    # Of a folder that is yet to come, the real ones that it lies in, by the way there and in truth.
    above: dict[str, frozenset[str]] = {}
    is_new(str(folder), frozenset())
    for path, inside, names in os.walk(folder, onerror=failed, followlinks=True):
        real = os.path.realpath(path)
        around = above.pop(path, frozenset()).union((real, *map(str, Path(real).parents)))
        kept = sorted(name for name in inside if not is_passed_over(name))
        inside[:] = [name for name in kept if is_new(os.path.join(path, name), around)]
        above |= {os.path.join(path, name): around for name in inside}
        yield path, inside, sorted(name for name in names if not is_passed_over(name))


def is_image(path: str) -> bool:
    """Whether it is an image by its suffix, and a file: or hidden from us, so that reading it says why."""
    if os.path.splitext(path)[1].lower() not in SUFFIXES:
        return False
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except PermissionError:
        return True
    except OSError:
        return False


@contextlib.contextmanager
def looking_into(folder: str | Path) -> Iterator[None]:
    """Have what the system says against looking into a folder raised as a `DataError`."""
    try:
        yield
    except OSError as error:
        raise not_opened({str(folder): reason(error)}) from error


def not_opened(closed: dict[str, str]) -> DataError:
    """An error for folders that cannot be opened, at least one."""
    (folder, why), *others = closed.items()
    more = f", and {len(others)} more like it" if others else ""
    return DataError(f"{folder} cannot be opened: {why}{more}; allow it to be read, or leave it out")


def reason(error: OSError) -> str:
    """What the system says, in words."""
    return error.strerror or str(error)
