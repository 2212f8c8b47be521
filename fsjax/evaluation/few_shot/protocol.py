"""What is evaluated: which classes, ways, shots, tasks and poolings; and a figure for each."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from fsjax.data import EpisodeSpec, parse_spec
from fsjax.evaluation.few_shot import reconstructed
from fsjax.evaluation.few_shot.intervals import in_words as intervals_in_words
from fsjax.evaluation.few_shot.intervals import intervals_of
from fsjax.evaluation.few_shot.kept import TaskScores
from fsjax.evaluation.few_shot.statistics import mean_interval
from fsjax.methods.rules import Rule
from fsjax.options import check_fields, read, section
from fsjax.options.few_shot import FewShotOptions, ReconstructedOptions, check_pooling


@dataclasses.dataclass(frozen=True)
class Protocol:
    """An evaluation; the fields are those of `config.few_shot`, and its own head.

    Attributes:
      way: classes of a task, a number or a pair (least, most).
      shots: numbers of support images per class, each a number or a pair; each is evaluated for itself.
      query: queries per class.
      tasks: how many tasks.
      implant_tasks: how many where implants are trained for each.
      classes: of `fsjax.options.few_shot.CLASSES`.
      seed: of the tasks, apart from the run's: every run meets the same ones.
      poolings: "support/query" each ("gap/dense"), instead of the method's own; none: that.
      inference_tau: scale of the similarities of dense queries instead of the learned one; 0: that.
      reconstructed: which base classes stand beside the novel ones in reconstructed tasks, and how many images.
      head: what is made of support features, of `fsjax.methods.rules.HEADS`; with "naive_bayes" and no poolings,
        queries are pooled as support images are.
      shrinkage: of the variances of "naive_bayes", see `fsjax.methods.naive_bayes.task_scores`.
    """

    way: int | tuple[int, ...] = FewShotOptions.way
    shots: tuple[int | tuple[int, int], ...] = FewShotOptions.shots
    query: int | tuple[int, ...] = FewShotOptions.query
    tasks: int = FewShotOptions.tasks
    implant_tasks: int = FewShotOptions.implant_tasks
    classes: tuple[str, ...] = FewShotOptions.classes
    seed: int = FewShotOptions.seed
    poolings: tuple[str, ...] = FewShotOptions.poolings
    inference_tau: float = FewShotOptions.inference_tau
    reconstructed: ReconstructedOptions = FewShotOptions.reconstructed
    head: str = "prototypes"
    shrinkage: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shots", "tasks", "implant_tasks", "classes", "seed", "inference_tau"):
            section(FewShotOptions).keys[name].read(getattr(self, name), f"few_shot.{name}")
        for pooling in self.poolings:
            check_pooling("few_shot.poolings", pooling)
        check_fields(self.reconstructed, "few_shot.reconstructed.")
        self.specs()

    def specs(self) -> list[EpisodeSpec]:
        """The tasks of each number of shots."""
        return [parse_spec(way=self.way, shot=shot, query=self.query) for shot in self.shots]

    def rules(self, own: Rule, *, embedding: str) -> list[Rule]:
        """The rules of prediction that are evaluated.

        Args:
          own: the method's.
          embedding: what the encoder's embedding is a pooling by: see `fsjax.methods.rules.own_pool`.

        Raises:
          UserError: for poolings that cannot be.
        """
        own = dataclasses.replace(own, tau=self.inference_tau or own.tau)
        if self.head != "prototypes" or self.shrinkage:
            pools: dict[str, Any] = {"query_pool": own.support_pool, "unit_support": False, "widths": ()}
            own = dataclasses.replace(own, head=self.head, shrinkage=self.shrinkage, **pools)
        pairs = [[embedding if x == "embedding" else x for x in pooling.split("/")] for pooling in self.poolings]
        return [dataclasses.replace(own, support_pool=s, query_pool=q) for s, q in pairs] or [own]

    @classmethod
    def of(cls, section_of_config: Mapping[str, Any]) -> "Protocol":
        """The protocol of `config.few_shot`.

        Raises:
          UserError: for an unknown key or a value that cannot be.
        """
        chosen = read(FewShotOptions, section_of_config, "config.few_shot")
        own = {field.name for field in dataclasses.fields(cls)}
        return cls(**{f.name: getattr(chosen, f.name) for f in dataclasses.fields(chosen) if f.name in own})


@dataclasses.dataclass(frozen=True, eq=False)
class Figure:
    """An accuracy over many tasks.

    Attributes:
      facts: the accuracy with its intervals, and everything that it depends on, as JSON types.
      accuracy: float64 `[tasks]`, of each task.
      scores: which queries of the tasks were right; None of a file of before they were kept.
      parts: arrays `[tasks]` of tasks of base and novel classes together: see `reconstructed.by_task`.
    """

    facts: dict[str, Any]
    accuracy: np.ndarray
    scores: TaskScores | None = None
    parts: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return in_words(self.facts)


def make_figure(
    scores: TaskScores,
    class_names: tuple[str, ...],
    facts: Mapping[str, Any],
    *,
    is_base: np.ndarray | None = None,
) -> Figure:
    """The figure of scored tasks.

    Args:
      scores: of the tasks.
      class_names: by label.
      facts: classes, way, shot, query, seed, pooling: see `fsjax.evaluation.few_shot.evaluator`.
      is_base: bool `[classes]`, of tasks of base and novel classes together; None of others.
    """
    interval = mean_interval(scores.accuracy)
    if is_base is not None or facts.get("classes") == "base":
        scores = dataclasses.replace(scores, new=np.zeros_like(scores.new) if is_base is None else ~is_base)
    shares = scores.correct / np.maximum(scores.count, 1)
    per_class = {
        name: round(float(share), 6)
        for name, share, count in zip(class_names, shares, scores.count, strict=True)
        if count
    }
    found = {
        **facts,
        "accuracy": interval.mean,
        **intervals_of(interval, scores).to_json(),
        "deviation": interval.deviation,
        "tasks": interval.count,
        "episodes": scores.episodes,
        "per_class": per_class,
    }
    parts = {} if is_base is None else reconstructed.by_task(scores, is_base)
    more = {} if is_base is None else reconstructed.facts(scores.accuracy, parts)
    return Figure(found | more, scores.accuracy, scores, parts)


def in_words(figure: Mapping[str, Any]) -> str:
    """A figure in a line, with its pooling, tasks, queries and episodes."""
    shot, way, query = (_count(figure[name]) for name in ("shot", "way", "query"))
    head = in_pools(figure) + (" + implants" if figure.get("implants") else "")
    line = (
        f"{figure['classes']:10} {way}-way {shot}-shot  {100 * figure['accuracy']:.2f} {intervals_in_words(figure)}"
        f"  {head}, {query} queries per class, {figure['tasks']} tasks, seed {figure['seed']}, "
        f"episodes {figure['episodes']}"
    )
    if "harmonic_mean" in figure:
        novel, base, mean = (100 * figure[name] for name in ("novel", "base", "harmonic_mean"))
        line += f"; novel queries {novel:.2f}, base queries {base:.2f}, harmonic mean {mean:.2f}"
    if "by_base_classes" in figure:
        line += f"; {reconstructed.in_words(figure)}"
    return line


def in_pools(figure: Mapping[str, Any]) -> str:
    """What a figure's support images and queries are reduced to, and what is made of them."""
    pools = f"{figure['support_pool']}/{figure['query_pool']}"
    if figure.get("head", "prototypes") == "prototypes":
        return pools
    shrinkage = f", shrinkage {figure['shrinkage']:g}" if figure.get("shrinkage") else ""
    return f"{pools} {figure['head'].replace('_', ' ')}{shrinkage}"


def _count(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
