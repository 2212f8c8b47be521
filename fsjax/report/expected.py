"""Of which types the entries of a run's files must be that the page reads; others are named and left out."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeGuard


class _Kind(NamedTuple):
    words: str
    fits: Callable[[Any], bool]


def is_number(found: Any) -> TypeGuard[float]:
    """Whether this is a finite number."""
    return isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)


def _is_whole(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool)


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda found: isinstance(found, list) and all(map(fits, found))


def _is_text(found: Any) -> bool:
    return isinstance(found, str)


def _are_shares(found: Any) -> bool:
    return isinstance(found, dict) and all(x is None or isinstance(x, int | float) for x in found.values())


_TEXT, _TEXTS = _Kind("a text", _is_text), _Kind("a list of texts", _list_of(_is_text))
_WHOLES = _Kind("a list of whole numbers", _list_of(_is_whole))
_SHARE = _Kind("a number from 0 to 1", lambda found: is_number(found) and 0 <= found <= 1)
_COUNT = _Kind("a number of images", lambda found: is_number(found) and found >= 0 and found == round(found))
_FIGURE = {"classes": _TEXT, "head": _TEXT, "per_class": _Kind("an object of numbers", _are_shares)}
# By file; a list is one of things that are all alike. What is not named is read with care wherever it is.
_FILES: dict[str, Any] = {
    "data.json": {
        "class_names": _TEXTS,
        "validation_classes": _TEXTS,
        "test_classes": _TEXTS,
        "counts": {},
        "image_shape": _WHOLES,
    },
    "result.json": {
        "test": {"accuracy": _SHARE, "num_examples": _COUNT, "figures": [_FIGURE]},
        "training": {},
        "machine": {},
        "selected": {},
    },
}


def checked(file: str, content: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """A file's content without entries of the wrong type, for which `problems` gets a word each.

    Null is as good as no entry.

    Args:
      file: its name.
      content: the object that it holds.
      problems: to be added to.
    """
    found: dict[str, Any] = _sound(content, _FILES.get(file, {}), file, problems)
    return found


def _sound(found: Any, wanted: Any, where: str, problems: list[str]) -> Any:
    """What is of the wanted type of an entry; None where nothing is."""
    if found is None:
        return None
    if isinstance(wanted, dict) and isinstance(found, dict):
        parts = {
            key: _sound(part, wanted[key], f"{where}: {key}" if where in _FILES else f"{where}.{key}", problems)
            if key in wanted
            else part
            for key, part in found.items()
        }
        return {key: part for key, part in parts.items() if part is not None or key not in wanted}
    if isinstance(wanted, list) and isinstance(found, list):
        items = [_sound(item, wanted[0], f"{where}[{number}]", problems) for number, item in enumerate(found)]
        return [item for item in items if item is not None]
    if isinstance(wanted, _Kind) and wanted.fits(found):
        return found
    words = "an object" if isinstance(wanted, dict) else "a list" if isinstance(wanted, list) else wanted.words
    shown = repr(found) if len(repr(found)) < 40 else f"{repr(found)[:36]} …"
    problems.append(f"{where} is {shown}, not {words}: left out")
    return None
