"""The section of embeddings: some classes by t-SNE, and the scatter within and between all classes."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from fsjax.errors import UserError, counted
from fsjax.evaluation.analysis.embedding_maps import Drawing, project
from fsjax.evaluation.analysis.scatter import FEWEST_CLASSES, Scatter, scatter, with_interval
from fsjax.evaluation.few_shot.class_pools import readable_names
from fsjax.pages import Html, scatter_chart, section, side_by_side, table, tag
from fsjax.report.wording import note

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


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """What is shown of a run's embeddings: the others need not be kept.

    Attributes:
      name: of the run.
      class_names: by label.
      scatter: of all its embeddings, or why there is none.
      classes: of all its images, how many.
      labels: int `[m]`, of the chosen images.
      embeddings: `[m, dim]`, theirs.
    """

    name: str
    class_names: tuple[str, ...]
    scatter: Scatter | str
    classes: int
    labels: np.ndarray
    embeddings: np.ndarray


def shown(run: Embedded) -> Shown:
    """The scatter of a run's embeddings, and those that are drawn."""
    try:
        found: Scatter | str = scatter(run.embeddings, run.labels)
    except UserError as error:
        found = str(error)
    positions = chosen(run.labels)
    classes = len(np.unique(run.labels))
    # Indices give copies: of a slice all embeddings would stay in memory.
    return Shown(run.name, run.class_names, found, classes, run.labels[positions], run.embeddings[positions])


def embeddings(found: Sequence[Shown], split: str) -> Html:
    """The section."""
    rows, charts = [], []
    for run in found:
        if isinstance(run.scatter, str):
            charts.append(note(f"{run.name}: {run.scatter}."))
            continue
        rows.append([run.name, *_numbers(run.scatter)])
        charts.append(_chart(run, alone=len(found) == 1))
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


def _chart(run: Shown, *, alone: bool) -> Html:
    count = len(run.labels)
    if count < _FEWEST:
        return note(f"{run.name}: no t-SNE of {counted(count, 'image')}.")
    perplexity = min(_PERPLEXITY, (count - 1) / 3)
    points = project(run.embeddings, Drawing(perplexity=perplexity))
    drawn, kinds = np.unique(run.labels, return_inverse=True)
    few = len(drawn) < run.classes
    of = f"{len(drawn)} of {run.classes} classes, chosen by chance" if few else f"{len(drawn)} classes"
    title = "t-SNE" if alone else f"t-SNE of {run.name}"
    names = readable_names([run.class_names[label] for label in drawn])
    return tag(
        "div",
        scatter_chart(points, kinds, names, title=title),
        note(f"{counted(count, 'image')} of {of}; perplexity {perplexity:.3g}, seed 0. Large distances mean little."),
    )
