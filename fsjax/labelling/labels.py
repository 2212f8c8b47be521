"""Labels for pictures by a few labelled ones: what `fsjax predict` does, for a notebook.

run = fsjax.restore("runs/dc")
labelled = label(run, "few", ["many"], reject=True)
print(labelled.summary())
labelled.rows[0].label, labelled.rows[0].probability
"""

import contextlib
import dataclasses
import hashlib
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fsjax import data
from fsjax.data.pictures import LARGEST_PIXELS
from fsjax.errors import UserError
from fsjax.labelling.calibration import Threshold
from fsjax.labelling.classifier import Classifier, fit_classifier, implants_of
from fsjax.labelling.heads import AUTO, check_head
from fsjax.labelling.network import Network
from fsjax.labelling.rejection import NONE_OF_THESE, check_reject, check_rejection, threshold_of
from fsjax.labelling.summary import summary
from fsjax.labelling.support import Support, Unreadable, read_support

MEGAPIXELS = 100
_NEAREST, _NAMED = 3, 3


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


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """Labels of pictures.

    Attributes:
      run: whose network was used.
      rows: one per picture, in the order in which they were given.
      support: the labelled pictures.
      classifier: what was fitted on them; `classifier.classify(images)` labels more.
      threshold: of "none of these"; None where every picture has a class.
      implants: whether the network was widened by implants.
      passed_over: how many files in the folders of queries are no images by their suffix, or no files at all.
      closed: folders in the folders of queries that cannot be opened.
      max_pixels: the most that a picture may have.
    """

    run: Any
    rows: tuple[Prediction, ...]
    support: Support
    classifier: Classifier
    threshold: Threshold | None
    implants: bool
    passed_over: int
    closed: list[Unreadable]
    max_pixels: int

    @property
    def unreadable(self) -> list[Unreadable]:
        """Queries that could not be read."""
        return [Unreadable(row.name, row.file, row.note) for row in self.rows if not row.readable]

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures have each label: every class, and "none of these" where there is a threshold."""
        names = [*self.support.class_names, *([NONE_OF_THESE] if self.threshold else [])]
        labels = [row.label for row in self.rows]
        return {name: labels.count(name) for name in names}

    def summary(self) -> str:
        """The support set, how well it is told apart, the threshold, and the counts, in a few lines."""
        return summary(self)


def label(
    run: Any,
    support: str | Path,
    query: str | Path | Sequence[str | Path],
    *,
    head: str = AUTO,
    implants: bool = False,
    reject: bool | float = False,
    shots: int = 0,
    seed: int = 0,
    max_megapixels: float = MEGAPIXELS,
    batch_size: int = 256,
    progress: bool = False,
) -> Labelled:
    """Label pictures by a few labelled ones, of classes that the run need not have seen.

    Pictures may have any size and be JPEG, PNG, WebP, BMP, GIF, TIFF, PPM or PGM, grey, coloured, with a palette,
    transparent, of 16 bits, for print, or turned by the camera. One that cannot be read is named, and not fatal.
    What is in memory does not depend on the number of queries, but for the rows.

    Args:
      run: a `fsjax.runs.Run`.
      support: a folder with a folder for each class.
      query: files, and folders of them.
      head: what classifies, see `fsjax.labelling.classifier.fit_classifier`.
      implants: whether to widen the network by implants, trained on the support pictures (Lifchitz et al. 2019).
      reject: whether pictures may be "none of these"; a number is the least similarity that a picture of a class has,
        True for one chosen on the support pictures, see `fsjax.labelling.calibration.Threshold`.
      shots: so many support pictures of each class, chosen at random among those that can be read; 0 for all.
      seed: of that choice, and of the implants.
      max_megapixels: larger pictures are not read.
      batch_size: images through the network at once.
      progress: whether a bar is shown on a terminal.

    Raises:
      UserError: for arguments that cannot be, folders without pictures, and where no query, or none of a class's
        support pictures, can be read.
    """
    check_reject(reject)
    check_head(head, implants=implants)
    check_options(shots, seed, max_megapixels, batch_size)
    max_pixels = int(max_megapixels * 1e6)
    paths = [query] if isinstance(query, str | Path) else list(query)
    queries = data.named_pictures(paths)
    common = {"config": run.config.data, "info": run.info, "max_pixels": max_pixels}
    options = implants_of(run.method) if implants else None
    known = read_support(support, **common, shots=shots, seed=seed)
    check_rejection(known, reject, implants=implants)
    frozen = Network(run.method, run.params, run.collections, run.info, batch_size=batch_size)
    classifier = fit_classifier(
        frozen,
        known.images,
        known.labels,
        known.class_names,
        head=head,
        preferred=run.preferred_head,
        implants=options,
        seed=seed,
    )
    threshold = threshold_of(classifier, reject)
    rows = tuple(_rows(queries.files, known, classifier, threshold, common, progress))
    check_readable(rows)
    closed = [Unreadable(path, Path(path), f"cannot be opened: {why}") for path, why in queries.closed.items()]
    return Labelled(run, rows, known, classifier, threshold, implants, queries.passed_over, closed, max_pixels)


def check_readable(rows: Sequence[Prediction]) -> None:
    """Raise a `UserError` if none of the pictures could be read."""
    if not any(row.readable for row in rows):
        reasons = "\n  ".join(f"{row.name}: {row.note}" for row in rows[:_NAMED])
        raise UserError(f"none of {len(rows)} pictures to label can be read:\n  {reasons}")


def check_options(shots: int, seed: int, max_megapixels: float, batch_size: int) -> None:
    """Raise a `UserError` for options that cannot be."""
    if shots < 0:
        raise UserError(f"shots={shots} must be at least 1, or 0 for all support pictures")
    if seed < 0:
        raise UserError(f"seed={seed} must be 0 or more")
    if not 0 < max_megapixels <= LARGEST_PIXELS / 1e6:
        raise UserError(
            f"max_megapixels={max_megapixels:g} must be above 0 and at most {LARGEST_PIXELS / 1e6:.0f}, where pillow "
            "itself refuses a picture as a decompression bomb"
        )
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size} must be at least 1")


def _rows(
    queries: list[tuple[str, Path]],
    known: Support,
    classifier: Classifier,
    threshold: Threshold | None,
    common: dict[str, Any],
    progress: bool,
) -> Iterator[Prediction]:
    same = _Same(known)
    with progress_bar(len(queries), progress) as bar:
        for part in data.read_pictures([file for _, file in queries], **common):
            found = classifier.classify(part.images, nearest=_NEAREST) if len(part.read) else None
            at = {number: i for i, number in enumerate(part.read.tolist())}
            for number in range(part.start, part.start + part.count):
                name, file = queries[number]
                if found is None or number not in at:
                    yield Prediction(name, file, note=part.failed[number])
                    continue
                try:
                    note = same.note(file)
                except OSError as error:
                    yield Prediction(name, file, note=f"gone while it was read: {error.strerror}")
                    continue
                i = at[number]
                said = found.probability[i], float(found.similarity[i]), tuple(found.nearest[i].tolist())
                yield _prediction(name, file, *said, known.class_names, threshold, note)
            bar.update(part.count)


def _prediction(
    name: str,
    file: Path,
    probability: np.ndarray,
    score: float,
    nearest: tuple[int, ...],
    class_names: tuple[str, ...],
    threshold: Threshold | None,
    note: str,
) -> Prediction:
    first, second = np.argsort(-probability, kind="stable")[:2].tolist()
    confidence, rejected = float(probability[first]), threshold is not None and score < threshold.value
    label, runner_up = (NONE_OF_THESE, first) if rejected else (class_names[first], second)
    return Prediction(
        name,
        file,
        label,
        None if rejected else confidence,
        class_names[runner_up],
        float(probability[runner_up]),
        score,
        rejected,
        note,
        first,
        confidence,
        nearest,
    )


class _Same:
    """Tells of a file that a support picture has the same bytes."""

    def __init__(self, known: Support) -> None:
        self._classes: dict[bytes, list[str]] = {}
        self._sizes = set()
        for file, label in zip(known.files, known.labels, strict=True):
            with contextlib.suppress(OSError):  # gone since it was read
                self._sizes.add(file.stat().st_size)
                self._classes.setdefault(_digest(file), []).append(known.class_names[label])

    def note(self, file: Path) -> str:
        # A file of another size than all of them need not be read again.
        if file.stat().st_size not in self._sizes or (digest := _digest(file)) not in self._classes:
            return ""
        names = list(dict.fromkeys(self._classes[digest]))
        return f"also a support picture of class{'es' * (len(names) > 1)} {' and '.join(names)}"


def _digest(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def progress_bar(total: int, shown: bool) -> Any:
    """A bar that counts pictures, on a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, unit="picture", disable=not (shown and sys.stderr.isatty()))
