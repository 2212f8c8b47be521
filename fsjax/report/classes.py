"""The section of a classifier's own classes: confusions, accuracy by class, and the most confident mistakes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fsjax.errors import counted
from fsjax.evaluation import metrics
from fsjax.evaluation.few_shot.class_pools import readable_names
from fsjax.evaluation.few_shot.statistics import wilson_interval
from fsjax.evaluation.metrics import FEW, MANY
from fsjax.pages import Html, card, cards, heat_map, section, side_by_side, table, tag
from fsjax.pages.heat import MAX_NUMBERS
from fsjax.report.classified import Classified, Mistake
from fsjax.report.thumbnails import thumbnail
from fsjax.report.wording import NONE, heading, note, percent

# Of confused pairs.
_LISTED = 10


def classes(found: Sequence[Classified], split: str) -> Html:
    """The section, of runs that classify this split."""
    return section(
        "Classes",
        note(f"Of the {split} split, every image once."),
        _by_class(found),
        _by_number(found),
        [_of_run(run, alone=len(found) == 1) for run in found],
        anchor="classes",
    )


def accuracy_in_words(found: Classified) -> str:
    """ "97.22 % [95.0, 98.5] of 360 images"."""
    low, high = wilson_interval(int(found.right.sum()), len(found.labels))
    images = counted(len(found.labels), "image")
    return f"{percent(found.right.mean())} % [{percent(low)}, {percent(high)}] of {images}"


def class_accuracy(found: Classified) -> np.ndarray:
    """float64 `[classes]`, NaN for a class without images."""
    confusion = found.confusion
    total = confusion.sum(axis=1)
    return np.divide(np.diag(confusion), total, out=np.full(len(total), np.nan), where=total > 0)


def _by_class(found: Sequence[Classified]) -> list[Html]:
    """A table of all runs for each group of the same classes, the hardest class of the first run on top."""
    tables = []
    for group in _groups(found):
        accuracies = [class_accuracy(run) for run in group]
        counts, training = np.bincount(group[0].labels, minlength=len(group[0].class_names)), group[0].training
        names = readable_names(group[0].class_names)
        # NaN, of classes without images, are sorted last.
        rows: list[list[Any]] = [
            [
                names[label],
                int(training[label]),
                int(counts[label]),
                *(NONE if np.isnan(of[label]) else percent(of[label], 1) for of in accuracies),
            ]
            for label in np.argsort(accuracies[0], kind="stable")
        ]
        columns = [f"Accuracy of {run.name}, %" for run in group] if len(found) > 1 else ["Accuracy, %"]
        header = ["Class", "Training images", "Images", *columns]
        numeric = range(1, len(header))
        shown = table(header, rows, caption="Accuracy by class", numeric=numeric, sortable=True)
        words = f"Accuracy by class ({len(rows)} classes)"
        tables.append(shown if len(rows) <= MAX_NUMBERS else tag("details", tag("summary", words), shown))
    return tables


def _groups(found: Sequence[Classified]) -> list[list[Classified]]:
    """Runs of the same classes, images and numbers of training images together."""
    groups: list[list[Classified]] = []
    for run in found:
        for group in groups:
            if group[0].same_images(run) and np.array_equal(group[0].training, run.training):
                group.append(run)
                break
        else:
            groups.append([run])
    return groups


def shot_groups(found: Classified) -> dict[str, float]:
    """Mean accuracy of the classes with many, some and few training images; only of groups that have a class."""
    words = {"many": f"more than {MANY}", "medium": f"{FEW} to {MANY}", "few": f"fewer than {FEW}"}
    groups = metrics.shot_groups(class_accuracy(found), found.training)
    return {f"{name} ({words[name]})": accuracy for name, accuracy in groups.items()}


def _by_number(found: Sequence[Classified]) -> Html | None:
    """Accuracy by the number of training images, where it differs enough to matter."""
    groups = {run.name: shot_groups(run) for run in found}
    names = list(dict.fromkeys(name for of in groups.values() for name in of))
    if all(len(of) < 2 for of in groups.values()):
        return None
    rows = [[run, *(percent(of.get(name)) for name in names)] for run, of in groups.items()]
    header = ["Run", *(f"{name}, %" for name in names)]
    caption = "Mean accuracy of classes by their number of training images"
    return table(header, rows, caption=caption, numeric=range(1, len(header)))


def _of_run(found: Classified, *, alone: bool) -> Html:
    names = readable_names(found.class_names)
    title = "Confusions" if alone else f"Confusions of {found.name}"
    parts = [
        None if alone else heading(found.name),
        tag("p", f"Accuracy {accuracy_in_words(found)}, at step {found.step:,}."),
        side_by_side(
            heat_map(found.confusion, names, title=title, row_label="class", column_label="taken for"),
            # A larger heat map lists them itself.
            _pairs(found, names) if len(names) <= MAX_NUMBERS else None,
        ),
        _mistakes(found, names, alone=alone),
    ]
    return tag("div", parts)


def confused_pairs(confusion: np.ndarray, most: int = _LISTED) -> list[tuple[int, int]]:
    """Pairs (class, taken for) by how many images they have, the most first; those without any are left out."""
    beside = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-beside, axis=None, kind="stable")[:most]
    pairs = zip(*np.unravel_index(order, confusion.shape), strict=True)
    return [(int(row), int(column)) for row, column in pairs if beside[row, column] > 0]


def _pairs(found: Classified, names: Sequence[str]) -> Html | None:
    confusion = found.confusion
    rows = [
        [names[i], names[j], int(confusion[i, j]), percent(confusion[i, j] / confusion[i].sum(), 1)]
        for i, j in confused_pairs(confusion)
    ]
    if not rows:
        return None
    header = ["Class", "Taken for", "Images", "Of the class, %"]
    return table(header, rows, caption="Most confused pairs", numeric=(2, 3))


def _mistakes(found: Classified, names: Sequence[str], *, alone: bool) -> Html:
    wrong = int((~found.right).sum())
    if not wrong:
        return note("No image is classified wrongly.")
    if not found.mistakes:
        return note(f"{counted(wrong, 'image')} classified wrongly; pictures of none were asked for.")
    beside = f" Beside each picture: {found.seen}." if found.seen else _no_maps(found)
    words = (
        f"{counted(len(found.mistakes), 'image')} of {wrong:,} that are classified wrongly, the surest first. The "
        f"probability is the softmax of the scores of the run's own rule.{beside}"
    )
    return tag(
        "div",
        tag("h3" if alone else "h4", "Most confident mistakes"),
        note(words),
        cards(*[_mistake(mistake, names, found.seen) for mistake in found.mistakes]),
    )


def _no_maps(found: Classified) -> str:
    return " There are no activation maps: this classifier does not read pooled maps linearly."


def _mistake(found: Mistake, names: Sequence[str], seen: str) -> Html:
    label, predicted = names[found.label], names[found.predicted]
    pictures = [thumbnail(found.image, alt=f"{label}, taken for {predicted}", width=104)]
    if found.seen is not None:
        pictures.append(thumbnail(found.seen, alt=f"{label}: {seen}", width=104))
    return card(
        tag("div", pictures, style="display:flex;flex-wrap:wrap;gap:.4rem"),
        tag("p", tag("strong", label), f" taken for {predicted}"),
        note(f"{percent(found.confidence, 1)} % against {percent(found.own, 1)} %; image {found.position:,}"),
        label=label,
    )
