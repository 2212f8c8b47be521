"""Class activation maps: where in a picture a network sees its class (Zhou et al. 2016; Fig. 3 of the DC paper)."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.analysis.plots import new_figure, write_png
from fsjax.evaluation.few_shot.class_pools import readable_names
from fsjax.evaluation.few_shot.evaluator import Evaluator
from fsjax.losses.arithmetic.similarity import unit
from fsjax.methods.rules import check_features, prototypes

_SPEC = data.EpisodeSpec(way=5, shot=5, query=1)
# Of the heat over the picture, at its hottest.
_OPACITY = 0.55


def class_activation_maps(maps: jax.Array, classes: jax.Array) -> jax.Array:
    """The inner product of each position's features with the direction of a class.

    Args:
      maps: `[n, h, w, dim]` last feature maps.
      classes: `[n, dim]`, for each image the weights or the prototype of its class.

    Returns:
      `[n, h, w]`, not normalised.
    """
    return jnp.einsum("nhwd,nd->nhw", maps, unit(classes))


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """A picture with its activation map.

    Attributes:
      image: uint8 `[height, width, channels]`.
      heat: float `[h, w]`.
      title: kind and name of its class.
      right: whether it is classified rightly, among the classes of its task or among all base classes.
    """

    image: np.ndarray
    heat: np.ndarray
    title: str
    right: bool


def activation_rows(evaluator: Evaluator, classes: str, *, count: int, seed: int) -> list[Row]:
    """Pictures with the activation maps of their own class.

    Args:
      evaluator: of a trained run.
      classes: "novel": queries of 5-way 5-shot tasks, against the prototypes of the task. "base": held-out pictures of
        base classes, against the class weights where the method has learned some, else as novel ones.
      count: how many; one of each task.
      seed: of the tasks.

    Raises:
      UserError: for a network whose features have no positions, and for data that lack such pictures.
    """
    check_features(evaluator.method.encoder, ("dense",))
    examples, bank = evaluator.examples(classes), evaluator.bank(classes, ())
    data.check_feasible(bank.table, _SPEC, bank.class_names, bank.where)
    drawn = data.draw_episodes(bank.table, _SPEC, seed=seed, start=0, count=count)
    queries, labels = drawn.query[:, 0, 0], drawn.classes[:, 0]
    rule = evaluator.method.rule(evaluator.params)
    weights = evaluator.method.class_weights(evaluator.params) if classes == "base" else None
    # All features of the few pictures that are drawn, in the order of the tasks.
    names = tuple(dict.fromkeys((*rule.features, "dense")))
    support = evaluator.features_at(examples, drawn.support.ravel(), names)[rule.support_pool]
    found = evaluator.features_at(examples, queries, names)
    if weights is not None and weights[0] != "flatten":
        candidates = jnp.broadcast_to(weights[1], (count, *weights[1].shape))
        target = labels
    else:
        support = support.reshape(*drawn.support.shape, *support.shape[1:])
        candidates, target = prototypes(jnp.asarray(support), unit_support=rule.unit_support), np.zeros(count, int)
    scores = rule.scores(jnp.asarray(found[rule.query_pool][:, None]), candidates)
    right = np.argmax(scores[:, 0], axis=-1) == target
    own = candidates[np.arange(count), target]
    if own.shape[-1] != found["dense"].shape[-1]:
        raise UserError("flattened maps have a weight for each position: there is no activation map of a class")
    side = evaluator.map_shape
    heats = class_activation_maps(jnp.asarray(found["dense"].reshape(count, *side, -1)), own)
    pictures = data.images_at(examples, queries)
    class_names = readable_names(bank.class_names)
    return [
        Row(picture, np.asarray(heat), f"{classes}: {class_names[label]}", bool(good))
        for picture, heat, label, good in zip(pictures, heats, labels, right, strict=True)
    ]


def draw_activation_maps(columns: Mapping[str, Sequence[Row]], path: str | Path) -> None:
    """Draw pictures by row: the picture, and its activation map in each run.

    Args:
      columns: by name of the run, its rows; the pictures of all runs must be the same.
      path: of the PNG file: 340 pixels per column, 360 a row.

    Raises:
      UserError: if the runs show different pictures.
    """
    names, rows = list(columns), list(zip(*columns.values(), strict=True))
    for row in rows:
        if any(other.image.shape != row[0].image.shape or (other.image != row[0].image).any() for other in row):
            raise UserError("the runs were trained on different data or class splits: draw them one by one")
    figure = new_figure(1.7 * (1 + len(names)), 1.8 * len(rows))
    axes = figure.subplots(len(rows), 1 + len(names), squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        picture = row[0].image.squeeze()
        line[0].imshow(picture, cmap="gray", vmin=0, vmax=255)
        line[0].set_title(row[0].title, fontsize=7)
        for axis, name, shown in zip(line[1:], names, row, strict=True):
            axis.imshow(overlay(shown.image, shown.heat))
            axis.set_title(f"{name} {'✓' if shown.right else '✗'}", fontsize=7, color="black" if shown.right else "red")
        for axis in line:
            axis.set_axis_off()
    write_png(figure, path)


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture under its activation map, from blue, the coolest position, to red, the hottest.

    Args:
      image: uint8 `[height, width, channels]`.
      heat: float `[h, w]`.

    Returns:
      float `[height, width, 3]` in 0..1.
    """
    from matplotlib import colormaps

    height, width = image.shape[:2]
    heat = np.asarray(jax.image.resize(jnp.asarray(heat), (height, width), "cubic"))
    heat = (heat - heat.min()) / max(np.ptp(heat), 1e-12)
    colors = colormaps["jet"](heat)[..., :3]
    picture = np.broadcast_to(image / 255, (height, width, 3))
    return (1 - _OPACITY) * picture + _OPACITY * colors
