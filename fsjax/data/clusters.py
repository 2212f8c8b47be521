"""Appearance clusters of the training images: a file of numbers, and how common each image's cluster is."""

import io
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from fsjax.data.errors import DataError
from fsjax.data.sources import Part
from fsjax.files import write_file

CLASSES = "class"


def save_clusters(path: str | Path, clusters: np.ndarray, items: np.ndarray, *, source: str) -> None:
    """Write the clusters of a training split to an .npz file.

    Args:
      path: of the file; its name ends with .npz.
      clusters: `[n]` integers, the cluster of each image.
      items: `[n]` int64, which image of its source each is (`Splits.items`), so that a run on another part of the same
        source finds its own images.
      source: the name of the data (`DataInfo.name`).
    """
    stored: dict[str, Any] = {"clusters": np.asarray(clusters, np.int32), "items": np.asarray(items, np.int64)}
    buffer = io.BytesIO()
    np.savez(buffer, source=np.str_(source), **stored)
    write_file(Path(path), buffer.getvalue())


def cluster_shares(where: str, train: Part, *, source: str) -> np.ndarray | None:
    """How common the appearance of each training image is: the share of the training split that is in its cluster.

    Args:
      where: `config.data.clusters`: "" for none; "class", the classes are the clusters; an .npz file of
        `save_clusters`, which may hold more images than these; or an .npy file of `[n]` integers, the clusters of the
        training split as it is loaded, after all that the config and the seed take out of it.
      train: the training split.
      source: the name of the data it is of.

    Returns:
      float32 `[n]` in (0, 1], or None for "".

    Raises:
      DataError: for a file that is not there or holds something else, or clusters of other images.
    """
    if not where:
        return None
    clusters = train.labels if where == CLASSES else _read(where, train, source)
    _, which, counts = np.unique(clusters, return_inverse=True, return_counts=True)
    return (counts / len(clusters)).astype(np.float32)[which]


def _read(where: str, train: Part, source: str) -> np.ndarray:
    path = Path(where).expanduser()
    if not path.is_file():
        raise DataError(
            f"data.clusters={where!r}: there is no such file; `fsjax cluster RUN --out clusters.npz` makes one from a "
            f'trained run, and data.clusters="{CLASSES}" takes the classes'
        )
    try:
        content = np.load(path, allow_pickle=False)
        named = hasattr(content, "files")
        items, clusters = (content["items"], content["clusters"]) if named else (None, content)
        of = str(content["source"]) if named else source
    except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
        raise DataError(
            f"data.clusters={where!r} cannot be read ({error}): it must be an .npz file of `fsjax cluster`, or an .npy "
            "file of one integer for each training image"
        ) from error
    if clusters.ndim != 1 or not np.issubdtype(clusters.dtype, np.integer):
        raise DataError(
            f"data.clusters={where!r} holds {clusters.dtype} of shape {clusters.shape}: it must be one integer for "
            "each training image"
        )
    if of != source:
        raise DataError(f"data.clusters={where!r} holds clusters of {of}, and these data are {source}")
    return _by_position(where, clusters, train) if items is None else _by_item(where, items, clusters, train)


def _by_position(where: str, clusters: np.ndarray, train: Part) -> np.ndarray:
    if len(clusters) != len(train):
        raise DataError(
            f"data.clusters={where!r} holds {len(clusters)} numbers, and the training split has {len(train)} images: "
            "an .npy file is of the split as it is loaded, after data.validation, data.limit and the like"
        )
    return clusters


def _by_item(where: str, items: np.ndarray, clusters: np.ndarray, train: Part) -> np.ndarray:
    found = np.isin(train.items, items)
    if not found.all():
        first = train.locate(train.items[~found][0])
        raise DataError(
            f"data.clusters={where!r} holds clusters of {len(items)} images, and {np.sum(~found)} of the {len(train)} "
            f"training images are not among them, such as {first}: make it with a run on all of them "
            "(`fsjax cluster`)"
        )
    order = np.argsort(items)
    return clusters[order[np.searchsorted(items, train.items, sorter=order)]]
