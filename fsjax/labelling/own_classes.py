"""Labels for pictures by the classes that a network was trained on: no labelled pictures are needed."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fsjax import data
from fsjax.errors import UserError, counted, one_line
from fsjax.labelling.labels import MEGAPIXELS, Prediction, check_options, check_readable, progress_bar
from fsjax.labelling.support import Unreadable
from fsjax.pages import Html, card, card_filter, cards, page, picture, section, tag

_CHUNK, _THUMBNAIL, _NAMED = 64, 224, 10


@dataclasses.dataclass(frozen=True, eq=False)
class OwnLabels:
    """Labels of pictures among a network's own classes.

    Attributes:
      run: whose classes they are.
      rows: one per picture, in the order in which they were given; without a score, which compares with prototypes.
      passed_over: how many files in the folders of queries are no images by their suffix, or no files at all.
      closed: folders in the folders of queries that cannot be opened.
      max_pixels: the most that a picture may have.
    """

    run: Any
    rows: tuple[Prediction, ...]
    passed_over: int
    closed: list[Unreadable]
    max_pixels: int

    @property
    def unreadable(self) -> list[Unreadable]:
        """Queries that could not be read."""
        return [Unreadable(row.name, row.file, row.note) for row in self.rows if not row.readable]

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures have each label that occurs, the most frequent first."""
        labels = [row.label for row in self.rows if row.readable]
        return dict(sorted(((name, labels.count(name)) for name in set(labels)), key=lambda pair: (-pair[1], pair[0])))

    @property
    def scope(self) -> str:
        """What the labels are among."""
        info = self.run.info
        return (
            f"labels are among the {counted(info.num_classes, 'class', 'classes')} of {info.name} that the network was "
            "trained on: of a picture of something else they say nothing"
        )

    def summary(self) -> str:
        """The counts, and what could not be read, in a few lines."""
        lines = [self.scope]
        counts = list(self.counts.items())
        more = f", and {len(counts) - _NAMED} other labels" if len(counts) > _NAMED else ""
        named = ", ".join(f"{one_line(name)} {count}" for name, count in counts[:_NAMED])
        lines.append(f"{counted(sum(self.counts.values()), 'picture')} labelled: {named}{more}")
        if self.passed_over:
            lines.append(f"{counted(self.passed_over, 'file')} passed over: no image by the suffix, or no file")
        for what, why, unreadable in (("picture", "read", self.unreadable), ("folder", "opened", self.closed)):
            if unreadable:
                lines.append(f"{counted(len(unreadable), what)} to label cannot be {why}:")
                lines += [f"  {one_line(one.name)}: {one_line(one.reason)}" for one in unreadable[:_NAMED]]
        return "\n".join(lines)


def label_own(
    run: Any,
    query: str | Path | Sequence[str | Path],
    *,
    max_megapixels: float = MEGAPIXELS,
    batch_size: int = 256,
    progress: bool = False,
) -> OwnLabels:
    """Label pictures by the classes that a run was trained on.

    Args:
      run: a `fsjax.runs.Run`.
      query: files, and folders of them.
      max_megapixels: larger pictures are not read.
      batch_size: images through the network at once.
      progress: whether a bar is shown on a terminal.

    Raises:
      UserError: for a network without classes of its own, arguments that cannot be, and where no query can be read.
    """
    check_options(0, 0, max_megapixels, batch_size)
    if not run.method.reads_loss:
        raise UserError(
            "this network has no classes of its own to label pictures by: give a folder of a few labelled pictures of "
            "each class as --support"
        )
    max_pixels = int(max_megapixels * 1e6)
    queries = data.named_pictures([query] if isinstance(query, str | Path) else list(query))
    rows = tuple(_rows(run, queries.files, max_pixels, batch_size, progress))
    check_readable(rows)
    closed = [Unreadable(path, Path(path), f"cannot be opened: {why}") for path, why in queries.closed.items()]
    return OwnLabels(run, rows, queries.passed_over, closed, max_pixels)


def _rows(
    run: Any, queries: list[tuple[str, Path]], max_pixels: int, batch_size: int, progress: bool
) -> Iterator[Prediction]:
    files = [file for _, file in queries]
    with progress_bar(len(queries), progress) as bar:
        for part in data.read_pictures(files, run.config.data, run.info, max_pixels=max_pixels):
            logits = run.logits(part.images, batch_size=batch_size).astype(np.float64)
            shares = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf))
            shares = dict(zip(part.read.tolist(), shares / shares.sum(axis=-1, keepdims=True), strict=True))
            for number in range(part.start, part.start + part.count):
                name, file = queries[number]
                if number not in shares:
                    yield Prediction(name, file, note=part.failed[number])
                    continue
                first, second = np.argsort(-shares[number], kind="stable")[:2].tolist()
                share = float(shares[number][first])
                yield Prediction(
                    name,
                    file,
                    run.class_names[first],
                    share,
                    run.class_names[second],
                    float(shares[number][second]),
                    best=first,
                    confidence=share,
                )
            bar.update(part.count)


def own_page(labelled: OwnLabels, *, most: int = 500) -> str:
    """A self-contained HTML document of pictures with their labels.

    Args:
      labelled: what `label_own` gave.
      most: how many pictures are shown; of more, those whose label is the least certain.
    """
    rows = [row for row in labelled.rows if row.readable]
    shown = rows if len(rows) <= most else sorted(rows, key=lambda row: row.confidence)[:most]
    return page(
        "Labels",
        section(f"Pictures ({len(shown)})", *_cards(labelled, shown), anchor="pictures"),
        lead=f"{counted(len(rows), 'picture')}; {labelled.scope}.",
        facts={"Network": one_line(repr(labelled.run))},
    )


def _cards(labelled: OwnLabels, shown: Sequence[Prediction]) -> Iterator[Html]:
    sorts = {"confidence": "Least certain first", "-confidence": "Most certain first", "text": "By file name"}
    yield card_filter(labels=[one_line(name) for name in labelled.counts], flags={}, sorts=sorts)
    files, run, made = [row.file for row in shown], labelled.run, []
    for part in data.read_pictures(
        files, run.config.data, run.info, max_pixels=labelled.max_pixels, thumbnail=_THUMBNAIL, chunk=_CHUNK
    ):
        small = dict(zip(part.read.tolist(), part.thumbnails, strict=True))
        for number in range(part.start, part.start + part.count):
            made.append(_card(shown[number], small.get(number)))
    yield cards(*made)


def _card(row: Prediction, image: np.ndarray | None) -> Html:
    name, label = one_line(row.name), one_line(row.label)
    shown: Any = tag("p", "no longer readable", class_="note")
    if image is not None:
        shown = picture(image, alt=name, width=image.shape[1], lossy=max(image.shape[:2]) > 64)
    return card(
        shown,
        tag("h3", f"{label} {100 * row.confidence:.1f} %"),
        tag("p", f"or {one_line(row.runner_up)} {100 * (row.runner_up_probability or 0):.1f} %"),
        tag("p", name, class_="note"),
        label=label,
        text=name,
        flags=[],
        order={"confidence": row.confidence},
    )
