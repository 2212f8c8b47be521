"""How well predicted boxes cover the true ones, and pictures of both."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.statistics import mean_interval, paired_difference
from fsjax.methods.localization import Localization, Located

# The boxes that are compared with the true one, by the words of the report.
BOXES = {
    "predicted": "predicted box (AffNet)",
    "attention": "box of AttNet's map alone",
    "classifier": "box of the classifier's map",
    "whole": "the whole image",
}


def check_localizes(method: Any, where: str) -> None:
    """Raise a `UserError` for a run of a method that finds no boxes."""
    if not isinstance(method, Localization):
        raise UserError(f"{where} was not trained with method 'localization': it finds no boxes")


def locate(
    method: Localization, params: Any, collections: Any, images: np.ndarray, info: data.DataInfo, *, batch_size: int
) -> Located:
    """Where a trained network sees the objects of images.

    Args:
      method, params, collections: of the run.
      images: uint8 `[n, h, w, c]`, as the run's data are.
      info: of the run's data.
      batch_size: images through the networks at once; the result does not depend on it.

    Returns:
      `Located` with NumPy arrays; `crop` uint8.
    """
    compiled = jax.jit(method.locate)
    images = np.asarray(images)
    batch_size = min(batch_size, max(len(images), 1))
    parts = []
    for start in range(0, max(len(images), 1), batch_size):
        some = data.normalize(images[start : start + batch_size], info)
        padded = np.pad(some, [(0, batch_size - len(some))] + [(0, 0)] * 3)
        located = compiled(params, collections, jnp.asarray(padded))
        located = located.replace(crop=_as_picture(located.crop, info))
        real = slice(len(some))
        parts.append(jax.tree.map(lambda x, real=real: np.asarray(x)[real], located))
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def _as_picture(crop: jax.Array, info: data.DataInfo) -> jax.Array:
    """Normalised crops as uint8; what lies outside of the image, 0 there, is the grey of the data's mean."""
    pixels = 255 * (crop * jnp.asarray(info.std) + jnp.asarray(info.mean))
    return jnp.clip(jnp.round(pixels), 0, 255).astype(jnp.uint8)


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes `[..., 4]` (ymin, xmin, ymax, xmax), float64 `[...]`; 0 where both are empty."""
    first, second = (np.asarray(box, np.float64) for box in (first, second))
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    overlap = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(np.maximum(box[..., 2:] - box[..., :2], 0), axis=-1) for box in (first, second)]
    union = areas[0] + areas[1] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def box_figures(located: Located, true: np.ndarray) -> dict[str, dict[str, Any]]:
    """IoU with the true boxes of the predicted one and of those that it should beat.

    Args:
      located: of n images.
      true: `[n, 4]`; rows with NaN, images whose box is not known, are left out.

    Returns:
      For each of `BOXES` the "mean", "median", half-width of the 95 % "interval", shares "above_0.5" and "above_0.7",
      and "images"; for all but the first also "predicted_minus" with its own paired "mean" and "interval".
    """
    known = ~np.isnan(true).any(axis=-1)
    whole = np.tile([0.0, 0.0, 1.0, 1.0], (len(true), 1))
    boxes = dict(zip(BOXES, (located.box, located.attention_box, located.classifier_box, whole), strict=True))
    ious = {name: box_iou(box[known], true[known]) for name, box in boxes.items()}
    figures = {}
    for name, iou in ious.items():
        interval = mean_interval(iou)
        figures[name] = {
            "mean": interval.mean, "interval": interval.half_width, "median": float(np.median(iou)),
            "above_0.5": float(np.mean(iou > 0.5)), "above_0.7": float(np.mean(iou > 0.7)), "images": len(iou),
        }  # fmt: skip
        if name != "predicted":
            difference = paired_difference(ious["predicted"], iou)
            figures[name]["predicted_minus"] = {"mean": difference.mean, "interval": difference.half_width}
    return figures


def in_words(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures, one line a box."""
    lines = []
    for name, figure in figures.items():
        line = (
            f"{BOXES[name]:28} IoU {figure['mean']:.3f} ± {figure['interval']:.3f}, median {figure['median']:.3f}; "
            f"above 0.5: {100 * figure['above_0.5']:.1f} %, above 0.7: {100 * figure['above_0.7']:.1f} %"
        )
        if "predicted_minus" in figure:
            difference = figure["predicted_minus"]
            line += f"; predicted minus this {difference['mean']:+.3f} ± {difference['interval']:.3f}"
        lines.append(line)
    return "\n".join(lines)


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


def panels(
    images: np.ndarray,
    located: Located,
    titles: Sequence[str],
    predictions: Sequence[str],
    true: np.ndarray | None = None,
) -> list[Panel]:
    """One `Panel` an image; a true box with NaN is none."""
    known = [None] * len(images) if true is None else [None if np.isnan(box).any() else box for box in true]
    return [
        Panel(image, attention, box, crop, title, prediction, of_image)
        for image, attention, box, crop, title, prediction, of_image in zip(
            images, located.attention, located.box, located.crop, titles, predictions, known, strict=True
        )
    ]


def draw_localizations(rows: Sequence[Panel], path: str | Path) -> None:
    """Draw pictures by row: with the boxes (red: predicted, green: true), with AttNet's map, and the crop.

    Args:
      rows: at least one.
      path: of the PNG file.
    """
    figure = Figure(figsize=(5.4, 1.9 * len(rows)), dpi=200, layout="constrained")
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
    FigureCanvasAgg(figure).print_png(str(path))


def _rectangle(axis: Any, box: np.ndarray, height: int, width: int, color: str) -> None:
    top, left, bottom, right = np.asarray(box, float) * [height, width, height, width]
    axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=color, linewidth=1.2))
