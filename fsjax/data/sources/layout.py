"""How a folder of pictures is laid out: which folders in it are classes, which are parts of a data set, and whose the
others are. One answer for all that read folders.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from fsjax.data.errors import DataError

# Names of folders that are parts of a data set, in lower case, and which part.
PARTS = {
    "train": "train", "training": "train", "trn": "train", "test": "test", "testing": "test", "tst": "test",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
}  # fmt: skip
# Folders that file servers and systems make beside one's own, in lower case: thumbnails, what was deleted, snapshots.
_SYSTEMS = frozenset({
    "@eadir", "#recycle", "@recycle", "@recently-snapshot", "#snapshot", "$recycle.bin", "system volume information",
    "__macosx", "lost+found",
})  # fmt: skip
LAYOUT = "a folder a class, PATH/CLASS/..., or PATH/train/CLASS/... with PATH/test/CLASS/..."


class LayoutError(DataError):
    """A folder of which it cannot be told what its folders are."""


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is nobody's picture: hidden, or made by a system."""
    return name.startswith(".") or name.lower() in _SYSTEMS


def folders_in(root: Path) -> list[str]:
    """The names of the folders in a folder, in alphabetical order, without those passed over."""
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not is_passed_over(entry.name))


def parts_in(root: Path, train: str, test: str) -> dict[str, Path]:
    """The folders of a folder that are parts of a data set, by what they are for.

    Args:
      root: the folder.
      train, test: the names of the parts as the user has set them; "" for no test part. Where there is none of that
        name, other usual ones are known ("training", "Train").

    Returns:
      "train" and, if they are there, "test" and "validation"; where there is a validation part alone, it is the test
      part. Empty where the folders are classes.

    Raises:
      LayoutError: where two folders are the same part, or none is for training, or parts hold no class folders.
      OSError: if a folder cannot be opened.
    """
    names = folders_in(root)
    known = [name for name in names if name in (train, test) or name.lower() in PARTS]
    if not known:
        return {}
    flat = [name for name in known if not folders_in(root / name)]
    if train not in names or train in flat:
        if len(known) < len(names) and (flat or not _of_kind("train", names)):
            return {}  # one class among others is called so
        if flat:
            raise LayoutError(
                f"{root}: {_listed(flat)} hold no class folders, and are named as parts of a data set rather than "
                f"classes; fsjax reads {LAYOUT}: rename them if they are classes"
            )
    kinds = {
        "train": _the_one(root, "train", train, names),
        "test": _the_one(root, "test", test, names) if test else "",
    }
    kinds["val"] = _the_one(root, "val", "", [name for name in names if name not in kinds.values()]) if test else ""
    if not kinds["train"]:
        raise LayoutError(
            f"{root} holds {_listed(known)}, parts of a data set, and none to train on: set data.train_split to the "
            "folder that is"
        )
    others = [root / kinds[kind] for kind in ("test", "val") if kinds[kind]]
    return {"train": root / kinds["train"], **dict(zip(("test", "validation"), others, strict=False))}


def refuse_parts(root: Path) -> None:
    """Raise a `LayoutError` for a folder that holds the parts of a data set, where classes are asked for."""
    names = folders_in(root)
    if len(names) > 1 and all(name.lower() in PARTS for name in names):
        raise LayoutError(
            f"{root} holds {_listed(names)}, which are named as parts of a data set rather than classes: give one of "
            f"them, such as {root / names[-1]}, or rename them"
        )


def _of_kind(kind: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if PARTS.get(name.lower()) == kind]


def _the_one(root: Path, kind: str, asked: str, names: Sequence[str]) -> str:
    """The folder that is a part: the one asked for, or the only one of a usual name; "" if there is none."""
    if asked in names:
        return asked
    found = _of_kind(kind, names)
    if len(found) > 1:
        split = "train_split" if kind == "train" else "test_split"
        raise LayoutError(
            f"{root}: {_listed(found)} are both named as its {kind} part: set data.{split} to one of them, and move "
            "the other elsewhere"
        )
    return found[0] if found else ""


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
