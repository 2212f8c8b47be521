"""A run from its config to its result: check, load, resume or start, train, select, score once."""

import collections
import contextlib
import itertools
import logging
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from fsjax import data
from fsjax.config import check, complete, plugged
from fsjax.errors import platform_errors
from fsjax.files import write_json
from fsjax.training import hosts, pretrained, same_data, workdir
from fsjax.training.checkpoints import Checkpoints, steps_in
from fsjax.training.compilation import keep_compiled
from fsjax.training.experiment import Experiment, build_experiment
from fsjax.training.finish import draw_features, finish, summary
from fsjax.training.records import Progress, Records
from fsjax.training.reporting import Reporter
from fsjax.training.start import check_start, started
from fsjax.training.state import TrainState
from fsjax.training.stopping import stop_signals
from fsjax.training.teacher import with_class_means
from fsjax.training.watch import Watch
from fsjax.training.xla import set_cpu_flags
from fsjax.version import __version__

logger = logging.getLogger("fsjax")

# More dispatches in flight gain nothing, and abort with a rendezvous timeout on many virtual CPU devices.
_IN_FLIGHT = 2
_FULL_OF_IMAGES = (
    "the devices' memory does not hold what is to stay there: --config.data.backend=host keeps the images out of it; "
    "more devices share them, and a smaller --config.data.image_size makes them smaller"
)


def run(config: ConfigDict, path: str | Path) -> dict[str, Any]:
    """Train, select a checkpoint on validation data, and score it once on test data.

    The same call again continues a run that was stopped, with the bits of one that never was.

    Args:
      config: an `ml_collections.ConfigDict` such as `configs/icu_digits.py` gives.
      path: the run's folder; made if it is not there.

    Returns:
      What `result.json` holds: "test", "validation", "selected", "training" and where it ran.

    Raises:
      UserError: for what the user can set right: config, data, folder, divergence.
    """
    set_cpu_flags()
    keep_compiled()
    with platform_errors():
        jax.devices()
    with hosts.together(lambda: workdir.common_facts(config.to_dict())) as watch:
        return _run(config, path, watch)


def _run(config: ConfigDict, path: str | Path, watch: Watch | None) -> dict[str, Any]:
    """`run`, in each of the processes that make the run; what stands in files, the first finds for all."""
    complete(config)
    check(config)
    result = hosts.by_first(lambda: workdir.finished(path, config.to_dict()))
    if result is not None:
        logger.info("the run in %s is complete; nothing is trained: %s", path, summary(result))
        return result
    latest = Path(path).expanduser() / "checkpoints" / "latest"  # that it can be a folder, `finished` has looked
    begun = hosts.by_first(lambda: bool(steps_in(latest)))  # a run that is continued needs no start
    weights = {} if begun else hosts.in_turn(lambda: pretrained.find_files(config))
    splits = hosts.in_turn(lambda: data.load_splits(config.data, seed=config.seed))
    hosts.check_same(lambda: same_data.facts(splits), same_data.WAY_OUT)
    with workdir.full_memory(_FULL_OF_IMAGES):
        experiment = build_experiment(config, splits)
    if not begun:
        check_start(config, experiment.method, splits.info)
        pretrained.check_files(config, weights, experiment.method, splits.info.image_shape)
    with workdir.prepared(path, config.to_dict(), splits.info.to_json()) as folder:
        logger.info("%s", data.describe(splits))
        state = _train(experiment, folder, weights, watch)
        state, result = finish(experiment, state, folder)
        return hosts.by_first(lambda: _write(experiment, state, result, folder))


def _write(experiment: Experiment, state: TrainState, result: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the result and what is drawn; the result, with what the run started from."""
    config = experiment.config
    workdir.check_in_place(folder)
    result = result | pretrained.recorded(config, folder)
    write_json(folder / "result.json", result)
    logger.info("%s", summary(result))
    if config.figures.scatter:
        draw_features(experiment, state, folder / "features.png")
    logger.info("the run is in %s; a page of it: fsjax report %s", folder, shlex.quote(str(folder)))
    return result


def _train(
    experiment: Experiment, folder: Path, weights: Mapping[str, pretrained.Weights], watch: Watch | None
) -> TrainState:
    """Train to the last step and return the (replicated) state there; `weights` are the files to start from."""
    config, parallel, steps = experiment.config, experiment.parallel, experiment.steps
    facts = {"config": config.to_dict(), "data": experiment.splits.info.to_json(), "fsjax": __version__}
    facts |= {"plugins": plugged(config)}
    with contextlib.ExitStack() as stack:
        latest = stack.enter_context(Checkpoints(folder / "checkpoints" / "latest", keep=2, metadata=facts))
        best = stack.enter_context(Checkpoints(folder / "checkpoints" / "best", keep=1, metadata=facts))
        single = experiment.initial_state()
        found = latest.load_latest(single)
        start, single = found or (0, single)
        if found:
            logger.info("continuing from step %d of %d", start, steps)
        elif config.start_from:
            single = started(single, config.start_from)
        elif weights:
            single, record = pretrained.loaded(single, weights, experiment.method)
            if hosts.is_first():
                pretrained.write_record(folder, record)
        if not found and experiment.teacher is not None:
            size = config.eval.batch_size
            single = with_class_means(single, experiment.method, experiment.teacher, experiment.splits, batch_size=size)
        if not found:
            single = hosts.from_first(single)
        best.drop_after(start)
        state = parallel.place(single)
        records = stack.enter_context(Records(folder, start_step=start, write=hosts.is_first()))
        show = config.train.progress and hosts.is_first()
        progress = stack.enter_context(Progress(start_step=start, steps=steps, show=show))
        stop = stack.enter_context(stop_signals(watch))
        reporter = Reporter(experiment, records, progress, latest, start_step=start)

        pending: collections.deque[jax.Array] = collections.deque()
        ends = list(_dispatch_ends(start, config.train, steps))
        lengths = (end - begin for begin, end in itertools.pairwise([start, *ends]))
        for end, batch in zip(ends, experiment.train_batches(start, lengths), strict=True):
            state, losses = experiment.train_step(state, batch)
            pending.append(losses)
            if len(pending) == _IN_FLIGHT:
                jax.block_until_ready(pending.popleft())
            progress.advance(end)
            log = _due(end, config.train.log_every, steps)
            validate = _due(end, config.train.eval_every, steps) and experiment.splits.validation is not None
            stopping = stop()
            save = _due(end, config.train.checkpoint_every, steps) or bool(stopping)
            if log or validate or save:
                reporter.raise_if_diverged(state)
            if log:
                state = reporter.log(state, end)
            if validate:
                state, improved = reporter.validate(state, end)
                if improved:
                    workdir.check_in_place(folder)
                    best.save(end, parallel.single(state))
                save = save or improved
            if log or save:
                workdir.check_in_place(folder)
            if save:
                # A state that knows of a best one is never written before it, nor is a run continued from before
                # its best: so the best checkpoint is always there.
                best.wait()
                latest.save(end, parallel.single(state))
            if save and stopping and end < steps:
                latest.wait()
                progress.say(f"stopped at step {end} of {steps}; the same command continues the run")
                raise SystemExit(128 + stopping)
    return state


def _dispatch_ends(start: int, train: Any, steps: int) -> Iterator[int]:
    """Where the dispatches end: every `steps_per_dispatch` steps, and wherever something is due.

    They depend on the step alone, so that a resumed run compiles and computes what an uninterrupted one does.
    """
    strides = [train.steps_per_dispatch, train.log_every, train.checkpoint_every]
    strides += [train.eval_every] if train.eval_every else []
    step = start
    while step < steps:
        step = min(steps, *((step // stride + 1) * stride for stride in strides))
        yield step


def _due(step: int, every: int, steps: int) -> bool:
    return step == steps or (every > 0 and step % every == 0)
