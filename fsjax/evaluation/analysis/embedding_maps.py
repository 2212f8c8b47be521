"""Pictures of embeddings by t-SNE: some classes of each part, a row per run (AFLM paper, Fig. 4)."""

import dataclasses
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.errors import UserError
from fsjax.evaluation.analysis.plots import new_figure, write_png
from fsjax.evaluation.analysis.scatter import Scatter, scatter, unit_length, with_interval
from fsjax.evaluation.few_shot.class_pools import readable_names
from fsjax.evaluation.few_shot.evaluator import Evaluator

# Okabe and Ito's colours, which colour-blind readers tell apart, grey for their yellow, which is faint on white; and a
# marker each, which needs no colour.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MAX_CLASSES = len(_COLORS)


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """The embeddings of one part of the data by one run.

    Attributes:
      part: "base", "novel", "train" or "validation".
      scatter: of all images.
      class_names: all of them, by label.
      shown: labels of the classes that are drawn.
      points: float `[n, 2]`, some images of these, by t-SNE.
      kinds: int `[n]`, which of `shown` each is of.
    """

    part: str
    scatter: Scatter
    class_names: tuple[str, ...]
    shown: np.ndarray
    points: np.ndarray
    kinds: np.ndarray


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What is drawn of a part.

    Attributes:
      classes: how many, at most 8.
      per_class: images of each, or all that it has.
      perplexity: of t-SNE: about how many neighbours of an image it looks at.
      seed: of the choice of classes and images, and of t-SNE.
      normalised: whether embeddings are brought to length 1, see `fsjax.evaluation.analysis.scatter`.
    """

    classes: int = 8
    per_class: int = 60
    perplexity: float = 30.0
    seed: int = 0
    normalised: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.classes <= MAX_CLASSES:
            raise UserError(f"{self.classes} classes cannot be drawn: colours tell 1 to {MAX_CLASSES} apart")
        if self.per_class < 1:
            raise UserError(f"{self.per_class} images per class: draw at least 1")
        if not self.perplexity > 0:
            raise UserError(f"perplexity={self.perplexity} must be above 0")


def embedding_panel(evaluator: Evaluator, part: str, drawing: Drawing) -> Panel:
    """The scatter of a part's embeddings, and some of them in two dimensions.

    The embeddings are those that the method's rule compares: pooled, also where its queries are dense maps.

    Args:
      evaluator: of a trained run.
      part: see `Evaluator.bank`.
      drawing: what to draw.

    Raises:
      UserError: if the data have no such part, or a part of fewer than two classes.
    """
    rule = evaluator.method.rule(evaluator.params)
    name = rule.support_pool if rule.query_pool == "dense" else rule.query_pool
    bank, labels = evaluator.bank(part, (name,)), evaluator.labels(part)
    embeddings = np.asarray(bank.features[name])
    found = scatter(embeddings, labels, normalised=drawing.normalised)
    shown, positions = choose(labels, drawing)
    points = project(embeddings[positions], drawing)
    return Panel(part, found, bank.class_names, shown, points, np.searchsorted(shown, labels[positions]))


def choose(labels: np.ndarray, drawing: Drawing) -> tuple[np.ndarray, np.ndarray]:
    """The classes and the images that are drawn, the same for every run with these labels.

    Args:
      labels: `[n]` of a part.
      drawing: how many.

    Returns:
      Sorted labels of the classes, and positions of the images in the part, those of a class together.
    """
    rng = np.random.default_rng(drawing.seed)
    shown = np.sort(rng.permutation(np.unique(labels))[: drawing.classes])
    images = [rng.permutation(np.flatnonzero(labels == label))[: drawing.per_class] for label in shown]
    return shown, np.concatenate(images)


def project(embeddings: np.ndarray, drawing: Drawing) -> np.ndarray:
    """Embeddings `[n, dim]` in two dimensions by t-SNE (van der Maaten and Hinton 2008), starting from PCA.

    Raises:
      UserError: for no more images than the perplexity.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(embeddings) <= drawing.perplexity:
        raise UserError(
            f"t-SNE of {len(embeddings)} images needs a perplexity below that, not {drawing.perplexity:g}: lower it, "
            "or draw more classes or images"
        )
    x = np.asarray(embeddings, np.float64)
    x = unit_length(x) if drawing.normalised else x
    start = "pca" if min(x.shape) >= 2 else "random"
    # On one thread: 480 images took 1.7 s so, and 5.6 s on two threads of a machine with other work. A machine draws
    # the same picture again; t-SNE magnifies the last bits, in which processors differ.
    with threadpool_limits(1):
        return TSNE(perplexity=drawing.perplexity, init=start, random_state=drawing.seed).fit_transform(x)


def draw_embeddings(names: Sequence[str], rows: Sequence[Sequence[Panel]], drawing: Drawing, path: str | Path) -> None:
    """Draw panels, a row per run and a column a part, with the classes of each column below it.

    Args:
      names: of the runs.
      rows: the panels of each run, the same parts in the same order.
      drawing: what they show.
      path: of the PNG file: 840 pixels per column, 720 a row, and the legend.

    Raises:
      UserError: if the runs have other classes.
    """
    check_same_classes(rows)
    columns = rows[0]
    lines = max(-(-len(panel.shown) // 2) for panel in columns)
    heights = [*[3.6] * len(rows), 0.19 * lines]
    figure = new_figure(4.2 * len(columns), sum(heights) + 0.5)
    grid = figure.subplots(len(heights), len(columns), squeeze=False, height_ratios=heights)
    for line, name, row in zip(grid[:-1], names, rows, strict=True):
        for axis, panel in zip(line, row, strict=True):
            _draw_panel(axis, panel)
        line[0].set_ylabel(name, fontsize=10)
    for axis, panel in zip(grid[-1], columns, strict=True):
        _draw_legend(axis, panel)
    figure.supxlabel(_caption(columns, drawing), fontsize=7)
    write_png(figure, path)


def check_same_classes(rows: Sequence[Sequence[Panel]]) -> None:
    """Raise a `UserError` unless each column is of the same classes in all rows."""
    for row in rows:
        if any(a.class_names != b.class_names for a, b in zip(rows[0], row, strict=True)):
            raise UserError("the runs were trained on different data or class splits: draw them one by one")


def _draw_panel(axis: Any, panel: Panel) -> None:
    # In an order mixed over the classes, so that none hides under the last.
    for position in np.random.default_rng(0).permutation(len(panel.points)):
        kind = panel.kinds[position]
        axis.scatter(*panel.points[position], **_style(kind))
    found = panel.scatter
    unbiased = with_interval(found.unbiased, found.interval, digits=2)
    title = f"{panel.part}: W {found.within:.3g}, B {found.between:.3g}, W/B without bias {unbiased}"
    axis.set_title(title, fontsize=8)
    axis.set(xticks=[], yticks=[])
    axis.set_aspect("equal", adjustable="datalim")
    axis.spines[:].set_color("0.7")


def _style(kind: int) -> dict[str, Any]:
    return {
        "s": 16,
        "color": _COLORS[kind],
        "marker": _MARKERS[kind],
        "alpha": 0.8,
        "edgecolors": "white",
        "linewidths": 0.3,
    }


def _draw_legend(axis: Any, panel: Panel) -> None:
    axis.set_axis_off()
    names = readable_names([panel.class_names[label] for label in panel.shown])
    handles = [axis.scatter([], [], label=name, **_style(kind)) for kind, name in enumerate(names)]
    axis.legend(handles=handles, loc="center", ncols=2, frameon=False, fontsize=7, handletextpad=0.1, markerscale=1.4)


def _caption(columns: Sequence[Panel], drawing: Drawing) -> str:
    counted = ", ".join(
        f"{panel.scatter.images:,} of {panel.scatter.classes} {panel.part} classes" for panel in columns
    )
    length = "embeddings brought to length 1" if drawing.normalised else "embeddings of any length"
    text = (
        f"t-SNE of up to {drawing.per_class} images per class, perplexity {drawing.perplexity:g}, seed {drawing.seed}; "
        f"{length}. W, B: scatter within and between classes, of all images ({counted}); W/B without bias, with its "
        "95 % interval by jackknife over classes."
    )
    return textwrap.fill(text, width=75 * len(columns))
