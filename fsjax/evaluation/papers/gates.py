"""What the gates of AFLM's attention do: whether they balance its branches by task, as the paper has it (Sec. 4.3).

The paper shows the accuracy with and without gates, and never the gates.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsjax import data
from fsjax.data import ReconstructedOptions
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.class_pools import DEFAULT
from fsjax.evaluation.few_shot.evaluator import Evaluator
from fsjax.evaluation.papers.gate_statistics import TaskClasses, by_base_classes, follows_base_share, spread, task_means
from fsjax.methods.base import Method, Variables, only

_BINS = 50


@dataclasses.dataclass(frozen=True, eq=False)
class GateReport:
    """A gate over the images and tasks of base and novel classes together.

    Attributes:
      name: of the gate: "gate_global4" multiplies the Global branch's channels after stage 4.
      numbers: as JSON types, see `fsjax.evaluation.papers.gate_statistics`.
      edges: `[bins + 1]` of a histogram over images and channels.
      base, novel: `[bins]` densities of images of base and of novel classes.
    """

    name: str
    numbers: dict[str, Any]
    edges: np.ndarray
    base: np.ndarray
    novel: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class GateStudy:
    """The gates of a run.

    Attributes:
      gates: in the order of their names.
      facts: what they depend on, as JSON types: images, tasks and their hash.
    """

    gates: list[GateReport]
    facts: dict[str, Any]


def study_gates(
    evaluator: Evaluator,
    *,
    spec: data.EpisodeSpec,
    tasks: int,
    seed: int,
    reconstructed: ReconstructedOptions = DEFAULT,
) -> GateStudy:
    """The gates of all images of novel and base classes, and of tasks that mix the two.

    Args:
      evaluator: of a trained run.
      spec: of the tasks; they are those that an evaluation with the classes "reconstructed" draws.
      tasks: how many.
      seed: of the tasks, and of the permutations.
      reconstructed: which base classes stand beside the novel ones.

    Raises:
      UserError: for a network without gates, and for data that cannot make such tasks.
    """
    gates_of(evaluator.method, evaluator.params, evaluator.collections, evaluator.splits.info.image_shape)
    part = evaluator.part("reconstructed", reconstructed)
    is_base: Any = part.is_base  # of such a part always there
    table = data.class_table(part.labels, len(part.class_names))
    data.check_feasible(table, spec, part.class_names, part.where)
    episodes = data.draw_episodes(table, spec, seed=seed, start=0, count=tasks)
    found = image_gates(evaluator, part.examples)
    classes = TaskClasses(episodes.classes, is_base)
    reports = [
        _report(name, gates, is_base[part.labels], episodes.support, classes, seed) for name, gates in found.items()
    ]
    facts = {
        "data": evaluator.splits.info.name,
        **spec.to_json(),
        "tasks": tasks,
        "seed": seed,
        "episodes": episodes.hash,
        "images": len(part.labels),
        "num_classes": {"novel": int(np.sum(~is_base)), "base": int(np.sum(is_base))},
        **part.facts,
    }
    return GateStudy(reports, facts)


def _report(
    name: str, gates: np.ndarray, is_base: np.ndarray, support: np.ndarray, tasks: TaskClasses, seed: int
) -> GateReport:
    """The numbers of one gate `[images, c]`; `is_base` is of the images."""
    of_tasks = task_means(gates, support)
    numbers = {
        "gate": name,
        **spread(gates, of_tasks),
        "by_base_classes": by_base_classes(of_tasks, tasks.base_classes),
        **follows_base_share(of_tasks, tasks, seed=seed),
    }
    # A sigmoid's range, so that the bins of all gates are alike.
    edges = np.histogram_bin_edges(gates, bins=_BINS, range=(min(0.0, gates.min()), max(1.0, gates.max())))
    base, novel = (np.histogram(gates[chosen], bins=edges, density=True)[0] for chosen in (is_base, ~is_base))
    return GateReport(name, numbers, edges, base, novel)


def image_gates(evaluator: Evaluator, examples: data.Examples) -> dict[str, np.ndarray]:
    """The gates of images by name, float32 `[n, c]`; each image goes through the network once.

    Raises:
      UserError: for a network without gates.
    """
    method, info = evaluator.method, evaluator.splits.info
    gates = jax.jit(gates_of(method, evaluator.params, evaluator.collections, info.image_shape))
    parts = []
    for batch in data.eval_batches(examples, batch_size=evaluator.batch_size, info=info):
        real = batch["weight"] > 0
        found = gates(evaluator.params, evaluator.collections, batch["image"])
        parts.append({name: np.asarray(array)[real] for name, array in found.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def gates_of(
    method: Method, params: Variables, collections: Variables, image_shape: tuple[int, int, int]
) -> Callable[[Any, Any, Any], dict[str, jax.Array]]:
    """The function that gives a network's gates, sown as "gate" by the modules that have some.

    Args:
      method: see `fsjax.methods`.
      params, collections: its variables, arrays or their shapes.
      image_shape: of one image.

    Returns:
      `(params, collections, images) -> gates`: normalised images `[batch, h, w, c]` to `[batch, channels]` by the name
      of the module, in the order of the names.

    Raises:
      UserError: for a network without gates.
    """

    def gates(params: Variables, collections: Variables, images: Any) -> dict[str, jax.Array]:
        variables = {"params": params["encoder"], **only(collections, "batch_stats")}
        _, sown = method.encoder.apply(variables, images, train=False, mutable=["intermediates"])
        return dict(sorted(_named_gates(sown.get("intermediates", {}))))

    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    if not jax.eval_shape(gates, params, collections, image):
        raise UserError(
            "this network has no gates: those of method 'aflm' with config.method.aflm.attention=True have some"
        )
    return gates


def _named_gates(sown: Mapping[str, Any]) -> list[tuple[str, jax.Array]]:
    """Name and values of each gate in a tree of what modules have sown."""
    found = []
    for name, value in sown.items():
        if not isinstance(value, Mapping):
            continue
        found += [(name, value["gate"][0])] if "gate" in value and not isinstance(value["gate"], Mapping) else []
        found += _named_gates(value)
    return found
