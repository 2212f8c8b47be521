"""A classifier that fsjax exported, with jax and NumPy alone: uint8 pictures in, class names out.

Nothing of fsjax is imported here, so that this file can be copied, with `picture_files.py`; `fsjax export` puts both
beside what they describe:

    python FOLDER/exported.py photo.jpg ...         # file, label, probability, similarity (this needs pillow)

    import sys; sys.path.insert(0, "FOLDER")
    import exported
    model = exported.load()                         # or load("ANOTHER_FOLDER")
    model.predict(images)                           # uint8 [n, height, width, channels] -> the name of a class each
    model.add_class("heron", images)                # by its mean feature, with --head prototypes: nothing is trained
    model.save("ANOTHER_FOLDER")

How long an export stays readable: its functions are StableHLO that `jax.export` serialized. jax promises to read what
was written with a jaxlib of up to six months before its own, or of up to three weeks after it; the weights and the
classes are plain arrays. Beyond that it may well be read, but nobody has promised it: then install the jax named in
export.json, or export the run anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import io
import json
import math
import os
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

# Of the folder; another number means that this file does not know what is in it.
FORMAT = 3
FACTS, FEATURES, LOGITS, WEIGHTS, CLASSES = (
    "export.json", "features.jaxexport", "logits.jaxexport", "weights.npz", "classes.npz",
)  # fmt: skip
PICTURE_FILES = "picture_files.py"
_FILES = (FACTS, FEATURES, LOGITS, WEIGHTS, CLASSES, "exported.py", PICTURE_FILES)
# Heads whose scores are linear in features at length 1.
_LINEAR = ("ridge", "logistic", "naive_bayes")
# What is predicted of a picture that is not similar enough to any class.
NONE_OF_THESE = "none of these"
# Under square roots, as in fsjax.
_EPSILON = 1e-12
# Pictures of more pixels are refused before they are decoded: a small file can hold gigabytes of them.
MAX_PIXELS = 100_000_000


class ExportError(ValueError):
    """What the user can set right: a damaged folder, images that the network does not take, an unknown class."""


@dataclasses.dataclass
class KnownClass:
    """A class of an export.

    Attributes:
      name: unlike those of the others.
      vector: float64 `[dim]`: of a class that is the mean of pictures, the sum of their support features; of a trained
        one, its weights; empty if the rule of the loss scores it.
      count: how many pictures the sum is of; 0 of a trained class.
      output: the place of a trained class among the scores of the loss's rule; -1 of others.
      weights: float64 `[dim]`, of a linear head that was fitted on the pictures of all classes; empty without such.
      bias: of that head.
    """

    name: str
    vector: np.ndarray
    count: int = 0
    output: int = -1
    weights: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    bias: float = 0.0


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
        self._programs = {name: _deserialized(files[name], facts) for name in (FEATURES, LOGITS) if name in files}
        self._weights = jax.device_put(_arrays(files[WEIGHTS]))
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
            if rule["head"] in _LINEAR:
                scores = _unit(pooled) @ weights.T + bias
            elif rule["head"] == "centred":
                centre, queries = vectors.mean(axis=0), _unit(pooled) if rule["unit_support"] else pooled
                scores = _rule_scores(queries - centre, vectors - centre, {**rule, "similarity": "cosine"})
            else:
                scores = _rule_scores(get(rule["query_pool"]), vectors, rule)
            near = _rule_scores(pooled, vectors, {**rule, "tau": 1.0})
            return np.column_stack([scores, near.max(axis=-1)])

        found = self._apply(FEATURES, images, both, count + 1)
        return found[:, :-1], found[:, -1]

    def _shares(self, scores: np.ndarray) -> np.ndarray:
        logits = scores.astype(np.float64) / self.facts["rule"]["temperature"]
        return np.exp(_log_softmax(logits)).astype(np.float32)

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
            images[number] = _picture(file, self.image_shape, self.facts["pictures"])
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
        if head in _LINEAR:
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
            with _of_this_jax(self.facts):
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


def load(folder: str | os.PathLike[str] | None = None, *, batch_size: int = 256) -> Exported:
    """Open an export, on the default device. Nothing in the folder is executed or unpickled but its StableHLO.

    Args:
      folder: as `fsjax export` or `Exported.save` wrote it; None: the one that this file lies in.
      batch_size: how many images go through the network at once, at most; results do not depend on it.

    Raises:
      ExportError: for a folder that is none, is damaged or of another format, and where this jax cannot read it or this
        machine's platform is none of those that it was exported for.
    """
    if batch_size < 1:
        raise ExportError(f"batch_size={batch_size} must be at least 1")
    folder = Path(__file__).parent if folder is None else Path(folder).expanduser()
    facts = _facts(folder)
    return opened(facts, {name: _checked_file(folder, name, facts) for name in facts["files"]}, batch_size=batch_size)


def opened(facts: dict[str, Any], files: Mapping[str, bytes], *, batch_size: int = 256) -> Exported:
    """An export of which the files are in memory; see `load`."""
    platform = _platform()
    if platform not in facts["platforms"]:
        raise ExportError(
            f"exported for {', '.join(facts['platforms'])}, and jax computes on {platform} here: export the run again "
            f"with --platforms {' '.join([*facts['platforms'], platform])}"
            + (", or set JAX_PLATFORMS=cpu" if "cpu" in facts["platforms"] else "")
        )
    stored = _arrays(files[CLASSES])
    if len(facts["classes"]) != len(stored["counts"]):
        raise ExportError(
            f"{FACTS} names {len(facts['classes'])} classes, and {CLASSES} has {len(stored['counts'])}: take classes "
            "away with remove_class, or export the run again"
        )
    arrays = (stored[name] for name in ("vectors", "counts", "outputs", "weights", "bias"))
    classes = [
        KnownClass(name, vector, int(count), int(output), weights, float(bias))
        for name, vector, count, output, weights, bias in zip(facts["classes"], *arrays, strict=True)
    ]
    model = Exported(facts, files, classes, batch_size)
    _check_names(model)
    return model


def _check_names(model: Exported) -> None:
    """Raise an `ExportError` for weights or features that export.json names otherwise than the other files."""
    rule, program = model.facts["rule"], model._programs[FEATURES]
    odd = {rule["support_pool"], rule["query_pool"]} - set(jax.tree.unflatten(program.out_tree, program.out_avals))
    for name, program in model._programs.items():
        (weights, _), _ = jax.tree.unflatten(program.in_tree, program.in_avals)
        odd |= (set(weights) ^ set(model.facts["weights"][name])) | (set(weights) - set(model._weights))
    if odd:
        raise ExportError(f"{FACTS} and the other files do not agree about {min(odd)!r}: export the run again")


def write_folder(
    folder: str | os.PathLike[str], facts: Mapping[str, Any], files: Mapping[str, bytes], classes: Sequence[KnownClass]
) -> None:
    """Write an export with this file beside it; one that is there is replaced, as a whole or not at all.

    Args:
      folder: its parent folders are made.
      facts: for export.json; the names of the classes and the files' checksums are put in.
      files: all but the classes'.
      classes: in order.

    Raises:
      ExportError: if the folder holds anything else, or cannot be written.
    """
    folder = Path(folder).expanduser().absolute()
    files = {**files, CLASSES: classes_file(classes)}
    check_target(folder)
    sums = {name: {"sha256": hashlib.sha256(x).hexdigest(), "bytes": len(x)} for name, x in files.items()}
    facts = {**facts, "classes": [c.name for c in classes], "files": sums}
    everything = {
        **files,
        FACTS: (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode(),
        "exported.py": Path(__file__).read_bytes(),
        PICTURE_FILES: Path(__file__).with_name(PICTURE_FILES).read_bytes(),
    }
    try:
        replaced = folder.exists()
        folder.parent.mkdir(parents=True, exist_ok=True)
        # In a folder that is there: one may be allowed to write in it, and not beside it.
        where = folder if replaced else folder.parent
        with tempfile.TemporaryDirectory(prefix=".export-", dir=where) as temporary:
            fresh, old = Path(temporary) / "fresh", Path(temporary) / "old"
            fresh.mkdir()
            for name, content in everything.items():
                (fresh / name).write_bytes(content)
            if replaced:
                old.mkdir()
                _replace(folder, fresh, old)
            else:
                fresh.rename(folder)
    except OSError as error:
        raise ExportError(f"{folder} cannot be written: {error}") from error


def _replace(folder: Path, fresh: Path, old: Path) -> None:
    """Put fresh files into the place of a folder's, which go to `old`, or stay where they are if that fails."""
    moved: list[tuple[Path, Path]] = []
    try:
        for source, target in ((folder, old), (fresh, folder)):
            for path in sorted(path for path in source.iterdir() if path.name in _FILES):
                path.rename(target / path.name)
                moved.append((path, target / path.name))
    except BaseException:
        for path, there in reversed(moved):
            there.rename(path)
        raise


def check_target(folder: Path) -> None:
    """Raise an `ExportError` unless an export can be written here without losing anything but an export."""
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise ExportError(f"{folder} is a file: name a folder")
        others = sorted(path.name for path in folder.iterdir() if path.name not in {*_FILES, "__pycache__"})
    except OSError as error:
        raise ExportError(f"{folder} cannot be written: {error}") from error
    if others:
        raise ExportError(
            f"{folder} holds {others[0]!r}{' and others' if others[1:] else ''}, which no export does, and would be "
            "replaced: name an empty folder, a new one, or an export"
        )


def classes_file(classes: Sequence[KnownClass]) -> bytes:
    """The content of classes.npz."""
    vectors = np.stack([c.vector for c in classes]) if classes else np.zeros((0, 0))
    columns = {name: np.array([getattr(c, name) for c in classes], np.int64) for name in ("count", "output")}
    stream = io.BytesIO()
    weights = np.stack([c.weights for c in classes]) if classes else np.zeros((0, 0))
    np.savez(
        stream,
        vectors=vectors.astype(np.float64),
        counts=columns["count"],
        outputs=columns["output"],
        weights=weights.astype(np.float64),
        bias=np.array([c.bias for c in classes], np.float64),
    )
    return stream.getvalue()


def support_sum(features: np.ndarray, *, unit_support: bool) -> np.ndarray:
    """The sum of support features `[n, dim]`, of length 1 before if `unit_support`; float64 `[dim]`."""
    features = features.astype(np.float64)
    return (_unit(features) if unit_support else features).sum(axis=0)


def _facts(folder: Path) -> dict[str, Any]:
    """The content of export.json, checked as far as reading the rest needs."""
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExportError(f"{folder} holds no {FACTS}: is it the folder of an export?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(f"{path} cannot be read: {error}; export the run again") from error
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != FORMAT:
        raise ExportError(
            f"{folder} has format {found}, and this is a reader of format {FORMAT}: use the exported.py that came with "
            "that export, or export the run again"
        )
    odd = list(_odd(facts, _CHECKS))
    if not odd and LOGITS in facts["files"]:
        odd = list(_odd(facts, {name: {LOGITS: _CHECKS[name][FEATURES]} for name in ("files", "weights")}))
    odd += [] if odd else sorted(set(facts["files"]) - {FEATURES, LOGITS, WEIGHTS, CLASSES})
    odd += [] if odd or len(set(facts["classes"])) == len(facts["classes"]) else ["classes: two of one name"]
    if odd:
        raise ExportError(f"{path} is not as it was written ({', '.join(odd)}): export the run again")
    return facts


def _odd(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """Names of what is not as wanted, or not there (`...`); wanted is a function, or one for each key."""
    if callable(wanted):
        if not wanted(found):
            yield name
    elif not isinstance(found, dict):
        yield name
    else:
        for key, inner in wanted.items():
            yield from _odd(found.get(key, ...), inner, f"{name}[{key!r}]" if name else key)


def _text(found: Any) -> bool:
    return isinstance(found, str)


def _whole(found: Any) -> bool:
    return isinstance(found, int)


def _finite(found: Any) -> bool:
    return isinstance(found, (int, float)) and math.isfinite(found)


def _positive(found: Any) -> bool:
    return _finite(found) and found > 0


def _list_of(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda found: isinstance(found, list) and all(map(right, found))


# What is read of export.json, and how it must be: somebody may have edited it.
_CHECKS: dict[str, Any] = {
    "run": {"name": _text, "step": _whole},
    "images": {"shape": lambda found: _list_of(_whole)(found) and len(found) == 3},
    "pictures": {
        "image_size": _whole, "share": _positive, "fit": ("crop", "stretch").__contains__,
        "resize": ("bilinear", "bicubic", "lanczos", "box").__contains__,
    },
    "embedding": _whole,
    "rule": {
        "similarity": ("cosine", "squared_euclid", "euclid").__contains__, "support_pool": _text, "query_pool": _text,
        "tau": _finite, "unit_support": lambda found: isinstance(found, bool), "widths": _list_of(_whole),
        "dim": _whole, "head": ("prototypes", "centred", *_LINEAR).__contains__,
        "temperature": _positive, "threshold": lambda found: found is None or _finite(found),
    },
    "platforms": _list_of(_text),
    "classes": _list_of(_text),
    "weights": {FEATURES: _list_of(_text)},
    "files": {FEATURES: {"sha256": _text}, WEIGHTS: {"sha256": _text}, CLASSES: {"sha256": _text}},
}  # fmt: skip


def _checked_file(folder: Path, name: str, facts: dict[str, Any]) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise ExportError(f"{folder / name} cannot be read: {error}; copy the whole folder again") from error
    if hashlib.sha256(content).hexdigest() != facts["files"][name]["sha256"]:
        raise ExportError(
            f"{folder / name} is damaged or of another export (its sha256 is not that in {FACTS}): copy the whole "
            "folder again, or export the run again"
        )
    return content


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return dict(stored)


def _platform() -> str:
    """What jax computes on, as jax.export calls it."""
    platform = jax.default_backend()
    if platform != "gpu":
        return platform
    return "rocm" if "rocm" in jax.devices()[0].client.platform_version.lower() else "cuda"


@contextlib.contextmanager
def _of_this_jax(facts: Mapping[str, Any]) -> Iterator[None]:
    """Says of an error in reading or compiling a whole file that versions differ, if they do."""
    try:
        yield
    except Exception as error:
        # jax and its compiler raise almost anything for a program of another time.
        if facts.get("jaxlib") == _jaxlib() and facts.get("jax") == jax.__version__:
            raise
        raise ExportError(
            f"this export was made with jax {facts.get('jax')} (jaxlib {facts.get('jaxlib')}), and jax "
            f"{jax.__version__} (jaxlib {_jaxlib()}) cannot read it: {str(error)[:300]}\njax reads exports of up to "
            f"six months before its release, and of up to three weeks after it: pip install jax=={facts.get('jax')}, "
            "or export the run again"
        ) from error


def _jaxlib() -> str:
    return sys.modules["jaxlib"].__version__ if "jaxlib" in sys.modules else "?"


def _deserialized(content: bytes, facts: Mapping[str, Any]) -> Any:
    """A function that jax.export wrote."""
    with _of_this_jax(facts), _flatbuffers():
        export = importlib.import_module("jax.export")
        return export.deserialize(bytearray(content))


# The rule of prediction; what fsjax computes in float32 on the device is computed in float64 here.


def _fetched(found: Mapping[str, jax.Array], count: int, name: str) -> np.ndarray:
    """An output of a program for the images of a batch, without those that it was padded with."""
    return np.asarray(found[name])[:count]


def _rule_scores(queries: np.ndarray, vectors: np.ndarray, rule: Mapping[str, Any]) -> np.ndarray:
    """Scores `[n, classes]` of features `[n, dim]`, or `[n, positions, dim]` if each position counts for itself."""
    features: np.ndarray = queries.reshape(-1, queries.shape[-1]).astype(np.float64)
    cuts = np.cumsum(rule["widths"])[:-1]
    parts = zip(np.split(features, cuts, axis=-1), np.split(vectors, cuts, axis=-1), strict=True)
    scores = np.sum([_similarities(rule["similarity"], *pair, rule["tau"]) for pair in parts], axis=0)
    if queries.ndim == 2:
        return scores
    log_shares = _log_softmax(scores.reshape(*queries.shape[:2], -1))
    top = log_shares.max(axis=1, keepdims=True)
    return np.log(np.mean(np.exp(log_shares - top), axis=1)) + top[:, 0]


def _similarities(name: str, features: np.ndarray, vectors: np.ndarray, tau: float) -> np.ndarray:
    if name == "cosine":
        return tau * _unit(features) @ _unit(vectors).T
    squares = (features**2).sum(-1)[:, None] - 2 * features @ vectors.T + (vectors**2).sum(-1)
    squares = np.maximum(squares, 0)
    return -tau * (squares if name == "squared_euclid" else np.sqrt(squares + _EPSILON))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.sqrt((vectors**2).sum(axis=-1, keepdims=True) + _EPSILON)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


# Pictures, as `fsjax.data` opens them.


@functools.cache
def _picture_files() -> types.ModuleType:
    """What opens picture files lies beside this file, in fsjax as in an export."""
    path = Path(__file__).with_name(PICTURE_FILES)
    spec = importlib.util.spec_from_file_location("_picture_files", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ExportError(f"{path} is not there: it belongs to {Path(__file__).name}, and opens the pictures")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _picture(file: str | os.PathLike[str], shape: tuple[int, int, int], view: Mapping[str, Any]) -> np.ndarray:
    """A picture file as uint8 `[height, width, channels]`."""
    from PIL import Image

    try:
        files = _picture_files()
        with files.opened(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ExportError(
                    f"{image.width}×{image.height} pixels are more than {MAX_PIXELS:,}: make it smaller first"
                )
            picture = files.upright(image, shape[-1])
    except Exception as error:
        # Pillow and its codecs raise almost anything for a broken file.
        raise ExportError(f"{os.fspath(file)} cannot be read: {error or type(error).__name__}") from error
    if view["image_size"]:
        picture = picture.resize(shape[1::-1], Image.Resampling[view["resize"].upper()], box=_box(picture, view))
    pixels = np.asarray(picture)
    pixels = pixels[..., None] if shape[-1] == 1 else pixels
    if pixels.shape != shape:
        raise ExportError(
            f"{os.fspath(file)} is {pixels.shape[0]}×{pixels.shape[1]}, and this network takes {shape[0]}×{shape[1]} "
            "(height × width): resize it first"
        )
    return pixels


def _box(picture: Any, view: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """What is seen of a picture: the centred square of a share of its shorter side, or all of it."""
    if view["fit"] == "stretch":
        return (0, 0, picture.width, picture.height)
    side = view["share"] * min(picture.width, picture.height)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    return (left, top, left + side, top + side)


# jax.export reads its files with the package flatbuffers, which jax does not install. Where it is missing, what reading
# needs of it stands in for it: tables of offsets, little-endian (https://flatbuffers.dev/internals).

_NUMBERS = {
    "Bool": "?", "Int8": "i1", "Uint8": "u1", "Int16": "<i2", "Uint16": "<u2", "Int32": "<i4", "Uint32": "<u4",
    "Int64": "<i8", "Uint64": "<u8", "Float32": "<f4", "Float64": "<f8",
    "SOffsetT": "<i4", "VOffsetT": "<u2", "UOffsetT": "<u4",
}  # fmt: skip


def _number(dtype: str, buffer: bytes, at: int) -> Any:
    """The number of a type, one of `_NUMBERS`, at a place."""
    return np.frombuffer(buffer, dtype, 1, at)[0].item()


class _Table:
    """A table of a flatbuffer, of which `Pos` is the place in `Bytes`; methods are named as those of flatbuffers."""

    def __init__(self, buffer: bytes, position: int) -> None:
        self.Bytes, self.Pos = buffer, position

    def _offset(self, at: int) -> int:
        return int(at + _number("<u4", self.Bytes, at))

    def Offset(self, field: int) -> int:
        """Where a field is, from the start of the table; 0 if it is left out."""
        fields = self.Pos - _number("<i4", self.Bytes, self.Pos)
        size = _number("<u2", self.Bytes, fields)
        return _number("<u2", self.Bytes, fields + field) if field < size else 0

    def Indirect(self, at: int) -> int:
        """The place that an offset at this one leads to."""
        return self._offset(at)

    def String(self, at: int) -> bytes:
        """The text that an offset at this place leads to."""
        start = self._offset(at)
        return bytes(self.Bytes[start + 4 : start + 4 + _number("<u4", self.Bytes, start)])

    def Vector(self, field: int) -> int:
        """Where the elements of a vector begin."""
        return self._offset(self.Pos + field) + 4

    def VectorLen(self, field: int) -> int:
        """How many it has."""
        return int(_number("<u4", self.Bytes, self._offset(self.Pos + field)))

    def Get(self, flags: Any, at: int) -> Any:
        """The number at this place."""
        return _number(flags.dtype, self.Bytes, at)

    def GetVectorAsNumpy(self, flags: Any, field: int) -> np.ndarray:
        """A vector of numbers."""
        return np.frombuffer(self.Bytes, flags.dtype, self.VectorLen(field), self.Vector(field))


def _stand_in() -> dict[str, types.ModuleType]:
    """The modules that jax imports of flatbuffers, with what it needs to read."""
    parts: dict[str, dict[str, Any]] = {
        "number_types": {
            f"{name}Flags": types.SimpleNamespace(dtype=dtype, py_type=type(np.zeros((), dtype).item()))
            for name, dtype in _NUMBERS.items()
        },
        "packer": {"uoffset": _NUMBERS["UOffsetT"]},
        "encode": {"Get": _number},
        "table": {"Table": _Table},
        "compat": {"import_numpy": lambda: np},
    }
    whole = types.ModuleType("flatbuffers", "What reading needs of flatbuffers.")
    modules = {"flatbuffers": whole}
    for name, content in parts.items():
        part = modules[f"flatbuffers.{name}"] = types.ModuleType(f"flatbuffers.{name}")
        vars(part).update(content)
        setattr(whole, name, part)

    class Builder:
        """Of the writer, which is not here; jax names it in annotations."""

        def __init__(self, *_: Any) -> None:
            raise ImportError("writing needs the package flatbuffers: pip install flatbuffers")

    whole.__dict__["Builder"] = Builder
    return modules


@contextlib.contextmanager
def _flatbuffers() -> Iterator[None]:
    """Lets jax import flatbuffers, or what stands in for it; nobody else gets to see that."""
    try:
        importlib.import_module("flatbuffers")
    except ImportError:
        modules = _stand_in()
        sys.modules.update(modules)
        try:
            yield
        finally:
            for name in modules:
                sys.modules.pop(name, None)
    else:
        yield


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per picture file: it, label, probability, largest similarity.

    Probabilities are of classes: there is none ("-") of "none of these". Where the loss's own rule scores, there is no
    similarity. Characters that cannot be printed, tabs and line breaks too, are escaped.

    Returns:
      0; 3 if some of the files cannot be read, which are named on stderr and left out; 2 if all of them, and for
      anything else that the user can set right.
    """
    for stream in (sys.stdout, sys.stderr):
        # Names hold what an encoding such as ASCII has not.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    files = sys.argv[1:] if argv is None else list(argv)
    if not files or files[0].startswith("-"):
        print(__doc__)
        return 0 if files in (["-h"], ["--help"]) else 2
    broken = 0
    try:
        model = load()
        for file in files:
            try:
                image = model.open_pictures([file])
            except ExportError as error:
                print(f"error: {_printable(str(error))}", file=sys.stderr)
                broken += 1
                continue
            scores, near = model._compared(image)
            share = "-" if model._rejected(near)[0] else f"{model._shares(scores).max():.3f}"
            numbers = [share] if np.isnan(near[0]) else [share, f"{near[0]:.4g}"]
            print("\t".join([_printable(file), _printable(model._labels(scores, near)[0]), *numbers]))
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if not broken else 2 if broken == len(files) else 3


def _printable(text: str) -> str:
    """On one line: what cannot be printed is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


if __name__ == "__main__":
    sys.exit(main())
