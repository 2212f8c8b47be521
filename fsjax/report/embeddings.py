"""The section of embeddings: some classes by t-SNE, and the scatter within and between all classes."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from fsjax.errors import UserError
from fsjax.evaluation.embedding_maps import Drawing, project
from fsjax.evaluation.parts import readable
from fsjax.evaluation.scatter import FEWEST_CLASSES, Scatter, scatter, with_interval
from fsjax.pages import Html, scatter_chart, section, table, tag
from fsjax.report.words import counted, note, side_by_side

# What is drawn, at most.
CLASSES, IMAGES = 10, 1000
_PERPLEXITY = 30.0
# t-SNE of fewer images shows nothing.
_FEWEST = 12


class Embedded(Protocol):
    """What has embeddings: `Classified` and `Tasked`."""

    name: str
    class_names: tuple[str, ...]
    labels: np.ndarray
    embeddings: np.ndarray


def embeddings(found: Sequence[Embedded], split: str) -> Html:
    """The section."""
    rows, charts = [], []
    for run in found:
        try:
            rows.append([run.name, *_numbers(scatter(run.embeddings, run.labels))])
            charts.append(_chart(run, alone=len(found) == 1))
        except UserError as error:
            charts.append(note(f"{run.name}: {error}."))
    header = ["Run", "Images", "Classes", "W", "B", "W/B", "W/B without bias"]
    return section(
        "Embeddings",
        note(
            f"Of the {split} split, brought to length 1. W is the mean squared distance of an image to the mean of its "
            "class, B that of the class means to their mean; W/B is small where classes are tight and far apart. That "
            "without the bias of few images is to be compared, of runs and of parts; its 95 % interval is by jackknife "
            f"over the classes, of {FEWEST_CLASSES} or more."
        ),
        table(header, rows, caption="Scatter within (W) and between (B) classes, of all images", numeric=range(1, 7))
        if rows
        else None,
        side_by_side(*charts),
        anchor="embeddings",
    )


def _numbers(found: Scatter) -> list[Any]:
    unbiased = with_interval(found.unbiased, found.interval, digits=2)
    ratio = with_interval(found.ratio, None, digits=2)
    return [f"{found.images:,}", found.classes, f"{found.within:.3f}", f"{found.between:.3f}", ratio, unbiased]


def chosen(labels: np.ndarray, *, classes: int = CLASSES, images: int = IMAGES, seed: int = 0) -> np.ndarray:
    """Positions of the images that are drawn, the same for all runs with these labels.

    Args:
      labels: `[n]`.
      classes: how many at most, by chance where there are more.
      images: how many at most, as many of each class, by chance.
      seed: of chance.

    Returns:
      Positions `[m]`, those of a class together.
    """
    rng = np.random.default_rng(seed)
    shown = np.sort(rng.permutation(np.unique(labels))[:classes])
    each = images // max(len(shown), 1)
    return np.concatenate([np.sort(rng.permutation(np.flatnonzero(labels == label))[:each]) for label in shown])


def _chart(run: Embedded, *, alone: bool) -> Html:
    positions = chosen(run.labels)
    labels, count = run.labels[positions], len(positions)
    if count < _FEWEST:
        return note(f"{run.name}: no t-SNE of {counted(count, 'image')}.")
    perplexity = min(_PERPLEXITY, (count - 1) / 3)
    points = project(run.embeddings[positions], Drawing(perplexity=perplexity))
    shown, kinds = np.unique(labels, return_inverse=True)
    total = len(np.unique(run.labels))
    of = f"{len(shown)} classes" if len(shown) == total else f"{len(shown)} of {total} classes, chosen by chance"
    title = "t-SNE" if alone else f"t-SNE of {run.name}"
    names = [readable(run.class_names[label]) for label in shown]
    return tag(
        "div",
        scatter_chart(points, kinds, names, title=title),
        note(f"{counted(count, 'image')} of {of}; perplexity {perplexity:.3g}, seed 0. Large distances mean little."),
    )
