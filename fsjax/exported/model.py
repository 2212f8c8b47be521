"""An export in memory.

Internal: `fsjax.exported` has what is public.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .layout import CLASSES, FEATURES, LINEAR, LOGITS, NONE_OF_THESE, WEIGHTS, ExportError, KnownClass, arrays_of
from .pictures import open_picture
from .programs import deserialized, of_this_jax
from .scoring import log_softmax, rule_scores, support_sum, unit_length
from .writing import write_folder


class Classified(NamedTuple):
    """What an export says of images.

    Attributes:
      labels: `[n]` strings, the name of a class each, or "none of these".
      probabilities: float32 `[n, classes]`, see `Exported.probabilities`.
      similarities: float32 `[n]`, see `Exported.similarities`; NaN where the loss's own rule scores.
      rejected: bool `[n]`, whether an image is "none of these".
    """

    labels: np.ndarray
    probabilities: np.ndarray
    similarities: np.ndarray
    rejected: np.ndarray


class Exported:
    """An encoder and its classes; see `load`.

    Attributes:
      facts: the content of export.json: the run, the image shape, the rule, the versions. `facts["rule"]` has the
        temperature of `probabilities` and the threshold of `predict`, which can be set there.
    """

    def __init__(
        self, facts: dict[str, Any], files: Mapping[str, bytes], classes: Sequence[KnownClass], batch_size: int
    ) -> None:
        self.facts, self._files, self._classes, self._batch_size = facts, files, list(classes), batch_size
        self._programs = {name: deserialized(files[name], facts) for name in (FEATURES, LOGITS) if name in files}
        self._weights = jax.device_put(arrays_of(files[WEIGHTS]))
        self._compiled: dict[tuple[str, int], Callable[..., Any]] = {}

    def __repr__(self) -> str:
        return (
            f"Exported({self.facts['run']['name']!r}, step {self.facts['run']['step']}: {len(self._classes)} classes, "
            f"images {'×'.join(map(str, self.image_shape))}, embeddings {self.facts['embedding']}-d)"
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of the columns of `scores`."""
        return tuple(c.name for c in self._classes)

    @property
    def counts(self) -> dict[str, int]:
        """Of how many pictures each class is the mean; 0 for one that was trained."""
        return {c.name: c.count for c in self._classes}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels that the network takes."""
        height, width, channels = self.facts["images"]["shape"]
        return height, width, channels

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeddings of images.

        Args:
          images: uint8 `[n, height, width, channels]` as in `image_shape`, or `[n, height, width]` for grey ones, in
            0..255; they are normalised inside.

        Returns:
          float32 `[n, dim]`.

        Raises:
          ExportError: for another dtype or shape, or a program that this jax cannot compile.
        """
        return self._apply(FEATURES, images, lambda get: get("embedding"), self.facts["embedding"])

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Scores `[n, classes]` float32, the largest of which is the prediction; images as for `embed`.

        By the method's rule for classes that are means of pictures: the similarity times its scale, or the logarithm of
        a probability where each position of a picture is classified for itself. By the loss's own rule for the trained
        classes of a run.

        Raises:
          ExportError: as `embed`, and if there is no class yet.
        """
        return self._compared(images)[0].astype(np.float32)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """The softmax of `scores` over the temperature, `[n, classes]`: shares among these classes, float32.

        They are so whatever a picture shows. The temperature is the one fitted on the support pictures by `fsjax
        export --support`, each left out in turn, and 1 where there were none; it stays as classes and pictures come and
        go, as does the threshold of `predict`: if they change much, export anew.
        """
        return self._shares(self._compared(images)[0])

    def similarities(self, images: np.ndarray) -> np.ndarray:
        """The largest similarity of each image to a class, by the rule's measure without its scale, float32 `[n]`.

        Raises:
          ExportError: as `scores`, and for an export that classifies by its loss's own rule, which has no such.
        """
        if LOGITS in self._programs:
            raise ExportError(
                "this export scores the classes that the run was trained on by the rule of its loss, which has no "
                "similarities: export the run with --support or --no-classes"
            )
        return self._compared(images)[1].astype(np.float32)

    def classify(self, images: np.ndarray) -> Classified:
        """Labels, probabilities and similarities, in one pass of the network; images as for `embed`.

        Raises:
          ExportError: as `scores`.
        """
        scores, similarities = self._compared(images)
        labels, rejected = self._labels(scores, similarities), self._rejected(similarities)
        return Classified(labels, self._shares(scores), similarities.astype(np.float32), rejected)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The name of the class of each image, `[n]` strings: that of the largest score.

        Where the export has a threshold (`facts["rule"]["threshold"]`, None if not), it is "none of these" if
        `similarities` is below.
        """
        return self._labels(*self._compared(images))

    def _compared(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`scores` and `similarities`, not rounded, in one pass of the network; NaN where the loss has no such."""
        if not self._classes:
            raise ExportError("this export has no classes yet: model.add_class(name, images), at least once")
        count = len(self._classes)
        if LOGITS in self._programs:
            columns = [c.output for c in self._classes]
            scores = self._apply(LOGITS, images, lambda get: get("logits")[:, columns], count)
            return scores, np.full(len(scores), np.nan)
        rule, vectors = self.facts["rule"], np.stack([c.vector / max(c.count, 1) for c in self._classes])
        weights, bias = np.stack([c.weights for c in self._classes]), np.array([c.bias for c in self._classes])

        def both(get: Callable[[str], np.ndarray]) -> np.ndarray:
            pooled = get(rule["support_pool"]).astype(np.float64)
            if rule["head"] in LINEAR:
                scores = unit_length(pooled) @ weights.T + bias
            elif rule["head"] == "centred":
                centre, queries = vectors.mean(axis=0), unit_length(pooled) if rule["unit_support"] else pooled
                scores = rule_scores(queries - centre, vectors - centre, {**rule, "similarity": "cosine"})
            else:
                scores = rule_scores(get(rule["query_pool"]), vectors, rule)
            near = rule_scores(pooled, vectors, {**rule, "tau": 1.0})
            return np.column_stack([scores, near.max(axis=-1)])

        found = self._apply(FEATURES, images, both, count + 1)
        return found[:, :-1], found[:, -1]

    def _shares(self, scores: np.ndarray) -> np.ndarray:
        logits = scores.astype(np.float64) / self.facts["rule"]["temperature"]
        return np.exp(log_softmax(logits)).astype(np.float32)

    def _labels(self, scores: np.ndarray, similarities: np.ndarray) -> np.ndarray:
        names = np.array(self.classes, dtype=np.str_)[scores.argmax(axis=-1)]
        return np.where(self._rejected(similarities), NONE_OF_THESE, names)

    def _rejected(self, similarities: np.ndarray) -> np.ndarray:
        threshold = self.facts["rule"]["threshold"]
        return similarities < (-np.inf if threshold is None else threshold)

    def add_class(self, name: str, images: np.ndarray) -> None:
        """A new class, known by these pictures of it, as for `embed`; one is enough, and nothing is trained.

        Raises:
          ExportError: as `embed`, for no image, a name that is there or is that of rejected pictures, and for an export
            that classifies by its loss's own rule, which knows the trained classes only, or by a head that was fitted
            on the pictures of all classes.
        """
        self._check_means()
        if name in self.classes:
            raise ExportError(f"there is a class {name!r}: add_pictures({name!r}, images) gives it more pictures")
        if not isinstance(name, str) or not name:
            raise ExportError(f"the name {name!r} of a class must be a text that is not empty")
        if name == NONE_OF_THESE and self.facts["rule"]["threshold"] is not None:
            raise ExportError(f"the name {name!r} is that of rejected pictures: take another for the class")
        if LOGITS in self._programs:
            raise ExportError(
                f"class {name!r} cannot be added: this export scores the classes that the run was trained on, by the "
                "rule of its loss, which has none for others; export the run with --support or --no-classes, and "
                "classes are means of pictures"
            )
        self._classes.append(KnownClass(name, *self._sum(name, images)))

    def add_pictures(self, name: str, images: np.ndarray) -> None:
        """More pictures of a class, as for `embed`: its mean becomes that of all of them.

        Raises:
          ExportError: as `add_class`, for no image, an unknown class, and one that is no mean of pictures.
        """
        self._check_means()
        known = self._find(name)
        if not known.count:
            raise ExportError(
                f"class {name!r} was trained, and is no mean of pictures that others could be added to: remove it, and "
                "add it anew by its pictures, or take another name"
            )
        total, count = self._sum(name, images)
        known.vector, known.count = known.vector + total, known.count + count

    def remove_class(self, name: str) -> None:
        """Leave out a class: the others keep their scores, or share its probability.

        Raises:
          ExportError: for an unknown class, and for the last one.
        """
        known = self._find(name)
        if len(self._classes) == 1:
            raise ExportError(f"class {name!r} is the last one, and without classes there is nothing to predict")
        self._classes.remove(known)

    def open_pictures(self, files: Sequence[str | os.PathLike[str]]) -> np.ndarray:
        """Image files of any size, brought to the network's as the run's own were; needs pillow.

        Returns:
          uint8 `[n, *image_shape]`.

        Raises:
          ExportError: naming a file that cannot be read.
        """
        images: np.ndarray = np.zeros((len(files), *self.image_shape), np.uint8)
        for number, file in enumerate(files):
            images[number] = open_picture(file, self.image_shape, self.facts["pictures"])
        return images

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write an export with the classes as they are now; one that is there is replaced, as a whole or not at all.

        Raises:
          ExportError: if the folder holds anything else, or cannot be written.
        """
        write_folder(folder, self.facts, {n: x for n, x in self._files.items() if n != CLASSES}, self._classes)

    def _check_means(self) -> None:
        """Raise an `ExportError` if classes are not known by the means of their pictures."""
        head = self.facts["rule"]["head"]
        if head in LINEAR:
            raise ExportError(
                f"this export's head {head!r} was fitted on the pictures of all classes together, and takes no more: "
                "export the run anew, with --head prototypes if classes are to be added"
            )

    def _find(self, name: str) -> KnownClass:
        for known in self._classes:
            if known.name == name:
                return known
        shown = ", ".join(map(repr, self.classes[:20])) + (", …" if len(self._classes) > 20 else "")
        raise ExportError(f"there is no class {name!r}; there are: {shown or 'none'}")

    def _sum(self, name: str, images: np.ndarray) -> tuple[np.ndarray, int]:
        """The sum of the support features of pictures, float64 `[dim]`, and their number."""
        if not len(images):
            raise ExportError(f"class {name!r} needs at least one picture")
        rule = self.facts["rule"]
        features = self._apply(FEATURES, images, lambda get: get(rule["support_pool"]), rule["dim"])
        return support_sum(features, unit_support=rule["unit_support"]), len(features)

    def _apply(
        self, program: str, images: np.ndarray, wanted: Callable[[Callable[[str], np.ndarray]], np.ndarray], width: int
    ) -> np.ndarray:
        """What is wanted of the outputs of a program, got by name, batch by batch: `[n, width]`."""
        images = self._checked(images)
        # Few images are padded to a power of two, many to whole batches: few sizes to compile, little waste.
        size = min(self._batch_size, 1 << max(len(images) - 1, 0).bit_length())
        parts: list[np.ndarray] = [np.zeros((0, width), np.float32)]
        for start in range(0, len(images), size):
            part = images[start : start + size]
            padded = np.pad(part, [(0, size - len(part)), (0, 0), (0, 0), (0, 0)])
            # Fetched from the device only when asked for.
            parts.append(wanted(functools.partial(_fetched, self._run(program, padded), len(part))))
        return np.concatenate(parts)

    def _run(self, program: str, images: np.ndarray) -> dict[str, jax.Array]:
        weights = {name: self._weights[name] for name in self.facts["weights"][program]}
        key = (program, len(images))
        if key not in self._compiled:
            with of_this_jax(self.facts):
                call = jax.jit(self._programs[program].call)
                self._compiled[key] = call.lower(weights, images).compile()
        return self._compiled[key](weights, images)

    def _checked(self, images: np.ndarray) -> np.ndarray:
        """Images as the programs take them."""
        images, shape = np.asarray(images), self.image_shape
        if images.dtype != np.uint8:
            raise ExportError(
                f"images of dtype {images.dtype}: give uint8 in 0..255; of floats in 0..1 that is "
                "np.round(255 * images).astype(np.uint8)"
            )
        if images.ndim == 3 and images.shape[1:] == shape[:2]:
            images = images[..., None]
        if images.ndim == 4 and images.shape[-1] == 1 and shape[-1] == 3:
            images = np.repeat(images, 3, axis=-1)
        if images.ndim != 4 or images.shape[1:] != shape:
            wanted = ", ".join(map(str, shape))
            raise ExportError(
                f"images of shape {images.shape}: this network takes [n, {wanted}] (height, width, channels); a single "
                "image is image[None], and open_pictures(files) brings files to this size"
            )
        return images


def _fetched(found: Mapping[str, jax.Array], count: int, name: str) -> np.ndarray:
    """An output of a program for the images of a batch, without those that it was padded with."""
    return np.asarray(found[name])[:count]
