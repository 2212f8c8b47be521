"""Runs with their data: opened once, and data that several runs share are read once."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.analysis.geometry import examples_of
from fsjax.evaluation.few_shot.evaluator import Evaluator, extractor
from fsjax.report.collect import Collected
from fsjax.runs import Run, restore

# Of `config.data`: what decides on neither the images of a split nor their order, but for the view: see `_key`.
_OF_TRAINING = ("augment", "memory", "backend", "cache", "clusters")
# What the evaluator calls the classes of a split.
_KINDS = {"test": "novel", "validation": "validation"}


@dataclasses.dataclass(frozen=True, eq=False)
class Opened:
    """A run with its data.

    Attributes:
      name: see `Collected.name`.
      run: its checkpoint.
      splits: its data.
      batch_size: images through the network at once.
    """

    name: str
    run: Run
    splits: data.Splits
    batch_size: int

    def classifies(self, split: str) -> bool:
        """Whether the run has a classifier of the classes of a split's labels."""
        if self.splits.info.few_shot and split in _KINDS:
            return False
        return self.run.method.has_classes

    def kind(self, split: str) -> str:
        """What the evaluator calls a split: "novel", "validation", "base" or "train"."""
        return _KINDS.get(split, split)

    def examples(self, split: str) -> data.Examples:
        """The images of a split.

        Raises:
          UserError: if there are none.
        """
        return examples_of(self.splits, split)

    def class_names(self, split: str) -> tuple[str, ...]:
        """The names of the classes that a split's labels number."""
        info = self.splits.info
        own = {"validation": info.validation_classes, "test": info.test_classes}.get(split, ())
        return own if info.few_shot and own else info.class_names

    def evaluator(self) -> Evaluator:
        """The run on few-shot tasks of these data."""
        run = self.run
        extract = extractor(run.method, run.params, run.collections)
        return Evaluator(run.method, run.params, run.collections, self.splits, extract, self.batch_size)


def opened(
    runs: Sequence[Collected], *, which: str = "best", data_path: str = "", batch_size: int = 256
) -> Iterator[tuple[Collected, Opened | UserError]]:
    """Each run with its data, one after the other; for a run that cannot be opened, or whose data cannot, the error.

    Args:
      runs: to open.
      which: "best" or "latest", the checkpoint.
      data_path: where the data lie here, if elsewhere than in training.
      batch_size: images through the network at once.
    """
    known: tuple[Any, data.Splits] | None = None
    for run in runs:
        try:
            there = restore(run.folder, which=which)
            key = _key(there)
            if known is None or known[0] != key:
                known = key, there.splits(data_path=data_path)
            splits = dataclasses.replace(known[1], info=there.info)
            found: Opened | UserError = Opened(run.name, there, splits, batch_size)
        except UserError as error:
            found = error
        yield run, found


def _key(run: Run) -> Any:
    """What two runs have in common whose images, labels and order of them are the same."""
    config = run.config.data.to_dict()
    section = {name: value for name, value in config.items() if name not in _OF_TRAINING}
    # Less of a picture is seen after random resized crops: `augment.crop` decides on that.
    view = data.view_of(data.parse_config(config))
    return section, dataclasses.asdict(view), run.config.seed, run.info.to_json()
