"""Data sets decoded once: found by what decides on their images, decoded anew when their source has changed.

A folder `NAME-KEY` per data set (see `decoded`) holds all parts of the source, before a config chooses from
them: class splits, validation parts, limits and long tails of one data set share it. It is made at once or not at all,
by one process while others wait. Where the source is not there, on this machine, the folder is enough.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsjax.cache_folder import cache_folder
from fsjax.data.config import NO_CACHE, DataConfig
from fsjax.data.errors import DataError
from fsjax.data.examples import ARRAYS_BYTES, find_reference
from fsjax.data.sources import SOURCES, Source, absolute, load_source
from fsjax.data.sources.layout import is_passed_over
from fsjax.data.store import decoded
from fsjax.data.view import View
from fsjax.files import locked

logger = logging.getLogger("fsjax")

# What decides on the parts and the pictures of a source, besides what `facts` says.
_FIELDS = (
    "name", "image_key", "label_key", "box_key", "train_split", "test_split", "channels", "on_error",
)  # fmt: skip
# What an image takes to decode, roughly, on one core: for itself, and for each of its pixels.
_SECONDS_EACH, _SECONDS_A_PIXEL = 1e-4, 1e-8
_TFDS_INFO = "dataset_info.json"
_TFDS_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class _UnwritableError(DataError):
    """Decoded images cannot be kept where they are to be."""


def load(config: DataConfig, view: View, *, keep: bool = True) -> Source:
    """The source of a config, from its decoded images where the config keeps such.

    They are not for `data.memory="stream"` nor for random resized crops, which are of whole pictures. Where the config
    names no folder, decoded images that are there are read, and some are made where that pays: not for a part of a
    data set (`data.limit.train`), nor for noise (`data.name="fake"`), nor where the user's folder cannot be written;
    and with backend "host" for what takes over a second to decode and is to lie in memory.

    Args:
      config: of the data.
      view: how its pictures come to the network's size.
      keep: whether images that are not decoded yet may be kept so.

    Raises:
      DataError: as `load_source`; for images that cannot be read, anywhere in the source; for a folder of the config's
        that cannot be written; and for a damaged one whose source is out of reach.
    """
    place = place_of(config)
    if place is None or config.memory == "stream" or config.augment.crop == "random_resized":
        return load_source(config)
    entry = place / _name(config, view)
    source, why = _opened(entry, config)
    again = ""
    if source is None:
        if not keep or not (config.cache or _pays(config)):
            return _source(entry, config, why)
        undecoded = None if _is_asked(config) else _source(entry, config, why)
        if undecoded is not None and not _takes_long(undecoded, config):
            return undecoded
        try:
            source, again = _made(entry, config, view)
        except _UnwritableError as error:
            if config.cache:
                raise
            logger.warning("%s", error)
            return undecoded or _source(entry, config, why)
        except DataError:
            if undecoded is None:
                raise
            return undecoded  # the image that cannot be read may be none of the run's
    again = f" (decoded again: {again})" if again else ""
    return dataclasses.replace(source, notes=(*source.notes, f"decoded images of {entry}{again}"))


def _is_asked(config: DataConfig) -> bool:
    """Whether the config asks for decoded images: it names their folder, or cannot do without them."""
    return bool(config.cache) or config.backend == "device"


def _pays(config: DataConfig) -> bool:
    """Whether to decode all of the source, and to keep that, gains anything for a config that names no folder."""
    # What a plug-in makes of the files may change without them.
    return config.name != "fake" and config.name not in SOURCES.plugged() and not config.limit.train


def _takes_long(source: Source, config: DataConfig) -> bool:
    """Whether all of a source takes over a second to decode, and is small enough to lie in memory."""
    count = sum(len(part) for part in (source.train, source.validation, source.test) if part is not None)
    try:
        shape = find_reference(source.train, config.image_size).shape
        height, width, _ = find_reference(source.train, 0).shape  # of a picture
    except DataError:  # of a source without one, which is said where they are read
        return False
    seconds = count * (_SECONDS_EACH + _SECONDS_A_PIXEL * height * width)
    return seconds > 1 and count * math.prod(shape) <= ARRAYS_BYTES


def _made(entry: Path, config: DataConfig, view: View) -> tuple[Source, str]:
    """The source, decoded now or meanwhile by another process, and why it was decoded again ("": it was not)."""
    with contextlib.ExitStack() as stack:
        alone = _lock(entry, stack)
        source, why = _opened(entry, config)
        if source is None:
            _make(entry, config, view, why, alone)
            source, _ = _opened(entry, config)
    if source is None:
        raise DataError(f"{entry} changed while it was read: run again when its source, or the cache, is at rest")
    return source, why


def place_of(config: DataConfig) -> Path | None:
    """The folder of all decoded data sets that a config uses; None for none (FSJAX_CACHE=off is none by default)."""
    if config.cache == NO_CACHE:
        return None
    if config.cache:
        return Path(config.cache).expanduser().absolute()
    own = cache_folder()
    return None if own is None else own / "data"


def for_evaluation(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that take the place of a run's where its data are read again, maybe on another machine; with `keep=False`.

    Its decoded images are read where they are, or else in the user's own folder. The images of a run of backend
    "device" are arrays again, and need no TensorFlow.

    Args:
      config: `config.data` of the run.
    """
    on_device, place = config.get("backend", "host") == "device", config.get("cache", "")
    if place == NO_CACHE:
        found = NO_CACHE
    elif place and os.access(Path(place).expanduser(), os.R_OK | os.X_OK):
        found = place
    else:
        own = cache_folder()
        found = NO_CACHE if own is None else str(own / "data")
    return {"backend": "host", "cache": found} | ({"memory": "arrays"} if on_device else {})


def facts(config: DataConfig, view: View) -> dict[str, Any]:
    """What decides on the decoded images of a config, but for the content of its source; plain types."""
    found = {name: getattr(config, name) for name in _FIELDS}
    # Files of our own sources are known by where they are; those of TFDS by name and version, wherever they are.
    path = absolute(config.path) if config.name in SOURCES else ""
    found |= {"path": path, "view": dataclasses.asdict(view)}
    if provider := SOURCES.plugged().get(config.name):  # its next version may read the same files otherwise
        found["plugin"] = provider
    # A class split puts parts together, or reads others.
    found["class_split"] = bool(config.class_split.name)
    for section in ("fake", "planted", "drawings"):
        if config.name == section:
            found[section] = dataclasses.asdict(getattr(config, section))
    return {"format": decoded.FORMAT} | found


def _name(config: DataConfig, view: View) -> str:
    key = hashlib.sha256(json.dumps(facts(config, view), sort_keys=True).encode()).hexdigest()[:16]
    return f"{re.sub('[^A-Za-z0-9_.-]+', '_', config.name)}-{key}"


def _opened(entry: Path, config: DataConfig) -> tuple[Source | None, str]:
    """The decoded source, or None and why it must be decoded again ("" where there is none)."""
    try:
        stored = decoded.manifest(entry)
        here = _fingerprint(config, stored["source"]["version"])
        if here is not None and here != stored["fingerprint"]:
            return None, "its source has changed"
        return decoded.read(entry), ""
    except FileNotFoundError:
        return None, ""
    except decoded.DamagedError as error:
        return None, str(error)


def _make(entry: Path, config: DataConfig, view: View, why: str, alone: bool) -> None:
    """Decode the source into the folder; what was there before goes when all is written."""
    for left in entry.parent.glob(f".{entry.name}.*.partial") if alone else ():
        # Of a process that was killed: a living one would hold the lock.
        shutil.rmtree(left, ignore_errors=True)
    before = _fingerprint(config, "") if config.name in SOURCES else None
    source = _source(entry, config, why)
    kept = {"facts": facts(config, view), "fingerprint": before or _fingerprint(config, source.version)}
    new, old = (entry.with_name(f".{entry.name}.{uuid.uuid4().hex}.partial") for _ in range(2))
    try:
        decoded.write(new, source, view, skip=config.on_error == "skip", facts=kept)
        with contextlib.suppress(FileNotFoundError):
            entry.rename(old)
        new.rename(entry)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)  # before the room that is left is looked at
        raise _cannot_write(entry, error) from error
    finally:
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)


def _source(entry: Path, config: DataConfig, why: str) -> Source:
    """The source itself; where it is out of reach, the error says that its decoded images would do."""
    if not (why or _is_asked(config)):
        return load_source(config)
    try:
        return load_source(config)
    except ImportError as error:
        missing = f"data.name={config.name!r} needs the module {error.name!r}, which is not here"
        way_out = f"install it, or bring {entry} from a machine where this config has been run"
        raise DataError(f"{why}; {missing}: {way_out}" if why else f"{missing}: {way_out}") from error
    except DataError as error:
        if why:
            raise DataError(
                f"{why}, and it cannot be decoded again: {error}. Bring {entry} again from where it is whole, or its "
                "source"
            ) from error
        raise DataError(f"{error} (nor is it decoded already, in {entry})") from error


def _fingerprint(config: DataConfig, version: str) -> str | None:
    """What tells one state of the source from another, by a look at files alone; None where it is not here.

    Of our own sources the names, sizes, inodes and times of all files; of a TFDS data set its description, which
    counts the bytes of its files.
    """
    if config.name in SOURCES:
        return _files(Path(absolute(config.path))) if config.path else ""
    path = Path(config.path or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    info = path / _TFDS_INFO
    if not info.is_file():
        if not any((path / re.split("[/:]", config.name)[0]).glob(f"**/{_TFDS_INFO}")):
            return None
        info = path / version / _TFDS_INFO
    if not info.is_file():
        return "another version"
    chosen = info.parent == path or (":" in config.name and "*" not in config.name)
    newer = [] if chosen else _newer(info.parent)
    return " ".join([hashlib.sha256(info.read_bytes()).hexdigest(), *newer])


def _newer(folder: Path) -> list[str]:
    """Versions of a TFDS data set beside this one that are newer: TFDS may read one of them in its place."""

    def number(name: str) -> tuple[int, ...]:
        found = _TFDS_VERSION.fullmatch(name)
        return tuple(map(int, found.groups())) if found else ()

    others = (info.parent.name for info in folder.parent.glob(f"*/{_TFDS_INFO}"))
    return sorted((name for name in others if number(name) > number(folder.name)), key=number)


def _files(root: Path) -> str | None:
    if not root.is_dir():
        return None
    found, seen = [], set()
    for folder, inside, names in os.walk(root, followlinks=True):
        inside[:] = [name for name in inside if not is_passed_over(name)]
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:  # links may lead in a circle
            inside.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        for name in names:
            path = os.path.join(folder, name)
            if not is_passed_over(name) and os.path.isfile(path):
                stat = os.stat(path)
                # Size and time of change can be kept by what changes a file; the inode and its own time cannot.
                times = stat.st_mtime_ns, stat.st_ctime_ns
                found.append((os.path.relpath(path, root), stat.st_size, stat.st_ino, *times))
    return hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()


def _lock(entry: Path, stack: contextlib.ExitStack) -> bool:
    """Hold others back who would decode the same, until `stack` is left.

    Returns:
      Whether this process is alone at it: some file systems have no locks, and each process then decodes for itself.
    """
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        alone = stack.enter_context(locked(entry.with_name(f".{entry.name}.lock"), wait=True))
    except OSError as error:
        raise _cannot_write(entry, error) from error
    return alone


def _cannot_write(entry: Path, error: OSError) -> _UnwritableError:
    parent = next(path for path in entry.parents if os.path.exists(path))
    free = shutil.disk_usage(parent).free
    return _UnwritableError(
        f"decoded images cannot be kept in {entry.parent}: {error.strerror or error} ({free / 2**20:,.0f} MiB free on "
        f'its disk): make room, or set data.cache to another folder, or to "{NO_CACHE}"'
    )
