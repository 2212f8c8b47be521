"""export.json: read, and checked, as somebody may have edited it.

Internal: no part of the public interface.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .layout import CLASSES, FACTS, FEATURES, FORMAT, LINEAR, LOGITS, WEIGHTS, ExportError


def read_facts(folder: Path) -> dict[str, Any]:
    """The content of export.json, checked as far as reading the rest needs."""
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExportError(f"{folder} holds no {FACTS}: is it the folder of an export?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(f"{path} cannot be read: {error}; export the run again") from error
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != FORMAT:
        raise ExportError(
            f"{folder} has format {found}, and this is a reader of format {FORMAT}: use the package `exported` "
            "that came with it, or export the run again"
        )
    odd = list(_odd(facts, _CHECKS))
    if not odd and LOGITS in facts["files"]:
        odd = list(_odd(facts, {name: {LOGITS: _CHECKS[name][FEATURES]} for name in ("files", "weights")}))
    odd += [] if odd else sorted(set(facts["files"]) - {FEATURES, LOGITS, WEIGHTS, CLASSES})
    odd += [] if odd or len(set(facts["classes"])) == len(facts["classes"]) else ["classes: two of one name"]
    if odd:
        raise ExportError(f"{path} is not as it was written ({', '.join(odd)}): export the run again")
    return facts


def checked_file(folder: Path, name: str, facts: dict[str, Any]) -> bytes:
    """The content of one of the files, if it is what export.json says."""
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise ExportError(f"{folder / name} cannot be read: {error}; copy the whole folder again") from error
    if hashlib.sha256(content).hexdigest() != facts["files"][name]["sha256"]:
        raise ExportError(
            f"{folder / name} is damaged or of another export (its sha256 is not that in {FACTS}): copy the whole "
            "folder again, or export the run again"
        )
    return content


def _odd(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """Names of what is not as wanted, or not there (`...`); wanted is a function, or one for each key."""
    if callable(wanted):
        if not wanted(found):
            yield name
    elif not isinstance(found, dict):
        yield name
    else:
        for key, inner in wanted.items():
            yield from _odd(found.get(key, ...), inner, f"{name}[{key!r}]" if name else key)


def _text(found: Any) -> bool:
    return isinstance(found, str)


def _whole(found: Any) -> bool:
    return isinstance(found, int)


def _finite(found: Any) -> bool:
    return isinstance(found, (int, float)) and math.isfinite(found)


def _positive(found: Any) -> bool:
    return _finite(found) and found > 0


def _list_of(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda found: isinstance(found, list) and all(map(right, found))


# What is read of export.json, and how it must be: somebody may have edited it.
_CHECKS: dict[str, Any] = {
    "run": {"name": _text, "step": _whole},
    "images": {"shape": lambda found: _list_of(_whole)(found) and len(found) == 3},
    "pictures": {
        "image_size": _whole, "share": _positive, "fit": ("crop", "stretch").__contains__,
        "resize": ("bilinear", "bicubic", "lanczos", "box").__contains__,
    },
    "embedding": _whole,
    "rule": {
        "similarity": ("cosine", "squared_euclid", "euclid").__contains__, "support_pool": _text, "query_pool": _text,
        "tau": _finite, "unit_support": lambda found: isinstance(found, bool), "widths": _list_of(_whole),
        "dim": _whole, "head": ("prototypes", "centred", *LINEAR).__contains__,
        "temperature": _positive, "threshold": lambda found: found is None or _finite(found),
    },
    "platforms": _list_of(_text),
    "classes": _list_of(_text),
    "weights": {FEATURES: _list_of(_text)},
    "files": {FEATURES: {"sha256": _text}, WEIGHTS: {"sha256": _text}, CLASSES: {"sha256": _text}},
}  # fmt: skip
