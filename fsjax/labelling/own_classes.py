"""Labels for pictures by the classes that a network was trained on: no labelled pictures are needed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from fsjax.errors import UserError, counted, one_line
from fsjax.labelling.network import TrainedRun
from fsjax.labelling.page import THUMBNAIL, percent, read_thumbnails
from fsjax.labelling.queries import MEGAPIXELS, Labels, Prediction, Queries, check_sizes, prediction
from fsjax.labelling.summary import left_out_in_words
from fsjax.pages import Html, card, card_filter, cards, page, picture, section, tag

_NAMED = 10


class OwnLabels(Labels):
    """Labels of pictures among a network's own classes, without a score, which compares with prototypes."""

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
        lines += left_out_in_words(self)
        return "\n".join(lines)


def label_own(
    run: TrainedRun,
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
    check_sizes(max_megapixels, batch_size)
    if not run.method.reads_loss:
        raise UserError(
            "this network has no classes of its own to label pictures by: give a folder of a few labelled pictures of "
            "each class as --support"
        )

    def look(images: np.ndarray) -> np.ndarray:
        return softmax(run.logits(images, batch_size=batch_size).astype(np.float64), axis=-1)

    def say(shares: np.ndarray, i: int, name: str, file: Path) -> Prediction:
        return prediction(name, file, shares[i], run.class_names)

    return OwnLabels(**Queries(run, query, max_megapixels).labelled(look, say, progress=progress))


def own_page(labelled: OwnLabels, *, most: int = 500) -> str:
    """A self-contained HTML document of pictures with their labels.

    Args:
      labelled: what `label_own` gave.
      most: how many pictures are shown; of more, those whose label is the least certain.
    """
    shown = labelled.least_certain(most)
    return page(
        "Labels",
        section(f"Pictures ({len(shown)})", *_cards(labelled, shown), anchor="pictures"),
        lead=f"{counted(sum(labelled.counts.values()), 'picture')}; {labelled.scope}.",
        facts={"Network": one_line(repr(labelled.run))},
    )


def _cards(labelled: OwnLabels, shown: Sequence[Prediction]) -> Iterator[Html]:
    sorts = {"confidence": "Least certain first", "-confidence": "Most certain first", "text": "By file name"}
    yield card_filter(labels=[one_line(name) for name in labelled.counts], flags={}, sorts=sorts)
    made = []
    for part in read_thumbnails(labelled, [row.file for row in shown], THUMBNAIL):
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
        tag("h3", f"{label} {percent(row.confidence)}"),
        tag("p", f"or {one_line(row.runner_up)} {percent(row.runner_up_probability or 0)}"),
        tag("p", name, class_="note"),
        label=label,
        text=name,
        flags=[],
        order={"confidence": row.confidence},
    )
