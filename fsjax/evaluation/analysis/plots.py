"""Figures of a run, drawn without a display and without pyplot's global state."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.files import write_file

MAX_CLASSES = 10


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib `Figure` of so many inches, of 200 pixels each."""
    # Imported where something is drawn: training and measuring do without.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=200, layout="constrained")


def write_png(figure: Any, path: str | Path) -> None:
    """Write a figure as a PNG file, whole or not at all.

    Raises:
      UserError: if it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    write_file(Path(path), buffer.getvalue())


def feature_scatter(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]],
    path: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    means: np.ndarray | None = None,
) -> None:
    """Draws 2-D features by class, one panel per split, as in Fig. 2 of the ICU paper.

    Every example is drawn, in an order mixed over the classes so that none hides under the last. Panels share
    their axes, and both axes their scale.

    Args:
      panels: from a title to `[examples, 2]` features and `[examples]` integer labels from 0.
      path: where to write the PNG: 640 pixels per panel and 240 for the legend wide, 680 high.
      class_names: names for the legend, by label (None: the labels themselves).
      means: `[classes, 2]` class means, drawn as crosses in every panel (None: none).

    Raises:
      ValueError: if there is nothing to draw, features are not 2-D or not finite, labels do not match them,
        or there are more than 10 classes.
    """
    if not panels:
        raise ValueError("feature_scatter needs at least one panel")
    panels = {title: (np.asarray(x), np.asarray(y)) for title, (x, y) in panels.items()}
    for title, (features, labels) in panels.items():
        _check_panel(title, features, labels)
    if means is not None and (np.ndim(means) != 2 or np.shape(means)[1] != 2):
        raise ValueError(f"means must be [classes, 2], not of shape {np.shape(means)}")
    classes = np.unique(np.concatenate([labels for _, labels in panels.values()]))
    if classes[0] < 0 or classes[-1] >= MAX_CLASSES:
        raise ValueError(
            f"labels run from {classes[0]} to {classes[-1]}: a scatter tells at most {MAX_CLASSES} classes "
            "apart by colour, labels 0 to 9"
        )
    if class_names is not None and len(class_names) <= classes[-1]:
        raise ValueError(f"label {classes[-1]} has no name among the {len(class_names)} class_names")

    drawn = np.concatenate([x for x, _ in panels.values()] + ([] if means is None else [np.asarray(means)]))
    center = (drawn.min(0) + drawn.max(0)) / 2
    span = np.array([-0.53, 0.53]) * max(np.ptp(drawn, axis=0).max(), 1e-6)
    from matplotlib import colormaps

    tab10: Any = colormaps["tab10"]  # a list of colours, which other maps have not
    colors = np.asarray(tab10.colors)
    figure = new_figure(3.2 * len(panels) + 1.2, 3.4)
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axis, (title, (features, labels)) in zip(axes, panels.items(), strict=True):
        order = np.random.default_rng(0).permutation(len(labels))
        size = np.clip(4000 / len(labels), 0.6, 12)
        axis.scatter(*features[order].T, s=size, c=colors[labels[order]], alpha=0.6, linewidths=0)
        if means is not None:
            axis.scatter(*np.asarray(means).T, s=60, c="white", marker="X", linewidths=0)
            axis.scatter(*np.asarray(means).T, s=30, c="black", marker="x", linewidths=1.2)
        axis.set_title(f"{title} ({len(labels):,} examples)", fontsize=9)
        axis.set(xlim=center[0] + span, ylim=center[1] + span, aspect="equal")
        axis.grid(color="0.9", linewidth=0.5)
        axis.set_axisbelow(True)
        axis.tick_params(labelsize=7, color="0.6")
        axis.spines[:].set_color("0.6")
    handles = [
        axes[-1].scatter([], [], s=24, color=colors[label], label=class_names[label] if class_names else str(label))
        for label in classes
    ]
    if means is not None:
        handles.append(axes[-1].scatter([], [], s=30, c="black", marker="x", linewidths=1.2, label="mean"))
    figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=8, handletextpad=0.2)
    write_png(figure, path)


def _check_panel(title: str, features: np.ndarray, labels: np.ndarray) -> None:
    if features.ndim != 2 or features.shape[1] != 2:
        raise ValueError(
            f"panel {title!r}: a scatter needs [examples, 2] features, not shape {features.shape}; take a "
            "network with a 2-D embedding (mnist_2d, or dim=2), or project the features first"
        )
    if labels.shape != features.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"panel {title!r}: {len(features)} features need as many integer labels, "
            f"not {labels.dtype} of shape {labels.shape}"
        )
    if not len(labels):
        raise ValueError(f"panel {title!r} has no examples")
    if not np.isfinite(features).all():
        raise ValueError(f"panel {title!r} has {np.sum(~np.isfinite(features).all(1))} features that are not finite")
