"""Exports, lowered, compared with their run, and written.

What the network is trained to see is inside: uint8 images `[n, h, w, c]` go in, n is free, and the platforms are those
asked for. Weights are arguments of the exported functions, not constants in them: two functions share them, and no
compiler spends its time folding them.
"""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax import export as jax_export

from fsjax import data
from fsjax.errors import UserError, unknown
from fsjax.export.network import Function, Source, logits_of, own_classes, source_of
from fsjax.exported import NONE_OF_THESE, ExportError, KnownClass
from fsjax.exported.layout import CLASSES, FACTS, FEATURES, FORMAT, LOGITS, WEIGHTS, classes_file
from fsjax.exported.loading import opened
from fsjax.exported.writing import check_target, write_folder
from fsjax.files import check_writable
from fsjax.labelling.calibration import Threshold
from fsjax.labelling.heads import AUTO, PROTOTYPES, check_head
from fsjax.labelling.rejection import check_reject
from fsjax.runs import Run
from fsjax.version import __version__

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
DEFAULT_PLATFORMS = ("cpu", "cuda", "tpu")
# An export is compared with its run on so many random images, and may differ by so much of the largest value (bfloat16
# keeps 8 bits, and two programs need not round alike).
_COMPARED = 3
_TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}


@dataclasses.dataclass(frozen=True)
class Report:
    """What was exported.

    Attributes:
      folder: where.
      classes: their names; none where classes are to be added.
      scored_by: "loss" (the rule of the run's loss, which knows its own classes only), or "rule" (the method's rule,
        which takes others).
      sizes: bytes by file.
      difference: the largest between outputs of the run and of the export, as a share of the largest output; None
        where this machine is none of the platforms.
      unreadable: support pictures that were left out, and why.
      threshold: of "none of these"; None where every picture has a class.
      head: what scores the classes of the support pictures.
      doubt: why their labels cannot be trusted; "" where nothing speaks against them.
    """

    folder: Path
    classes: tuple[str, ...]
    scored_by: str
    sizes: dict[str, int]
    difference: float | None
    unreadable: tuple[str, ...]
    threshold: Threshold | None
    head: str
    doubt: str


def export(
    run: Run,
    folder: str | Path,
    *,
    support: str | Path | None = None,
    head: str = AUTO,
    implants: bool = False,
    reject: bool | float = False,
    seed: int = 0,
    with_classes: bool = True,
    platforms: Sequence[str] = DEFAULT_PLATFORMS,
    dtype: str = "",
    batch_size: int = 256,
) -> Report:
    """Write an export of a run, after comparing it with the run.

    Args:
      run: a run, as `fsjax.restore` opens it.
      folder: a new or empty one, or an export, which is replaced.
      support: a folder of class folders: the classes are those of these pictures, and the temperature of the
        probabilities is fitted on them, as in `fsjax.labelling.label`.
      head: what is made of the features of `support`, see `fsjax.labelling.label`. Classes can be added to prototypes,
        centred or not, and to no other head.
      implants: whether the network is first widened by implants trained on `support`, for these classes.
      reject: whether pictures may be "none of these"; a number is the least similarity that a picture of a class has,
        True for one chosen on `support`.
      seed: of the implants.
      with_classes: without `support`, whether the run's own classes go along, if it classifies such.
      platforms: of `PLATFORMS`.
      dtype: "float32" for a run that computes in bfloat16, "" for what it was trained in.
      batch_size: how many images go through the network at once, here.

    Raises:
      UserError: for a folder that holds something else or cannot be written, unknown platforms, pictures that cannot be
        read, implants in another network than a resnet12, an unknown head or one without `support`, and a threshold
        where the loss's own rule scores.
    """
    target = Path(folder).expanduser().absolute()
    _check_options(platforms, support, implants, with_classes)
    _check_head(head, support, implants)
    _check_reject(reject, support)
    _check_folder(target)
    run = _computing_in(run, dtype)
    source = source_of(run, support, head=head, implants=implants, reject=reject, seed=seed, batch_size=batch_size)
    functions, known, of_run = {FEATURES: source.features}, source.classes, False
    if support is None and with_classes and run.method.reads_loss:
        known, of_run = own_classes(source), True
        if not known:
            known = tuple(KnownClass(name, np.zeros(0), 0, column) for column, name in enumerate(run.class_names))
            functions[LOGITS] = logits_of(source.run)
    _check_names(known)
    _check_rule(source, known, functions)
    files, used = _lowered(source, functions, tuple(platforms))
    facts = {**_facts(source, platforms), "weights": used, "classes": [c.name for c in known]}
    difference = _compared(source, facts, {**files, CLASSES: classes_file(known)}, of_run=of_run)
    try:
        write_folder(target, facts, files, known)
    except ExportError as error:
        raise UserError(str(error)) from error
    sizes = {path.name: path.stat().st_size for path in sorted(target.iterdir()) if path.is_file()}
    by = "loss" if LOGITS in files else "rule"
    return Report(
        target,
        tuple(facts["classes"]),
        by,
        sizes,
        difference,
        source.unreadable,
        source.threshold,
        source.head,
        source.doubt,
    )


def _check_options(platforms: Sequence[str], support: str | Path | None, implants: bool, with_classes: bool) -> None:
    """Raise a `UserError` for options that cannot be, or exclude each other."""
    for name in platforms:
        if name not in PLATFORMS:
            raise unknown("platform", name, PLATFORMS)
    if not platforms or len(set(platforms)) < len(platforms):
        raise UserError(f"platforms={' '.join(platforms)!r} must be one or more, each once, of: {', '.join(PLATFORMS)}")
    if support is not None and not with_classes:
        raise UserError("the classes of --support and --no-classes: ask for one of them")
    if support is None and implants:
        raise UserError("--implants are trained on the pictures of --support: give a folder of class folders there")


def _check_head(head: str, support: str | Path | None, implants: bool) -> None:
    """Raise a `UserError` for a head that is unknown, or that there is nothing to fit on."""
    check_head(head, implants=implants)
    if support is None and head not in (AUTO, PROTOTYPES):
        raise UserError(f"the head {head!r} is fitted on the pictures of --support: give a folder of class folders")


def _check_folder(target: Path) -> None:
    """Raise a `UserError` unless an export can be written here: known before anything is computed."""
    try:
        check_target(target)
        # What is written first: a file in the folder, or the folder, or the first of its parents that is not there.
        first = next(path for path in (target / FACTS, target, *target.parents) if path.parent.exists())
    except (ExportError, OSError) as error:
        raise UserError(str(error)) from error
    check_writable(first)


def _check_reject(reject: bool | float, support: str | Path | None) -> None:
    """Raise a `UserError` for a threshold that is no number, or that nothing can be chosen on."""
    check_reject(reject)
    if reject is True and support is None:
        raise UserError(
            "a threshold of 'none of these' is chosen on the pictures of --support: give a folder of class folders "
            "there, or the threshold"
        )


def _check_rule(source: Source, known: Sequence[KnownClass], functions: Mapping[str, Function]) -> None:
    """Raise a `UserError` for a threshold where there is no similarity, or a class called as rejected pictures are."""
    if source.threshold is None:
        return
    if LOGITS in functions:
        raise UserError(
            "--reject compares a picture's similarity to its class with a threshold, and this run's own classes are "
            "scored by the rule of its loss, which has none: export with --support, or without --reject"
        )
    if NONE_OF_THESE in (c.name for c in known):
        raise UserError(f"a class of the run is called {NONE_OF_THESE!r}, as rejected pictures are: leave out --reject")


def _check_names(known: Sequence[KnownClass]) -> None:
    names = [c.name for c in known]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two classes of the run are called {twice[0]!r}: an export tells classes apart by their names")


def _computing_in(run: Run, dtype: str) -> Run:
    """The run, its network computing in another dtype."""
    if dtype in ("", run.config.model.dtype):
        return run
    if dtype != "float32":
        raise UserError(f"dtype={dtype!r}: a run is exported in what it was trained in, or in 'float32'")
    config = run.config.copy_and_resolve_references()
    config.model.dtype = dtype
    return dataclasses.replace(run, config=config)


def _lowered(
    source: Source, functions: Mapping[str, Function], platforms: tuple[str, ...]
) -> tuple[dict[str, bytes], dict[str, list[str]]]:
    """The functions serialized and the weights that they read, as files; and the names of these weights by function."""
    (batch,) = jax_export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *source.run.info.image_shape), jnp.uint8)
    files, used = {}, {}
    for name, function in functions.items():
        read = sorted(source.weights)
        while True:
            weights = {key: source.weights[key] for key in read}
            shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), weights)
            exported = jax_export.export(jax.jit(function), platforms=platforms)(shapes, images)
            # Arguments are the weights in the order of their names, then the images.
            kept = [key for number, key in enumerate(read) if number in exported.module_kept_var_idx]
            if kept == read:
                break
            read = kept
        files[name], used[name] = bytes(exported.serialize()), read
    stream = io.BytesIO()
    arrays: dict[str, Any] = {key: np.asarray(source.weights[key]) for key in sorted(set().union(*used.values()))}
    np.savez(stream, **arrays)
    files[WEIGHTS] = stream.getvalue()
    return files, used


def _facts(source: Source, platforms: Sequence[str]) -> dict[str, Any]:
    """The content of export.json, but for the classes, the weights and the files."""
    run, rule = source.run, source.rule
    image = jax.ShapeDtypeStruct((1, *run.info.image_shape), jnp.uint8)
    shapes = jax.eval_shape(source.features, source.weights, image)
    dim = shapes[rule.support_pool].shape[-1]
    names = ("similarity", "support_pool", "query_pool", "tau", "unit_support")
    threshold = None if source.threshold is None else source.threshold.value
    return {
        "format": FORMAT,
        "fsjax": __version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "run": {"name": run.config.name, "method": run.config.method.name, "step": run.step},
        "implants": any(name.startswith("implants/") for name in source.weights),
        "dtype": run.config.model.dtype,
        "platforms": list(platforms),
        "images": {"shape": list(run.info.image_shape), "mean": list(run.info.mean), "std": list(run.info.std)},
        "pictures": dataclasses.asdict(data.open_pictures([], run.config.data, run.info).view),
        "embedding": shapes["embedding"].shape[-1],
        "rule": {name: getattr(rule, name) for name in names}
        | {"widths": list(rule.widths or (dim,)), "dim": dim}
        | {"head": source.head, "temperature": source.temperature, "threshold": threshold},
    }


def _compared(source: Source, facts: dict[str, Any], files: Mapping[str, bytes], *, of_run: bool) -> float | None:
    """The largest difference of outputs from the run's, see `Report`.

    Raises:
      RuntimeError: if it is more than rounding: that would be a mistake in fsjax.
    """
    try:
        model = opened(facts, files)
    except ExportError:  # this machine's platform is none of those exported for
        return None
    run = source.run
    images = np.random.default_rng(0).integers(0, 256, (_COMPARED, *run.info.image_shape), dtype=np.uint8)
    pairs = [(model.embed(images), source.embed(images))]
    if of_run:
        pairs.append((model.scores(images), run.logits(images)))
    largest = max(float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-6)) for a, b in pairs)
    if not largest <= _TOLERANCE[facts["dtype"]]:
        raise RuntimeError(f"the export of {run.workdir} differs from the run by {largest:.2g} of its outputs")
    return largest
