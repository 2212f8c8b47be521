"""A trained network with all that is needed to use it."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from fsjax import data
from fsjax.data import DataInfo, normalize
from fsjax.data.store.cache import for_evaluation
from fsjax.errors import UserError
from fsjax.evaluation.analysis.geometry import Geometry, measure
from fsjax.evaluation.few_shot.evaluator import Evaluator, extractor
from fsjax.evaluation.papers.incremental import SessionSpec, evaluate_sessions
from fsjax.evaluation.papers.localization import as_pictures, check_localizes
from fsjax.evaluation.papers.sessions import Sessions
from fsjax.methods import build_method
from fsjax.methods.base import Method, Variables
from fsjax.methods.localization import Located
from fsjax.methods.naive_bayes import GaussianNaiveBayes
from fsjax.methods.rules import FEATURES, prototypes
from fsjax.run_summary import Summary, summarize


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
    """A trained network with all that is needed to use it, on the default device.

    Attributes:
      workdir: the run's folder.
      config: its config.
      info: its data: class names, image shape, normalisation.
      step: the optimizer step of the restored checkpoint.
      params: trained parameters, {"encoder": ..., "loss": ...}.
      collections: batch statistics and the state of the loss.
    """

    workdir: Path
    config: ConfigDict
    info: DataInfo
    step: int
    params: Variables
    collections: Variables

    # What `fsjax.labelling` takes where heads cannot be compared: the rule that the network was trained for.
    preferred_head: ClassVar[str] = "prototypes"

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.info.image_shape))
        return (
            f"Run({str(self.workdir)!r}: {self.config.name}, method {self.config.method.name}, "
            + (f"loss {self.config.loss.name}, " if self.method.reads_loss else "")
            + f"step {self.step}; "
            f"{self.info.num_classes} classes of {self.info.name}, images {shape}, "
            f"embeddings {self._shapes('embed').shape[1]}-d)"
        )

    def summary(self) -> str:
        """What the run is, in several lines: data, network, training, scores, and how to use it."""
        return self._summary.text()

    def _repr_html_(self) -> str:
        return self._summary.html()

    @property
    def _summary(self) -> Summary:
        dim = self._shapes("embed").shape[1]
        return summarize(
            self.workdir,
            config=self.config,
            info=self.info,
            step=self.step,
            params=self.params,
            method=self.method,
            dim=dim,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.info.class_names

    def embed(self, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
        """Embeddings of images.

        Args:
          images: uint8 `[n, h, w, c]` (or `[n, h, w]` grey), as the data set holds them: not normalised.
          batch_size: how many go through the network at once; the result does not depend on it.

        Returns:
          float32 `[n, dim]`.

        Raises:
          UserError: if the images are not of the size, type or channels that the network was trained on.
        """
        return self._apply("embed", images, batch_size)

    def logits(self, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
        """Scores by the loss's own rule, float32 `[n, classes]`; images as for `embed`."""
        return self._apply("logits", images, batch_size)

    def predict(self, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
        """Predicted labels, int64 `[n]`; `class_names[label]` is the name. Images as for `embed`."""
        return self.logits(images, batch_size=batch_size).argmax(axis=-1)

    def few_shot(
        self, support: np.ndarray, labels: Sequence[Any], queries: np.ndarray, *, batch_size: int = 256
    ) -> np.ndarray:
        """Classify pictures by a few labelled ones, of classes that the run need not have seen.

        Args:
          support: labelled images, as for `embed`.
          labels: `[n]`, the class of each: names or numbers.
          queries: images to label, as for `embed`.
          batch_size: how many go through the network at once.

        Returns:
          The label of each query, `[m]`, of those in `labels`, by the method's own rule (prototypes and its pooling).

        Raises:
          UserError: for as many labels as there are not images, labels that name no class (None, NaN), or images that
            the network does not take.
        """
        known = _class_labels(labels)
        if known.shape != (len(support),) or not len(known):
            raise UserError(f"{len(support)} support images need as many labels, at least one, not {known.shape}")
        rule, classes = self.method.rule(self.params), np.unique(known)
        of_support, of_queries = (
            self._apply(name, images, batch_size)
            for name, images in ((rule.support_pool, support), (rule.query_pool, queries))
        )
        means = jnp.stack([prototypes(of_support[known == c], unit_support=rule.unit_support) for c in classes])
        return classes[np.asarray(rule.scores(of_queries, means)).argmax(axis=-1)]

    def naive_bayes(self, images: np.ndarray, labels: np.ndarray, *, batch_size: int = 256) -> GaussianNaiveBayes:
        """A naive Bayes classifier of embeddings: `head.scores(run.embed(queries)).argmax(-1)` are labels.

        Args:
          images: as for `embed`, of any classes.
          labels: ints `[n]`, 0, 1, ...; a class that none has is never predicted.
          batch_size: how many go through the network at once; `head.update` adds others.

        Raises:
          UserError: for as many labels as there are not images, or labels that are no such numbers.
        """
        labels = np.asarray(labels)
        if labels.shape != (len(images),) or not len(labels):
            raise UserError(f"{len(images)} images need as many labels, at least one, not {labels.shape}")
        if labels.dtype.kind not in "iu" or labels.min() < 0:
            raise UserError("labels must be whole numbers from 0 on: np.unique(names, return_inverse=True)[1]")
        features = jnp.asarray(self.embed(images, batch_size=batch_size))
        return GaussianNaiveBayes.fit(features, jnp.asarray(labels), num_classes=int(labels.max()) + 1)

    def evaluator(
        self,
        *,
        data_path: str = "",
        batch_size: int = 256,
        implants: Any = None,
        splits: data.Splits | None = None,
    ) -> Evaluator:
        """The run on few-shot tasks of its data: `for f in run.evaluator().figures(Protocol()): print(f)`.

        Args:
          data_path: where the data lie here, if elsewhere than when the run was trained.
          batch_size: how many images go through the network at once.
          implants: options of implants to train for each task, see `fsjax.methods.dense_implants.implant_options`.
          splits: data instead of the run's own, see `fsjax.evaluation.few_shot.other_source`.

        Raises:
          UserError: if the data cannot be read, are others than the run's, or have no novel classes.
        """
        splits = splits or self.splits(data_path=data_path)
        if not splits.info.few_shot:
            raise UserError(
                f"{self.workdir} was trained without novel classes (config.data.class_split.name is empty): there are "
                "no few-shot tasks to evaluate"
            )
        extract = extractor(self.method, self.params, self.collections)
        return Evaluator(self.method, self.params, self.collections, splits, extract, batch_size, implants)

    def geometry(
        self, split: str = "test", *, tau: float = 0.2, data_path: str = "", batch_size: int = 256
    ) -> Geometry:
        """Neural collapse, uniformity, tolerance and hardness of the embeddings of one split.

        Args:
          split: "train", "validation", "base" (images of base classes that were kept out of training) or "test".
          tau: temperature of the hardness.
          data_path: where the data lie here, if elsewhere than when the run was trained.
          batch_size: how many images go through the network at once.

        Raises:
          UserError: if the data cannot be read, or have no such split.
        """
        splits = self.splits(data_path=data_path)
        return measure(self.method, self.params, self.collections, splits, split, tau=tau, batch_size=batch_size)

    def sessions(self, *, data_path: str = "", batch_size: int = 256, **spec: Any) -> Sessions:
        """Few-shot class-incremental sessions: novel classes a few at a time, by prototypes and by TEEN's calibration.

        Args:
          data_path: where the data lie here, if elsewhere than when the run was trained.
          batch_size: how many images go through the network at once.
          **spec: way, shot, seeds, alphas, tau: see `fsjax.evaluation.papers.incremental.SessionSpec`.

        Raises:
          UserError: if the run's data cannot make such sessions.
        """
        chosen = SessionSpec(**spec)
        return evaluate_sessions(self.evaluator(data_path=data_path, batch_size=batch_size), chosen)

    def locate(self, images: np.ndarray, *, batch_size: int = 256) -> Located:
        """Where a run of method "localization" sees the objects of images, with its attention maps and crops.

        Args:
          images: as for `embed`.
          batch_size: how many go through the networks at once; the result does not depend on it.

        Returns:
          `Located` with NumPy arrays: `box`, (ymin, xmin, ymax, xmax) in 0..1 of each image, ...; `crop` is uint8.

        Raises:
          UserError: for a run of another method, or images that the network does not take.
        """
        check_localizes(self.method, str(self.workdir))
        located = self._apply("locate", images, batch_size)
        return located.replace(crop=as_pictures(located.crop, self.info))

    def splits(self, *, data_path: str = "") -> data.Splits:
        """The run's data, normalised as in training; decoded images of them are used where there are such.

        Args:
          data_path: where they lie here, if elsewhere than when the run was trained.

        Raises:
          UserError: if the data cannot be read, or are others than the run's.
        """
        config = self.config.data.copy_and_resolve_references()
        if data_path:
            config.path = data_path
        with config.unlocked():
            config.clusters = ""  # only training reads them, and their file may be gone
            config.update(for_evaluation(config))
        splits = data.load_splits(config, seed=self.config.seed, keep=False)
        for name in ("class_names", "validation_classes", "test_classes", "image_shape"):
            if getattr(splits.info, name) != getattr(self.info, name):
                raise UserError(f"the data here are others than those of {self.workdir}: their {name} differ")
        _check_division(self.info, splits.info, self.workdir)
        return dataclasses.replace(splits, info=self.info)

    @functools.cached_property
    def method(self) -> Method:
        """The run's method: the pure functions behind `embed` and `logits`."""
        return build_method(self.config, self.info)

    @functools.cached_property
    def _functions(self) -> dict[str, Callable[..., Any]]:
        names = ("embed", "logits", *(["locate"] if self.method.locates else []))
        functions = {name: jax.jit(getattr(self.method, name)) for name in names}
        return functions | {name: self._feature(name) for name in FEATURES if name not in functions}

    def _feature(self, name: str) -> Callable[..., jax.Array]:
        return jax.jit(lambda p, c, images: self.method.features(p, c, images, (name,))[name])

    def _shapes(self, name: str) -> Any:
        """Shapes of what a function gives of one image, `[1, ...]` each."""
        image = jax.ShapeDtypeStruct((1, *self.info.image_shape), jnp.float32)
        return jax.eval_shape(self._functions[name], self.params, self.collections, image)

    def _apply(self, name: str, images: np.ndarray, batch_size: int) -> Any:
        """What one of `_functions` gives of images: an array `[n, ...]`, or a tree of them."""
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size} must be at least 1")
        images = normalize(images, self.info)
        # Few images are padded to a power of two, many to whole batches: few sizes to compile, little waste.
        batch_size = min(batch_size, 1 << max(len(images) - 1, 0).bit_length())
        outputs = [jax.tree.map(lambda x: np.zeros((0, *x.shape[1:]), x.dtype), self._shapes(name))]
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            padded = np.pad(part, [(0, batch_size - len(part))] + [(0, 0)] * (part.ndim - 1))
            output = self._functions[name](self.params, self.collections, jnp.asarray(padded))
            real = slice(len(part))
            outputs.append(jax.tree.map(lambda x, real=real: np.asarray(x)[real], output))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *outputs)


def _class_labels(labels: Sequence[Any]) -> np.ndarray:
    """Names or numbers of classes as an array; what a table has for a missing one would be a class of its own."""
    for number, label in enumerate(np.asarray(labels, object).ravel().tolist()):
        names_a_class = isinstance(label, str | bytes | int) or (isinstance(label, float) and np.isfinite(label))
        if not names_a_class or label == "":
            raise UserError(
                f"label {number} is {label!r}, which names no class: leave its image out, or give its class"
            )
    return np.asarray(labels)


def _check_division(trained: DataInfo, here: DataInfo, workdir: Path) -> None:
    """Raise a `UserError` where the data are divided otherwise than when the run was trained.

    Images that were added or removed move others from one part to another: what is the test part now would hold images
    that the run was trained on.
    """
    differ = [split for split in trained.division if here.division.get(split) != trained.division[split]]
    if differ:
        counts = ", ".join(
            f"{split}: {trained.counts[split]:,} images then, {here.counts.get(split, 0):,} now"
            + (" (others, or with other labels)" if here.counts.get(split) == trained.counts[split] else "")
            for split in differ
        )
        raise UserError(
            f"the data here are not those that {workdir} was trained on, and would be divided anew ({counts}): put the "
            "images back as they were, or evaluate on the new ones alone, as a source of their own"
        )
