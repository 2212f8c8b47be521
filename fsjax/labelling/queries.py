"""Pictures to label: how they are read, and what is said of each, whatever labels them."""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fsjax import data
from fsjax.data.pictures import LARGEST_PIXELS
from fsjax.errors import UserError
from fsjax.labelling.network import TrainedRun
from fsjax.labelling.support import Unreadable

MEGAPIXELS = 100
_NAMED = 3
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What is said of one picture.

    Attributes:
      name: the path as given, or relative to the folder given.
      file: where it is.
      label: its class; "none of these" if it is rejected; empty if it cannot be read.
      probability: of the label, among the classes given; None where there is no such class.
      runner_up: the second most likely class; of a rejected picture, the most likely one.
      runner_up_probability: of that one; None for a picture that cannot be read.
      score: its largest similarity to the prototype of a class; None for a picture that cannot be read.
      rejected: whether the score is below the threshold.
      note: why it cannot be read, or that it is a support picture too.
      best: the number of the most likely class; -1 for a picture that cannot be read.
      confidence: the probability of that class, of rejected pictures too.
      nearest: numbers of the support pictures nearest to it, the nearest first.
    """

    name: str
    file: Path
    label: str = ""
    probability: float | None = None
    runner_up: str = ""
    runner_up_probability: float | None = None
    score: float | None = None
    rejected: bool = False
    note: str = ""
    best: int = -1
    confidence: float = math.nan
    nearest: tuple[int, ...] = ()

    @property
    def readable(self) -> bool:
        """Whether the picture could be read."""
        return self.best >= 0


def prediction(name: str, file: Path, probability: np.ndarray, class_names: Sequence[str]) -> Prediction:
    """The most likely of the classes, and the one after it.

    Args:
      name, file: see `Prediction`.
      probability: float64 `[classes]`.
      class_names: by label.
    """
    first, second = np.argsort(-probability, kind="stable")[:2].tolist()
    share = float(probability[first])
    likely = class_names[first], share, class_names[second], float(probability[second])
    return Prediction(name, file, *likely, best=first, confidence=share)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Labels:
    """Labels of pictures, whatever labelled them.

    Attributes:
      run: whose network was used.
      rows: one per picture, in the order in which they were given.
      passed_over: how many files in the folders of queries are no images by their suffix, or no files at all.
      closed: folders in the folders of queries that cannot be opened.
      max_pixels: the most that a picture may have.
    """

    run: TrainedRun
    rows: tuple[Prediction, ...]
    passed_over: int
    closed: list[Unreadable]
    max_pixels: int

    @property
    def unreadable(self) -> list[Unreadable]:
        """Queries that could not be read."""
        return [Unreadable(row.name, row.file, row.note) for row in self.rows if not row.readable]

    @property
    def left_out(self) -> list[Unreadable]:
        """All that could not be read or opened."""
        return [*self.unreadable, *self.closed]

    def least_certain(self, most: int) -> list[Prediction]:
        """The pictures that could be read, in order; of more than `most`, those whose label is the least certain."""
        rows = [row for row in self.rows if row.readable]
        return rows if len(rows) <= most else sorted(rows, key=lambda row: row.confidence)[:most]


class Queries:
    """The pictures that a run is to label.

    Args:
      run: a `fsjax.runs.Run`.
      query: files, and folders of them.
      max_megapixels: larger pictures are not read.

    Raises:
      UserError: for a path that is not there, and folders without pictures.
    """

    def __init__(self, run: TrainedRun, query: str | Path | Sequence[str | Path], max_megapixels: float) -> None:
        self._run, self._found = run, data.named_pictures([query] if isinstance(query, str | Path) else list(query))
        self.max_pixels = int(max_megapixels * 1e6)

    @property
    def reading(self) -> dict[str, Any]:
        """How pictures are read for the run's network: arguments of `fsjax.data.read_pictures`."""
        return {"config": self._run.config.data, "info": self._run.info, "max_pixels": self.max_pixels}

    def labelled(
        self, look: Callable[[np.ndarray], T], say: Callable[[T, int, str, Path], Prediction], *, progress: bool
    ) -> dict[str, Any]:
        """Label them, a few in memory at a time.

        Args:
          look: what the network makes of uint8 images `[n, ...]`.
          say: what that says of one of these images, by its number, of the name and file given.
          progress: whether a bar is shown on a terminal.

        Returns:
          The fields of `Labels`.

        Raises:
          UserError: if none can be read.
        """
        rows = tuple(self._rows(look, say, progress))
        if not any(row.readable for row in rows):
            reasons = "\n  ".join(f"{row.name}: {row.note}" for row in rows[:_NAMED])
            raise UserError(f"none of {len(rows)} pictures to label can be read:\n  {reasons}")
        folders = self._found.closed.items()
        closed = [Unreadable(path, Path(path), f"cannot be opened: {why}") for path, why in folders]
        return {
            "run": self._run,
            "rows": rows,
            "passed_over": self._found.passed_over,
            "closed": closed,
            "max_pixels": self.max_pixels,
        }

    def _rows(
        self, look: Callable[[np.ndarray], T], say: Callable[[T, int, str, Path], Prediction], progress: bool
    ) -> Iterator[Prediction]:
        files = self._found.files
        with _progress_bar(len(files), progress) as bar:
            for part in data.read_pictures([file for _, file in files], **self.reading):
                found = look(part.images) if len(part.read) else None
                at = {number: i for i, number in enumerate(part.read.tolist())}
                for number in range(part.start, part.start + part.count):
                    name, file = files[number]
                    if found is None or number not in at:
                        yield Prediction(name, file, note=part.failed[number])
                    else:
                        yield say(found, at[number], name, file)
                bar.update(part.count)


def check_sizes(max_megapixels: float, batch_size: int) -> None:
    """Raise a `UserError` for sizes that cannot be."""
    if not 0 < max_megapixels <= LARGEST_PIXELS / 1e6:
        raise UserError(
            f"max_megapixels={max_megapixels:g} must be above 0 and at most {LARGEST_PIXELS / 1e6:.0f}, where pillow "
            "itself refuses a picture as a decompression bomb"
        )
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size} must be at least 1")


def _progress_bar(total: int, shown: bool) -> Any:
    """A bar that counts pictures, on a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, unit="picture", disable=not (shown and sys.stderr.isatty()))
