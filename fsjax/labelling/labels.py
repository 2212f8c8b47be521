"""Labels for pictures by a few labelled ones: what `fsjax predict` does, for a notebook.

run = fsjax.restore("runs/dc")
labelled = label(run, "few", ["many"], reject=True)
print(labelled.summary())
labelled.rows[0].label, labelled.rows[0].probability
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fsjax.errors import UserError
from fsjax.labelling.calibration import Threshold
from fsjax.labelling.classifier import Classified, Classifier, classifier_of, implants_of
from fsjax.labelling.heads import AUTO, check_head
from fsjax.labelling.network import TrainedRun
from fsjax.labelling.queries import MEGAPIXELS, Labels, Prediction, Queries, check_sizes, prediction
from fsjax.labelling.rejection import NONE_OF_THESE, check_reject, check_rejection, threshold_of
from fsjax.labelling.summary import summary
from fsjax.labelling.support import Support, Unreadable, read_support

_NEAREST = 3


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Labelled(Labels):
    """Labels of pictures by a few labelled ones.

    Attributes:
      support: the labelled pictures.
      classifier: what was fitted on them; `classifier.classify(images)` labels more.
      threshold: of "none of these"; None where every picture has a class.
      implants: whether the network was widened by implants.
    """

    support: Support
    classifier: Classifier
    threshold: Threshold | None
    implants: bool

    @property
    def left_out(self) -> list[Unreadable]:
        """All that could not be read or opened, support pictures too."""
        return [*super().left_out, *self.support.unreadable]

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
    run: TrainedRun,
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
    _check(shots, seed)
    check_sizes(max_megapixels, batch_size)
    queries = Queries(run, query, max_megapixels)
    options = implants_of(run.method) if implants else None
    known = read_support(support, **queries.reading, shots=shots, seed=seed)
    check_rejection(known, reject, implants=implants)
    classifier = classifier_of(run, known, implants=options, seed=seed, head=head, batch_size=batch_size)
    threshold, same = threshold_of(classifier, reject), _Same(known)

    def look(images: np.ndarray) -> Classified:
        return classifier.classify(images, nearest=_NEAREST)

    def say(found: Classified, i: int, name: str, file: Path) -> Prediction:
        try:
            note = same.note(file)
        except OSError as error:
            return Prediction(name, file, note=f"gone while it was read: {error.strerror}")
        said = dataclasses.replace(
            prediction(name, file, found.probability[i], known.class_names),
            score=float(found.similarity[i]),
            note=note,
            nearest=tuple(found.nearest[i].tolist()),
        )
        return _rejected(said) if threshold is not None and found.similarity[i] < threshold.value else said

    rows = queries.labelled(look, say, progress=progress)
    return Labelled(**rows, support=known, classifier=classifier, threshold=threshold, implants=implants)


def _rejected(said: Prediction) -> Prediction:
    """The same of a picture that is none of the classes: the most likely of them comes second."""
    return dataclasses.replace(
        said,
        label=NONE_OF_THESE,
        probability=None,
        runner_up=said.label,
        runner_up_probability=said.probability,
        rejected=True,
    )


def _check(shots: int, seed: int) -> None:
    if shots < 0:
        raise UserError(f"shots={shots} must be at least 1, or 0 for all support pictures")
    if seed < 0:
        raise UserError(f"seed={seed} must be 0 or more")


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
