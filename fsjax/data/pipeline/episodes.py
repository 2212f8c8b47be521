"""Few-shot episodes: N ways, K shots and Q queries per class, drawn without replacement.

Episode i is a function of (seed, i, spec, table) alone. `fsjax.device_data.draw_episodes` draws the very same
ones inside a jit. The layout of the draws is part of the data of a run:

- The key is `fold(key(seed), EPISODE)`. Words `2d` and `2d + 1` of episode i are the two words that Threefry
  gives for the 64-bit counter with i above and d below.
- With W the most ways and S the most shots and the most queries of a class together: words `0..W-1` choose
  the classes; words `W + c·S .. W + c·S + S-1` choose the images of the c-th of them, support first.
- If ways, shots or queries vary: word `W + W·S` gives the way, the next W the shots of each class, and the
  next W the queries. An episode then keeps the first of its classes, of their support and of their queries.
- k of n things are chosen by the first k steps of a Fisher-Yates shuffle: step i swaps position i with
  position `i + word mod (n - i)` (see `partial_shuffle`).
"""

import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.data import random
from fsjax.data.errors import DataError
from fsjax.data.pipeline.episode_spec import (
    ClassTable,
    Count,
    EpisodeSpec,
    check_feasible,
    class_table,
    ends,
    parse_spec,
)
from fsjax.files import write_file

__all__ = [
    "ClassTable",
    "EpisodeDigest",
    "EpisodeSpec",
    "Episodes",
    "check_feasible",
    "class_table",
    "draw_episodes",
    "load_episodes",
    "parse_spec",
    "partial_shuffle",
]


@dataclasses.dataclass(frozen=True, eq=False)
class Episodes:
    """Drawn episodes; all arrays are int32, and -1 is padding at the end of an axis.

    Attributes:
      classes: `[n, way]` labels.
      support: `[n, way, shot]` positions in the split.
      query: `[n, way, query]` positions in the split.
      facts: what they were drawn from: `spec`, `seed`, `start` (number of the first), `images` (of the split).
    """

    classes: np.ndarray
    support: np.ndarray
    query: np.ndarray
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.classes)

    @functools.cached_property
    def hash(self) -> str:
        """16 hexadecimal digits that tell these episodes from others, the same on every platform."""
        digest = EpisodeDigest()
        digest.update(self.classes, self.support, self.query)
        return digest.hash

    def save(self, path: str | Path, **facts: Any) -> None:
        """Write the episodes to an `.npz` file that `load_episodes` reads.

        Args:
          path: of the file.
          **facts: of which data they are, as JSON types: `data="cifar_fs", split="novel"`.
        """
        described = json.dumps({**self.facts, **facts, "format": 1, "hash": self.hash})
        buffer = io.BytesIO()
        np.savez(buffer, classes=self.classes, support=self.support, query=self.query, facts=np.array(described))
        write_file(Path(path), buffer.getvalue())


class EpisodeDigest:
    """The hash of episodes that come in parts; how they are divided changes nothing."""

    def __init__(self) -> None:
        self._digests = [hashlib.sha256() for _ in range(3)]
        self._shapes = ""

    def update(self, classes: np.ndarray, support: np.ndarray, query: np.ndarray) -> None:
        """Add episodes; the arrays are as in `Episodes`."""
        arrays = (classes, support, query)
        self._shapes = repr([tuple(map(int, array.shape[1:])) for array in arrays])
        for digest, array in zip(self._digests, arrays, strict=True):
            digest.update(np.ascontiguousarray(array, "<i4").tobytes())

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the shapes and of the SHA-256 of each array."""
        parts = [self._shapes, *(digest.hexdigest() for digest in self._digests)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def draw_episodes(table: ClassTable, spec: EpisodeSpec, *, seed: int, start: int, count: int) -> Episodes:
    """Episodes `start`, ..., `start + count - 1` of a seed.

    Args:
      table: of the split's classes.
      spec: of the episodes.
      seed: any integer; its low 64 bits count.
      start: number of the first episode, from 0.
      count: how many.

    Raises:
      DataError: for a table that cannot make such episodes, and for numbers outside [0, 2**32).
    """
    check_feasible(table, spec)
    if start < 0 or count < 0 or start + count > 2**32:
        raise DataError(f"episodes {start} to {start + count - 1}: their numbers must be in 0..2**32 - 1")
    words = _words(seed, start, count, spec.words)
    way, images = spec.max_way, spec.images
    classes = partial_shuffle(words[:, :way], len(table.count))
    drawn = words[:, way : way + spec.rows].reshape(count, way, images)
    chosen = table.order[table.start[classes][..., None] + partial_shuffle(drawn, table.count[classes])]
    support, query = chosen[..., : spec.max_shot], chosen[..., spec.max_shot :]
    if spec.ragged:
        rest = words[:, way + spec.rows :]
        ways, shots, queries = rest[:, :1], rest[:, 1 : 1 + way], rest[:, 1 + way :]
        real = np.arange(way) < _between(ways, spec.way)
        support = np.where(real[..., None] & _first(shots, spec.shot), support, -1)
        query = np.where(real[..., None] & _first(queries, spec.query), query, -1)
        classes = np.where(real, classes, -1)
    facts = {"spec": spec.to_json(), "seed": int(seed), "start": int(start), "images": len(table.order)}
    classes, support, query = (np.ascontiguousarray(array, np.int32) for array in (classes, support, query))
    return Episodes(classes, support, query, facts)


def partial_shuffle(words: np.ndarray, size: int | np.ndarray) -> np.ndarray:
    """The first k elements of a Fisher-Yates shuffle of `range(size)`, for many shuffles at once.

    Step i swaps positions i and `j_i = i + word_i mod (size - i)`, and its result is what position i then
    holds. Only the positions `j_0`, ..., `j_{k-1}` are ever written, so no array of `size` is needed: k²
    comparisons with earlier steps find what a position holds.

    Args:
      words: uint32 `[..., k]`, k at most `size`.
      size: of each shuffle, an integer or an array of shape `[...]`.

    Returns:
      int32 `[..., k]`, distinct along the last axis.
    """
    steps = np.arange(words.shape[-1], dtype=np.int32)
    drawn = steps + random.below(words, np.asarray(size)[..., None] - steps)
    # `moved[i]` is what position i holds when step i begins, and thus what step i moves to position j_i.
    moved, result = np.broadcast_to(steps, drawn.shape).copy(), drawn.copy()
    for s in steps[:-1]:
        later, target, value = slice(s + 1, None), drawn[..., s : s + 1], moved[..., s : s + 1]
        np.copyto(moved[..., later], value, where=target == steps[later])
        np.copyto(result[..., later], value, where=target == drawn[..., later])
    return result


def _words(seed: int, start: int, count: int, words: int) -> np.ndarray:
    """uint32 `[count, words]`, the words of episodes in the order of the module's docstring."""
    blocks = -(-words // 2)
    episode, block = np.indices((count, blocks), np.uint32).reshape(2, -1)
    key = random.fold(random.key(seed), random.EPISODE)
    pair = random.threefry2x32(key, episode + np.uint32(start), block)
    return np.stack(pair, axis=-1).reshape(count, 2 * blocks)[:, :words]


def _between(words: np.ndarray, count: Count) -> np.ndarray:
    """A uniform draw of the range by each word."""
    low, high = ends(count)
    return low + random.below(words, high - low + 1)


def _first(words: np.ndarray, count: Count) -> np.ndarray:
    """bool `[n, way, most]`: the first of each class, as many as these words draw."""
    return np.arange(ends(count)[1]) < _between(words, count)[..., None]


def load_episodes(path: str | Path, *, labels: np.ndarray, **facts: Any) -> Episodes:
    """Episodes of a file that `Episodes.save` wrote, checked against the split that they index.

    Args:
      path: of the file.
      labels: `[n]` labels of the split.
      **facts: of these data; one that the file also states must agree.

    Raises:
      DataError: for a file that cannot be read, was changed, or is of another split.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            classes, support, query = (np.asarray(file[name], np.int32) for name in ("classes", "support", "query"))
            stated = json.loads(str(file["facts"]))
        episodes = Episodes(classes, support, query, facts=stated)
        if stated["format"] != 1:
            raise DataError(f"{path} is of format {stated['format']}; this version of fsjax reads format 1")
        intact = stated["hash"] == episodes.hash
    except DataError:
        raise
    # What NumPy, zipfile and json raise for a file that is none of theirs is hardly documented.
    except Exception as error:
        raise DataError(f"{path} cannot be read as episodes: {error or type(error).__name__}") from error
    if not len(episodes):
        raise DataError(f"{path} holds no episodes")
    if not intact:
        raise DataError(f"{path} was changed after it was written: its episodes hash to {episodes.hash}, not to what "
                        f"it states, {stated['hash']}; draw the episodes again")  # fmt: skip
    for name, value in (facts | {"images": len(labels)}).items():
        if stated.get(name, value) != value:
            raise DataError(f"{path} holds episodes of {name}={stated[name]!r}; these data are of {name}={value!r}")
    wrong = _first_wrong(episodes, np.asarray(labels)) or _wrong_facts(episodes)
    if wrong:
        raise DataError(f"{path} does not fit these data: {wrong}")
    return episodes


def _wrong_facts(episodes: Episodes) -> str:
    """What is wrong with what a list says of itself; "" if nothing is."""
    lacking = [name for name in ("spec", "seed", "start") if name not in episodes.facts]
    if lacking:
        return f"it does not state the {', '.join(lacking)} of its episodes (see Episodes.facts)"
    spec = parse_spec(episodes.facts["spec"], allow_no_query=True)
    if (spec.max_way, spec.max_shot, spec.max_query) != (*episodes.support.shape[1:], episodes.query.shape[-1]):
        return f"it states {spec} episodes, and its arrays are of others"
    return ""


def _first_wrong(episodes: Episodes, labels: np.ndarray) -> str:
    """What is wrong with episodes over a split of these labels, in words; "" if nothing is."""
    classes, support = episodes.classes, episodes.support
    if (
        not classes.shape == support.shape[:2] == episodes.query.shape[:2]
        or not support.ndim == episodes.query.ndim == 3
    ):
        return "its arrays are not [n, way], [n, way, shot] and [n, way, query]"
    images = np.concatenate([support, episodes.query], axis=-1)
    real = images >= 0
    beyond = (images < -1) | (images >= len(labels))
    if beyond.any():
        return f"position {images[beyond][0]} is outside the split of {len(labels)} images"
    other = real & (labels[np.where(real, images, 0)] != classes[..., None])
    if other.any():
        e, c, i = np.argwhere(other)[0]
        position = images[e, c, i]
        return f"image {position} of episode {e} has label {labels[position]}, not {classes[e, c]}"
    for what, array in (("image", images), ("class", classes)):
        rows = np.sort(array.reshape(len(array), -1), axis=1)
        twice = (rows[:, 1:] == rows[:, :-1]) & (rows[:, 1:] >= 0)
        if twice.any():
            e, i = np.argwhere(twice)[0]
            return f"{what} {rows[e, i]} is in episode {e} twice"
    if ((classes >= 0) & (support < 0).all(axis=-1)).any():
        return "a class has no support images"
    return ""
