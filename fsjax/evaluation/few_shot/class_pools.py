"""The kinds of classes that tasks are drawn from, and their images."""

import dataclasses
import logging
import re
from collections.abc import Sequence

import numpy as np

from fsjax import data
from fsjax.data import ReconstructedOptions
from fsjax.errors import UserError, unknown

logger = logging.getLogger("fsjax")

# By kind: the split, the names of its classes in `DataInfo`, and what they are in words.
_SPLITS = {
    "novel": ("test", "test_classes", "the novel classes"),
    "validation": ("validation", "validation_classes", "the validation classes"),
    "base": ("base", "class_names", "the base classes, on images kept out of training"),
    "train": ("train", "class_names", "the base classes"),
    "support": ("support", "test_classes", "the novel classes, on training images of the data set"),
}
# By kind: the split whose classes base ones are put beside, and what they are in words.
RECONSTRUCTED = {
    "reconstructed": ("test", "the novel and base classes together"),
    "reconstructed_validation": ("validation", "the validation and base classes together"),
}
DEFAULT = ReconstructedOptions()


@dataclasses.dataclass(frozen=True, eq=False)
class ClassPool:
    """Classes that tasks are drawn from.

    Attributes:
      images: of these classes.
      class_names: by label.
      where: what the classes are, for messages: "the novel classes".
      facts: what else a figure over them depends on, as JSON types.
    """

    images: data.Examples | data.Reconstructed
    class_names: tuple[str, ...]
    where: str
    facts: dict

    @property
    def labels(self) -> np.ndarray:
        """int32 `[n]`."""
        return self.images.labels

    @property
    def examples(self) -> data.Examples:
        """The images; of base and novel classes together they are brought together when they are first asked for."""
        return self.images.examples if isinstance(self.images, data.Reconstructed) else self.images

    @property
    def is_base(self) -> np.ndarray | None:
        """Which classes are base ones, bool `[classes]`, where there are both kinds; else None."""
        return self.images.is_base if isinstance(self.images, data.Reconstructed) else None


def readable_names(class_names: Sequence[str]) -> list[str]:
    """Classes' names for people: "n01443537_king_penguin" is "king penguin"; where two would be equal, they stay.

    Args:
      class_names: of all the classes that are shown together.
    """
    short = [re.sub(r"^n\d{8}_", "", name).replace("_", " ") for name in class_names]
    meant: dict[str, set[str]] = {}
    for name, shortened in zip(class_names, short, strict=True):
        meant.setdefault(shortened, set()).add(name)
    return [of if len(meant[of]) == 1 else name for name, of in zip(class_names, short, strict=True)]


def find_pool(splits: data.Splits, part: str, reconstructed: ReconstructedOptions = DEFAULT) -> ClassPool:
    """The classes and images of "novel", "validation", "base" (held-out images), "train", "reconstructed", ...

    Args:
      splits: the data.
      part: which kind.
      reconstructed: of "reconstructed" and "reconstructed_validation": which base classes, how many images.

    Raises:
      UserError: if the data have none, and for an unknown kind.
    """
    if part in RECONSTRUCTED:
        split, where = RECONSTRUCTED[part]
        images = data.reconstruct(splits, split, reconstructed)
        base = [name for name, is_base in zip(images.class_names, images.is_base, strict=True) if is_base]
        facts = {
            # With another number held out, base images of the same positions are others.
            "reconstructed": {
                "images": reconstructed.images,
                "seed": reconstructed.seed,
                "held_out": 0 if splits.base is None else len(splits.base),
            },
            "base_classes": base,
        }
        return ClassPool(images, images.class_names, where, facts)
    if part not in _SPLITS:
        raise unknown("kind of classes", part, [*_SPLITS, *RECONSTRUCTED])
    split, names, where = _SPLITS[part]
    images = getattr(splits, split)
    if images is None:
        ways_out = {
            "base": "set config.data.base_holdout above 0 or, of data with a test part, config.data.keep_test=True",
            "support": "set config.data.keep_test=True",
        }
        way_out = ways_out.get(part, "choose a class split that has them")
        raise UserError(f"there are no images of {where}: {way_out} and train anew, or do not evaluate {part!r}")
    return ClassPool(images, getattr(splits.info, names), where, {})


def check_pool(
    splits: data.Splits, classes: str, spec: data.EpisodeSpec, reconstructed: ReconstructedOptions = DEFAULT
) -> None:
    """Raise a `UserError` unless these data can make such tasks of such classes.

    Args:
      splits: the data.
      classes: of `fsjax.options.few_shot.CLASSES`.
      spec: of the tasks.
      reconstructed: see `find_pool`.
    """
    for part in ("novel", "base") if classes == "both" else (classes,):
        found = find_pool(splits, part, reconstructed)
        # Base classes beside novel ones only have queries: see `score_joint_tasks`.
        needed = dataclasses.replace(spec, shot=1) if (classes, part) == ("both", "base") else spec
        table = data.class_table(found.labels, len(found.class_names))
        data.check_feasible(table, needed, found.class_names, found.where)


def warn_of_selection(
    splits: data.Splits,
    classes: Sequence[str],
    tested: ReconstructedOptions,
    *,
    chosen_by: str,
    chosen: ReconstructedOptions,
) -> None:
    """Say which base classes of an evaluation also chose the run's checkpoint.

    Args:
      splits: the data.
      classes: the kinds that are evaluated.
      tested: of "reconstructed" among them.
      chosen_by: the kind of the tasks that chose the checkpoint.
      chosen: of those.
    """
    if chosen_by != "reconstructed_validation":
        return
    names = set()
    if "reconstructed" in classes:
        names.update(find_pool(splits, "reconstructed", tested).facts["base_classes"])
    if {"base", "both"} & set(classes):
        names.update(splits.info.class_names)
    shared = [name for name in find_pool(splits, chosen_by, chosen).facts["base_classes"] if name in names]
    if shared:
        logger.warning(
            "%d of the base classes are also those whose held-out images chose this run's checkpoint, and look better "
            "for it (%s): the classes 'reconstructed', with the run's own base classes, have none of them",
            len(shared),
            ", ".join(shared),
        )
