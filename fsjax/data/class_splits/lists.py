"""Class splits: read from lists or drawn by share, and found among the classes of a data set."""

import dataclasses
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from fsjax.data import random
from fsjax.data.config import ClassSplitConfig
from fsjax.data.errors import DataError
from fsjax.errors import unknown
from fsjax.files import parse_json

# The parts of a split: the keys of the files, and the splits of a run.
PARTS = {"train": "train", "val": "validation", "test": "test"}
_WNID = re.compile(r"(n\d{8})[ _]")
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class ClassLists:
    """The class names of a split.

    Attributes:
      source: where the lists come from.
      train, validation, test: names of the base, validation and novel classes; validation may be empty.
    """

    source: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def load_class_split(
    config: ClassSplitConfig, class_names: Sequence[str], counts: np.ndarray | None = None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The classes of each part of a split, as labels of the data set, in the order of its lists.

    A list may name a class of ImageNet by its wnid where the data set appends words, as in
    "n01443537_goldfish". A class without images counts as one that the data set lacks.

    Args:
      config: `config.data.class_split`, its name not empty.
      class_names: of the data set, by label.
      counts: `[classes]`, images of each class; None where all have some.

    Returns:
      `{"train": labels, "validation": labels, "test": labels}`, int64 arrays, of which validation and (with
      `allow_missing`) test may be empty; and notes for the user.

    Raises:
      UserError: for an unknown split.
      DataError: for lists that overlap or repeat, classes that the data set lacks, and parts of one class.
    """
    there = np.ones(len(class_names), bool) if counts is None else np.asarray(counts) > 0
    if config.name == "share":
        labels, notes = _drawn(config, np.flatnonzero(there))
    else:
        labels, notes = _found(config, class_names, there)
    for part, chosen in labels.items():
        if len(chosen) == 1 or (part == "train" and not len(chosen)):
            raise DataError(
                f"data.class_split.name={config.name!r} gives the {part} part "
                f"{len(chosen) or 'no'} class{'' if len(chosen) else ' at all'}; it needs at least two to tell apart"
            )
    unused = np.setdiff1d(np.flatnonzero(there), np.concatenate(list(labels.values())))
    if len(unused):
        notes.append(f"{len(unused)} classes are in no list and left out: {_some([class_names[i] for i in unused])}")
    return labels, tuple(notes)


def packaged() -> list[str]:
    """Names of the splits that come with the package."""
    files = resources.files("fsjax.data.class_splits").iterdir()
    return sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))


def read_lists(name: str) -> ClassLists:
    """The lists of a packaged split, or of a JSON file.

    Raises:
      UserError: for a name that is neither.
      DataError: for a file that cannot be read, has another shape, or lists that repeat, overlap or are empty.
    """
    if name in packaged():
        text: str | bytes = (resources.files("fsjax.data.class_splits") / f"{name}.json").read_text("utf-8")
        where = name
    else:
        path = Path(name).expanduser()
        if not path.is_file():
            if path.suffix == ".json" or len(path.parts) > 1:
                raise DataError(f"data.class_split.name={name}: there is no such file")
            raise unknown("class split", name, [*packaged(), "share", "FILE.json"])
        text, where = path.read_bytes(), str(path)
    try:
        content = parse_json(text)
    except ValueError as error:  # UnicodeDecodeError is one
        raise DataError(f"class split {where} is no JSON in UTF-8: {error}") from error
    lists = _checked(content, where)
    return ClassLists(
        source=str(content.get("source", where)), **{part: tuple(lists[key]) for key, part in PARTS.items()}
    )


def _checked(content: object, where: str) -> dict[str, list[str]]:
    """The lists by key; raises a `DataError` unless they are lists of names, each name once."""
    shape = '{"source": "...", "train": [class names], "val": [...], "test": [...]}'
    if not isinstance(content, dict) or set(content) - {"source", *PARTS}:
        keys = f"; it has the keys {', '.join(content)}" if isinstance(content, dict) else ""
        raise DataError(f"class split {where} must be {shape}{keys}")
    lists = {key: content.get(key, []) for key in PARTS}
    owner: dict[str, str] = {}
    for key, names in lists.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"class split {where}: {key!r} must be a list of class names, in quotes")
        if not names and key != "val":
            raise DataError(f"class split {where}: {key!r} names no class")
        for name in names:
            if name in owner:
                again = f"twice in {key!r}" if owner[name] == key else f"in {owner[name]!r} and in {key!r}"
                raise DataError(f"class split {where}: class {name!r} is {again}; a class belongs to one part")
            owner[name] = key
    return lists


def _found(
    config: ClassSplitConfig, class_names: Sequence[str], there: np.ndarray
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The labels of the listed classes; those that are not there are an error, or a note."""
    lists = read_lists(config.name)
    known = _by_name(class_names, there)
    labels, missing = {}, {}
    for part in PARTS.values():
        names = getattr(lists, part)
        labels[part] = np.array([known[name] for name in names if name in known], np.int64)
        missing[part] = [name for name in names if name not in known]
    both = np.concatenate(list(labels.values()))
    if len(np.unique(both)) < len(both):
        twice = class_names[int(np.flatnonzero(np.bincount(both) > 1)[0])]
        raise DataError(
            f"class split {config.name}: two of its names mean class {twice!r}; a class belongs to one part"
        )
    notes = [f"class split {config.name}: {lists.source}"]
    lacking = {part: names for part, names in missing.items() if names}
    if lacking:
        words = "; ".join(
            f"{len(names)} of {len(getattr(lists, part))} {part} classes ({_some(names)})"
            for part, names in lacking.items()
        )
        if not config.allow_missing or not len(both):
            raise DataError(
                f"class split {config.name} names classes of which the data hold no image: {words}; the data have "
                f"{int(there.sum())} classes ({_some([n for n, t in zip(class_names, there, strict=True) if t])}). "
                + (
                    "Choose the split of these data, lists of your own, or data.class_split.allow_missing=True to do "
                    "without those classes"
                    if len(both)
                    else "None of its classes is there: choose the split of these data, or lists of your own"
                )
            )
        notes.append(f"the data lack {words} of the split, and it is used without them")
    return labels, notes


def _by_name(class_names: Sequence[str], there: np.ndarray) -> dict[str, int]:
    """Labels of the classes that are there, by name and by the wnid that a name begins with."""
    known: dict[str, int] = {}
    for label in np.flatnonzero(there).tolist():
        match = _WNID.match(class_names[label])
        if match:
            known[match[1]] = label
    # A name in full says more than a wnid in another name.
    return known | {class_names[label]: label for label in np.flatnonzero(there).tolist()}


def _drawn(config: ClassSplitConfig, present: np.ndarray) -> tuple[dict[str, np.ndarray], list[str]]:
    """Parts of the classes by share, drawn with the split's own seed; each in the order of the labels."""
    total = len(present)
    validation, test = (int(share * total + 0.5) for share in (config.validation, config.test))
    if test < 2 or validation == 1 or total - test - validation < 2:
        raise DataError(
            f"data.class_split.validation={config.validation:g} and data.class_split.test={config.test:g} of {total} "
            f"classes are {validation} and {test}, and leave {total - test - validation} for training: the test and "
            "the training part need at least two, the validation part two or none"
        )
    order = random.permutation(random.fold(random.key(config.seed), random.CLASSES), total)
    ends = {"test": (0, test), "validation": (test, test + validation), "train": (test + validation, total)}
    labels = {part: np.sort(present[order[slice(*ends[part])]]) for part in PARTS.values()}
    note = (
        f"class split by share: {total - test - validation} base, {validation} validation and {test} novel classes, "
        f"drawn with data.class_split.seed={config.seed}"
    )
    return labels, [note]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
