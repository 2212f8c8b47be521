"""The teacher of a run: another run's network, whose scores and features a loss of distillation reads."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fsjax import data
from fsjax.errors import UserError
from fsjax.methods import build_method
from fsjax.methods.base import Method
from fsjax.methods.classification import TEACHER, Classification
from fsjax.training.restored import Restored, restored
from fsjax.training.start import data_facts, short
from fsjax.training.state import TrainState

logger = logging.getLogger("fsjax")


def find_teacher(config: ConfigDict, info: data.DataInfo) -> Restored | None:
    """The run that `config.teacher.run` names; None where it is empty.

    Raises:
      UserError: if there is no such run, if it has no classifier, or if its classes or images are others.
    """
    if not config.teacher.run:
        return None
    try:
        found = restored(Path(config.teacher.run).expanduser().absolute())
    except UserError as error:
        raise UserError(f"config.teacher.run={config.teacher.run}: {error}") from error
    ours = data_facts(json.loads(json.dumps(config.to_dict())), info.to_json())
    theirs = data_facts(json.loads(json.dumps(found.config.to_dict())), found.info.to_json())
    for name, value in theirs.items():
        if value != ours[name]:
            raise UserError(
                f"config.teacher.run={config.teacher.run} was trained with {name}={short(value)}, and this run has "
                f"{short(ours[name])}: a teacher has seen the same images, with the same labels"
            )
    return found


def taught(method: Method, teacher: Restored | None) -> Method:
    """The method with a teacher.

    Raises:
      UserError: if there is one, and the method's loss reads nothing of it.
    """
    if teacher is None:
        return method
    if not isinstance(method, Classification) or not set(method.reads) & set(TEACHER):
        raise UserError(
            "config.teacher.run names a teacher, and nothing learns from it: take the loss 'kd', 'nd' or 'dual_head', "
            "or leave it empty"
        )
    return dataclasses.replace(method, teacher=build_method(teacher.config, teacher.info))


def teacher_variables(method: Method, teacher: Restored) -> dict[str, Any]:
    """What a method with a teacher keeps of it in each checkpoint, as the collection "teacher".

    Args:
      method: the student's.
      teacher: see `find_teacher`.

    Returns:
      {"params", "collections"}, and {"means"} `[num_classes, dim]` if the loss reads "teacher_means": zeros, until
      `with_class_means` has passed the training images.
    """
    found: dict[str, Any] = {"params": teacher.params, "collections": teacher.collections}
    if "teacher_means" in method.reads and method.teacher is not None:
        image = jax.ShapeDtypeStruct((1, *teacher.info.image_shape), jnp.float32)
        dim = jax.eval_shape(method.teacher.embed, teacher.params, teacher.collections, image).shape[-1]
        found["means"] = jnp.zeros((teacher.info.num_classes, dim))
    return found


def with_class_means(
    state: TrainState, method: Method, teacher: Restored, splits: data.Splits, *, batch_size: int
) -> TrainState:
    """The state at step 0 with the class means of the teacher's features, if the method's loss reads them."""
    if "teacher_means" not in method.reads or method.teacher is None:
        return state
    means = jnp.asarray(class_means(method.teacher, teacher, splits, batch_size=batch_size), jnp.float32)
    of_teacher = {**state.collections["teacher"], "means": means}
    return state.replace(collections={**state.collections, "teacher": of_teacher})


def class_means(method: Method, teacher: Restored, splits: data.Splits, *, batch_size: int) -> np.ndarray:
    """Means of the teacher's embeddings of the training images by class, float64 `[num_classes, dim]`."""
    embed = jax.jit(method.embed)
    total = np.zeros(())
    counts = np.zeros(splits.info.num_classes)
    for batch in data.eval_batches(splits.train, batch_size=batch_size, info=splits.info):
        real = batch["weight"] > 0
        embeddings = np.asarray(embed(teacher.params, teacher.collections, batch["image"]), np.float64)[real]
        chosen = np.eye(len(counts))[batch["label"][real]]
        total = total + chosen.T @ embeddings
        counts += chosen.sum(axis=0)
    logger.info("class means of the teacher's features, over %d training images", counts.sum())
    return total / np.maximum(counts, 1)[:, None]
