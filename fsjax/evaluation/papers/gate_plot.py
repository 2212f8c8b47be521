"""A picture of a run's gates: how they are distributed, and their mean by the number of base classes in the task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.evaluation.analysis.plots import new_figure, write_png
from fsjax.evaluation.papers.gates import GateReport

# Blue and orange of Okabe and Ito, which colour-blind readers tell apart.
_BASE, _NOVEL = "#0072B2", "#E69F00"


def draw_gates(gates: Sequence[GateReport], caption: str, path: str | Path, *, way: int | None = None) -> None:
    """Draw gates, a column each.

    Below, the grey wedge holds the slopes of 95 % of the permutations of "base" and "novel" among the classes: a line
    that leaves it goes with the share of base classes more than it would by chance.

    Args:
      gates: of a run.
      caption: what they are of.
      path: of the PNG file: 600 pixels per column, 1,040 high.
      way: classes of a task; None where their number varies, and for no wedge.
    """
    figure = new_figure(3.0 * len(gates), 5.2)
    axes = figure.subplots(2, len(gates), squeeze=False, sharex="row", sharey="row")
    for (top, bottom), gate in zip(axes.T, gates, strict=True):
        _draw_distribution(top, gate)
        _draw_by_base_classes(bottom, gate, way)
    axes[0, 0].set_ylabel("density over images and channels", fontsize=8)
    axes[1, 0].set_ylabel("mean gate − mean of all tasks,\n± 95 % over tasks", fontsize=8)
    axes[0, 0].legend(frameon=False, fontsize=7, loc="upper left")
    if way is not None:
        axes[1, 0].legend(frameon=False, fontsize=7, loc="upper left")
    figure.suptitle(caption, fontsize=8)
    write_png(figure, path)


def _draw_distribution(axis: Any, gate: GateReport) -> None:
    for density, color, name in ((gate.base, _BASE, "base"), (gate.novel, _NOVEL, "novel")):
        axis.stairs(density, gate.edges, color=color, fill=True, alpha=0.25)
        axis.stairs(density, gate.edges, color=color, linewidth=1.2, label=f"images of {name} classes")
    numbers = gate.numbers
    over = ", ".join(f"{what} {numbers[f'std_{what}']:.3f}" for what in ("channels", "images", "tasks"))
    title = f"{gate.name}, {numbers['channels']} channels, mean {numbers['mean']:.3f}\nstd: {over}"
    axis.set_title(title, fontsize=7.5)
    axis.set_xlabel("gate", fontsize=8)
    _style(axis)


def _draw_by_base_classes(axis: Any, gate: GateReport, way: int | None) -> None:
    rows, slope = gate.numbers["by_base_classes"], gate.numbers["slope"]
    x, y, tasks = (np.array([row[name] for row in rows]) for name in ("base_classes", "gate", "tasks"))
    if way is not None:
        from_mean = (x - np.average(x, weights=tasks)) / way
        wedge = [end * from_mean for end in slope["permuted"]]
        axis.fill_between(x, *wedge, color="0.85", linewidth=0, label="95 % with classes permuted")
    widths = [row["interval"] or 0.0 for row in rows]  # one task has no interval
    axis.errorbar(x, y - np.average(y, weights=tasks), widths, color=_BASE, marker="o", ms=4, capsize=3, lw=1.2)
    axis.set_title(f"slope {slope['value']:+.2g}, p {slope['p_value']:.2g}", fontsize=8)
    axis.set_xlabel("base classes in the task", fontsize=8)
    axis.set_xticks(x)
    _style(axis)


def _style(axis: Any) -> None:
    axis.tick_params(labelsize=7, color="0.6")
    axis.spines[:].set_color("0.6")
    axis.grid(color="0.9", linewidth=0.5)
    axis.set_axisbelow(True)
