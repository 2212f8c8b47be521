"""The end of a run: the selected checkpoint, scored once on test data, and what is drawn of it."""

import importlib.metadata
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fsjax import data
from fsjax.config import plugged
from fsjax.evaluation.analysis.plots import feature_scatter
from fsjax.evaluation.few_shot.protocol import in_words
from fsjax.methods.base import Variables
from fsjax.training import hosts
from fsjax.training.checkpoints import DamagedError, load_together
from fsjax.training.experiment import Experiment, images_per_step
from fsjax.training.records import read_jsonl
from fsjax.training.state import TrainState
from fsjax.version import __version__

logger = logging.getLogger("fsjax")

# So many classes are named.
_LOWEST = 5


def finish(experiment: Experiment, state: TrainState, folder: Path) -> tuple[TrainState, dict[str, Any]]:
    """Score the selected checkpoint on the test data, and describe the run.

    Args:
      experiment: the run's parts.
      state: the (replicated) state after the last step.
      folder: the run's folder.

    Returns:
      The (replicated) state that was selected, and what `result.json` holds.
    """
    state, selected = _select(experiment, state, folder)
    test = experiment.scoring.test(state)
    return state, hosts.by_first(lambda: _described(experiment, state, folder, selected, test))


def _described(
    experiment: Experiment, state: TrainState, folder: Path, selected: dict[str, Any], test: Any
) -> dict[str, Any]:
    """What `result.json` holds."""
    parallel = experiment.parallel
    lines = read_jsonl(folder / "metrics.jsonl")
    validation = [x for x in lines if x["kind"] == "validation" and x["step"] == selected["step"]]
    train = [x for x in lines if x["kind"] == "train"]
    return {
        "name": experiment.config.name,
        "method": experiment.config.method.name,
        "loss": experiment.config.loss.name if experiment.method.reads_loss else None,
        "seed": experiment.config.seed,
        "test": test,
        "validation": _figures(validation[-1]) if validation else None,
        "selected": selected,
        "training": {
            "steps": experiment.steps,
            "batch_size": images_per_step(experiment.config, experiment.method),
            "last": _figures(train[-1]) if train else None,
            "seconds": sum(x["timing"].get("seconds", 0.0) for x in lines),
            "parameters": _count(state.params, parallel),
        },
        "machine": {
            "devices": f"{parallel.num_devices} x {jax.devices()[0].device_kind}",
            "cores": os.cpu_count(),
            "backend": parallel.backend,
            "processes": jax.process_count(),
            **{name: importlib.metadata.version(name) for name in ("jax", "flax")},
            "fsjax": __version__,
            "plugins": plugged(experiment.config),
        },
    }


def summary(result: Mapping[str, Any]) -> str:
    """The result in a line, or in one for each figure of a few-shot protocol; in two where classes are uneven."""
    test = result["test"]
    if test is None:
        score = "no test data"
    elif "figures" in test:
        score = "\n".join(map(in_words, test["figures"]))
    else:
        score = f"test accuracy {test['accuracy']:.4f} of {test['num_examples']:.0f} examples"
    lines = [f"{score}; {result['selected']['why']} (step {result['selected']['step']})"]
    return "\n".join(lines + _of_uneven_classes(test or {}))


def _of_uneven_classes(test: Mapping[str, Any]) -> list[str]:
    """What the accuracy hides where the largest class has half as many test images again as the smallest, or more."""
    count, accuracy = test.get("count", {}), test.get("per_class", {})
    if len(count) < 2 or max(count.values()) < 1.5 * min(count.values()):
        return []
    largest = max(count, key=count.__getitem__)
    lowest = sorted(accuracy, key=accuracy.__getitem__)[:_LOWEST]
    return [
        f"balanced accuracy {test['balanced_accuracy']:.4f}: the classes are uneven, and always {largest!r} would be "
        f"right in {count[largest] / sum(count.values()):.4f}; "
        + ", ".join(f"{name!r} {accuracy[name]:.4f} of {count[name]}" for name in lowest)
        + (f", the lowest of {len(count)} classes" if len(count) > len(lowest) else "")
    ]


def _select(experiment: Experiment, state: TrainState, folder: Path) -> tuple[TrainState, dict[str, Any]]:
    single = experiment.parallel.single(state)
    best = int(single.best.step)
    if best < 0:
        return state, {"step": experiment.steps, "why": "the last step, since there is no validation data"}
    if best == experiment.steps:
        return state, {"step": best, "why": "best validation accuracy"}
    try:
        wanted = {"params": single.params, "collections": single.collections}
        chosen = load_together(folder / "checkpoints" / "best", best, wanted)
    except DamagedError as error:
        logger.warning("%s; the last step is scored in its place", error)
        return state, {"step": experiment.steps, "why": "the last step, since the best checkpoint is damaged"}
    # Of the optimizer there is nothing to score, and no room for a second one where its state is divided.
    state = state.replace(**experiment.parallel.replicate(chosen), opt_state=None)
    return state, {"step": best, "why": "best validation accuracy"}


def draw_features(experiment: Experiment, state: TrainState, path: Path) -> None:
    """Draw the 2-D features of the training and test images, as Fig. 2 of the ICU paper does.

    Args:
      experiment: the run's parts.
      state: the (replicated) state that was selected.
      path: of the PNG file.
    """
    splits, method = experiment.splits, experiment.method
    state = experiment.parallel.local(state.replace(opt_state=None))
    embed = jax.jit(lambda images: method.embed(state.params, state.collections, images))
    panels = {}
    for title, examples in (("training", splits.train), ("test", splits.test)):
        if examples is None:
            continue
        features, labels = [], []
        for batch in data.eval_batches(examples, batch_size=experiment.config.eval.batch_size, info=splits.info):
            real = batch["weight"] > 0
            features.append(np.asarray(embed(batch["image"]))[real])
            labels.append(batch["label"][real])
        panels[title] = (np.concatenate(features), np.concatenate(labels))
    feature_scatter(panels, path, class_names=splits.info.class_names)


def _figures(line: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in line.items() if k not in ("kind", "timing")}


def _count(params: Variables, parallel: Any) -> int:
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(parallel.single(params)))
