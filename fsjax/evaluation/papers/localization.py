"""How well predicted boxes cover the true ones, and pictures of both."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.analysis.plots import new_figure, write_png
from fsjax.evaluation.few_shot.statistics import Interval, mean_interval, paired_difference
from fsjax.methods.base import Method
from fsjax.methods.localization import Located

# The boxes that are compared with the true one, by the words of the report.
BOXES = {
    "predicted": "predicted box (AffNet)",
    "attention": "box of AttNet's map alone",
    "classifier": "box of the classifier's map",
    "whole": "the whole image",
}


def check_localizes(method: Method, where: str) -> None:
    """Raise a `UserError` for a run of a method that finds no boxes."""
    if not method.locates:
        raise UserError(f"{where} was not trained with method 'localization': it finds no boxes")


def as_pictures(images: np.ndarray, info: data.DataInfo) -> np.ndarray:
    """Normalised images `[n, h, w, c]` as uint8; 0, which is read outside of images, is the mean of the data."""
    pixels = 255 * (images * np.asarray(info.std) + np.asarray(info.mean))
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes `[..., 4]` (ymin, xmin, ymax, xmax), float64 `[...]`; 0 where both are empty."""
    first, second = (np.asarray(box, np.float64) for box in (first, second))
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    overlap = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(np.maximum(box[..., 2:] - box[..., :2], 0), axis=-1) for box in (first, second)]
    union = areas[0] + areas[1] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def boxes_of(located: Located) -> dict[str, np.ndarray]:
    """The boxes that are compared with the true ones, `[n, 4]`, by name (see `BOXES`)."""
    whole = np.tile([0.0, 0.0, 1.0, 1.0], (len(located.box), 1))
    boxes: tuple[Any, ...] = (located.box, located.attention_box, located.classifier_box, whole)
    return dict(zip(BOXES, boxes, strict=True))


def box_figures(boxes: Mapping[str, np.ndarray], true: np.ndarray) -> dict[str, dict[str, Any]]:
    """IoU with the true boxes of the predicted one and of those that it should beat.

    Args:
      boxes: `[n, 4]` by name, as `boxes_of` gives them, "predicted" among them.
      true: `[n, 4]`; rows with NaN, images whose box is not known, are left out.

    Returns:
      For each name the "mean", half-width of its 95 % "interval" (None for one image), "median", shares "above_0.5" and
      "above_0.7", and "images"; for all but "predicted" also "predicted_minus" with its own "mean" and "interval".

    Raises:
      UserError: if no true box is known.
    """
    known = ~np.isnan(true).any(axis=-1)
    if not known.any():
        raise UserError(f"of none of {len(true)} images a true box is known")
    ious = {name: box_iou(box[known], true[known]) for name, box in boxes.items()}
    figures = {}
    for name, iou in ious.items():
        figures[name] = {
            **_mean(mean_interval(iou)), "median": float(np.median(iou)),
            "above_0.5": float(np.mean(iou > 0.5)), "above_0.7": float(np.mean(iou > 0.7)), "images": len(iou),
        }  # fmt: skip
        if name != "predicted":
            figures[name]["predicted_minus"] = _mean(paired_difference(ious["predicted"], iou))
    return figures


def _mean(interval: Interval) -> dict[str, Any]:
    return {"mean": interval.mean, "interval": interval.half_width if interval.count > 1 else None}


def in_words(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures, one line per box."""
    lines = []
    for name, figure in figures.items():
        line = (
            f"{BOXES[name]:28} IoU {_with_interval(figure)}, median {figure['median']:.3f}; "
            f"above 0.5: {100 * figure['above_0.5']:.1f} %, above 0.7: {100 * figure['above_0.7']:.1f} %"
        )
        if "predicted_minus" in figure:
            line += f"; predicted minus this {_with_interval(figure['predicted_minus'], sign='+')}"
        lines.append(line)
    return "\n".join(lines)


def _with_interval(figure: Mapping[str, Any], *, sign: str = "") -> str:
    interval = "" if figure["interval"] is None else f" ± {figure['interval']:.3f}"
    return f"{figure['mean']:{sign}.3f}{interval}"


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """One picture of `draw_localizations`.

    Attributes:
      image: uint8 `[h, w, c]`, as the network sees it.
      attention: `[h', w']`, AttNet's map.
      box: the predicted one.
      crop: uint8, what the classifier sees.
      title: above the picture.
      prediction: above the crop.
      true: the true box, or None.
    """

    image: np.ndarray
    attention: np.ndarray
    box: np.ndarray
    crop: np.ndarray
    title: str
    prediction: str
    true: np.ndarray | None = None


def draw_localizations(rows: Sequence[Panel], path: str | Path) -> None:
    """Draw pictures by row: with the boxes (red: predicted, green: true), with AttNet's map, and the crop.

    Args:
      rows: at least one.
      path: of the PNG file.
    """
    figure = new_figure(5.4, 1.9 * len(rows))
    for line, row in zip(figure.subplots(len(rows), 3, squeeze=False), rows, strict=True):
        height, width = row.image.shape[:2]
        extent = (0, width, height, 0)
        for axis in line[:2]:
            axis.imshow(row.image.squeeze(), cmap="gray", vmin=0, vmax=255, extent=extent)
        line[1].imshow(row.attention, cmap="jet", alpha=0.5, extent=extent, interpolation="nearest")
        _rectangle(line[0], row.box, height, width, "red")
        words = ""
        if row.true is not None:
            _rectangle(line[0], row.true, height, width, "lime")
            words = f", IoU {float(box_iou(row.box, row.true)):.2f}"
        line[2].imshow(row.crop.squeeze(), cmap="gray", vmin=0, vmax=255)
        for axis, title in zip(line, (row.title + words, "AttNet's map", row.prediction), strict=True):
            axis.set_title(title, fontsize=6, parse_math=False)
            axis.set_axis_off()
    write_png(figure, path)


def _rectangle(axis: Any, box: np.ndarray, height: int, width: int, color: str) -> None:
    from matplotlib.patches import Rectangle

    top, left, bottom, right = np.asarray(box, float) * [height, width, height, width]
    axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=color, linewidth=1.2))
