"""Labels as a page of pictures: each with its label, what it is near to, and where the network looked."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fsjax import data
from fsjax.errors import one_line
from fsjax.labelling.labels import Labelled
from fsjax.labelling.overlay import overlaid
from fsjax.labelling.queries import Labels, Prediction
from fsjax.labelling.rejection import NONE_OF_THESE
from fsjax.labelling.summary import copies_in_words, doubt_in_words, files, head_in_words, held_out_in_words
from fsjax.labelling.support import Unreadable
from fsjax.pages import Html, card, card_filter, cards, page, picture, section, table, tag
from fsjax.pages.document import facts_list

THUMBNAIL = 224
_SMALL = 72
# Pictures that are in memory at once.
_CHUNK = 64
_UNSURE = 0.5
_COLUMNS = "display: flex; flex-wrap: wrap; gap: .5rem; align-items: flex-start"


def predictions_page(labelled: Labelled, *, most: int = 500) -> str:
    """A self-contained HTML document of pictures with their labels.

    The pictures are read and go through the network once more, those that are shown alone.

    Args:
      labelled: what `label` gave.
      most: how many pictures are shown; of more, those whose label is the least certain.
    """
    rows, shown = [row for row in labelled.rows if row.readable], labelled.least_certain(most)
    unreadable = [("to label", one) for one in labelled.unreadable]
    unreadable += [("folder to label", one) for one in labelled.closed]
    unreadable += [("support", one) for one in labelled.support.unreadable]
    doubts, facts = doubt_in_words(labelled), _facts(labelled)
    warning = [tag("p", tag("strong", words.removeprefix("warning: "))) for words in doubts]
    return page(
        "Labels",
        section("Look at this first", *warning, anchor="warning") if doubts else None,
        section("Labels", _counts(labelled), anchor="labels"),
        section(f"Pictures ({len(shown)})", *_pictures(labelled, rows, shown), anchor="pictures"),
        section(f"Not read ({len(unreadable)})", _not_read(unreadable), anchor="not-read") if unreadable else None,
        section("What the labels rest on", facts_list(facts), anchor="facts") if doubts else None,
        lead=_lead(labelled, rows),
        facts=None if doubts else facts,  # nothing comes before the warning
    )


def _lead(labelled: Labelled, rows: Sequence[Prediction]) -> str:
    kinds = f"{len(labelled.support.class_names)} classes"
    if labelled.threshold is not None:
        kinds += f", or “{NONE_OF_THESE}”"
    return (
        f"{len(rows)} picture{'s' * (len(rows) != 1)}, labelled as one of {kinds}, by "
        f"{len(labelled.support.labels)} support pictures. Probabilities are among these classes alone: of a picture "
        "of something else they say nothing."
    )


def _facts(labelled: Labelled) -> dict[str, Any]:
    support = labelled.support
    facts = {
        "Run": one_line(repr(labelled.run)),
        "Rule": _rule(labelled),
        "Support": f"{len(support.labels)} pictures of {len(support.class_names)} classes",
        **({"Head": words[0].removeprefix("head: ")} if (words := head_in_words(labelled)) else {}),
        "Left out": "; ".join(held_out_in_words(labelled)),
    }
    if copies := copies_in_words(support):
        facts["Copies"] = "; ".join(copies)
    if labelled.threshold is not None:
        facts["None of these"] = f"below {labelled.threshold}"
    passed_over = labelled.passed_over + support.passed_over
    if passed_over:
        facts["Passed over"] = f"{files(passed_over)}: no image by the suffix, or no file"
    return facts


def _rule(labelled: Labelled) -> str:
    rule = labelled.classifier.rule
    words = f"{rule.similarity.replace('_', ' ')} to prototypes ({rule.support_pool}/{rule.query_pool})"
    return words + (", the network widened by implants for this task" if labelled.implants else "")


def _counts(labelled: Labelled) -> Html:
    support = dict(zip(labelled.support.class_names, labelled.support.counts, strict=True))
    sure: dict[str, list[float]] = {name: [] for name in labelled.counts}
    for row in labelled.rows:
        if row.probability is not None:
            sure[row.label].append(row.probability)
    rows = [
        (one_line(name), support.get(name, ""), count, percent(float(np.mean(sure[name]))) if sure[name] else "")
        for name, count in labelled.counts.items()
    ]
    header = ("Label", "Support pictures", "Pictures labelled", "Mean probability")
    return table(header, rows, caption="Pictures by label", numeric=(1, 2, 3), sortable=True)


def _pictures(labelled: Labelled, rows: Sequence[Prediction], shown: Sequence[Prediction]) -> Iterator[Html]:
    if len(shown) < len(rows):
        yield tag(
            "p",
            f"The {len(shown)} pictures with the least certain labels, of {len(rows)}; the other "
            f"{len(rows) - len(shown)} are in the CSV file only.",
        )
    flags = {
        "unsure": f"Less than {100 * _UNSURE:.0f} % sure",
        "support": "Support pictures too",
    }
    there = {flag for row in shown for flag in _flags(row)}
    sorts = {
        "confidence": "Least certain first", "-confidence": "Most certain first", "score": "Least similar first",
        "text": "By file name",
    }  # fmt: skip
    yield card_filter(
        labels=[one_line(name) for name in labelled.counts],
        flags={name: words for name, words in flags.items() if name in there},
        sorts=sorts,
    )
    small = _support_pictures(labelled, {number for row in shown for number in row.nearest})
    parts = _looked_at(labelled, [row.file for row in shown])
    yield cards(*(_card(labelled, row, parts, small) for row, parts in zip(shown, parts, strict=True)))


def _flags(row: Prediction) -> list[str]:
    return [name for name, has in (("unsure", row.confidence < _UNSURE), ("support", bool(row.note))) if has]


def _card(labelled: Labelled, row: Prediction, parts: Sequence[Html], small: dict[int, Html]) -> Html:
    if row.score is None or row.runner_up_probability is None:
        raise ValueError(f"{row.name} could not be read: it has no card")
    name, label, runner_up = one_line(row.name), one_line(row.label), one_line(row.runner_up)
    share = "" if row.probability is None else f" {percent(row.probability)}"
    nearest = [_near(labelled, number, small) for number in row.nearest]
    return card(
        tag("div", parts, style=_COLUMNS),
        tag("h3", label, share),
        tag("p", "most like " if row.rejected else "or ", f"{runner_up} {percent(row.runner_up_probability)}"),
        tag("p", name, class_="note"),
        tag("p", f"similarity {row.score:.3g}", f"; {one_line(row.note)}" if row.note else "", class_="note"),
        tag("p", "Nearest support pictures:"),
        tag("div", nearest, style=_COLUMNS),
        label=label,
        text=name,
        flags=_flags(row),
        order={"confidence": row.confidence, "score": row.score},
    )


def _near(labelled: Labelled, number: int, small: dict[int, Html]) -> Html:
    name = one_line(labelled.support.class_names[labelled.support.labels[number]])
    return tag(
        "figure",
        small.get(number),
        tag("figcaption", name, style="font-weight: 400; font-size: .85em; margin: 0"),
        style=f"margin: 0; width: {_SMALL}px",
    )


def _not_read(unreadable: Iterable[tuple[str, Unreadable]]) -> Html:
    rows = [(one_line(one.name), kind, one_line(one.reason)) for kind, one in unreadable]
    return table(("File", "Picture", "Why"), rows, caption="What could not be read")


def _support_pictures(labelled: Labelled, numbers: set[int]) -> dict[int, Html]:
    """These support pictures in small, by their number; those that are gone meanwhile are left out."""
    support, order = labelled.support, sorted(numbers)
    paths, found = [support.files[number] for number in order], {}
    for part in read_thumbnails(labelled, paths, _SMALL):
        for number, image in zip(part.read, part.thumbnails, strict=True):
            of = order[number]
            found[of] = _picture(image, f"support picture {one_line(support.names[of])}", _SMALL)
    return found


def _looked_at(labelled: Labelled, paths: Sequence[Path]) -> Iterator[list[Html]]:
    """For each file, the picture and what the network looked at: the activation map of its label, or the crop."""
    rows = {row.file: row for row in labelled.rows}
    view = data.own_view(labelled.run.config.data, labelled.run.info)
    for part in read_thumbnails(labelled, paths, THUMBNAIL):
        shown: list[list[Html]] = [[tag("p", "no longer readable", class_="note")] for _ in range(part.count)]
        if len(part.read):
            chosen = [rows[paths[number]] for number in part.read]
            seen = _seen(labelled, part.images, np.array([row.best for row in chosen]))
            boxes = view.in_pictures(np.tile([0.0, 0.0, 1.0, 1.0], (len(part.read), 1)), part.sizes)
            for number, row, image, extra, box in zip(part.read, chosen, part.thumbnails, seen, boxes, strict=True):
                name, label = one_line(row.name), one_line(labelled.support.class_names[row.best])
                parts = [_picture(image, name, THUMBNAIL)]
                if extra is not None and extra.dtype == np.uint8:
                    parts.append(_picture(extra, f"crop of {name}", THUMBNAIL))
                elif extra is not None:
                    parts.append(
                        _picture(overlaid(image, extra, box), f"activation map of {label} over {name}", THUMBNAIL)
                    )
                shown[number - part.start] = parts
        yield from shown


def _seen(labelled: Labelled, images: np.ndarray, labels: np.ndarray) -> Iterable[np.ndarray | None]:
    """For each image, a crop (uint8), an activation map (float), or None where the network has neither."""
    if labelled.run.method.locates:
        return labelled.run.locate(images, batch_size=labelled.classifier.frozen.batch_size).crop
    if labelled.classifier.has_maps:
        return labelled.classifier.activation_maps(images, labels)
    return itertools.repeat(None, len(images))


def read_thumbnails(labelled: Labels, paths: Sequence[Path], thumbnail: int) -> Iterator[Any]:
    """These pictures as `fsjax.data.read_pictures` gives them, with thumbnails of so many pixels."""
    run = labelled.run
    return data.read_pictures(
        paths, run.config.data, run.info, max_pixels=labelled.max_pixels, thumbnail=thumbnail, chunk=_CHUNK
    )


def _picture(image: np.ndarray, alt: str, size: int) -> Html:
    """A picture at most so large; tiny ones are enlarged, and kept exactly."""
    height, width = image.shape[:2]
    times = max(1, size // 2 // max(height, width))
    return picture(image, alt=alt, width=times * width, lossy=max(height, width) > 64)


def percent(share: float) -> str:
    """Such as "98.8 %"."""
    return f"{100 * share:.1f} %"
