"""Which few-shot tasks the classes of each split can make."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fsjax.data.check.findings import Finding
from fsjax.data.check.scan import Scan
from fsjax.data.errors import DataError
from fsjax.data.pipeline.episode_spec import ClassTable, EpisodeSpec, check_feasible, in_words, parse_spec
from fsjax.errors import counted, one_line

# What is looked at where no config states a protocol.
USUAL = tuple(EpisodeSpec(way=5, shot=shot, query=15) for shot in (1, 5))
# By kind of classes of `config.few_shot.classes`: the splits that tasks are drawn from, and what they are in words.
_KINDS = {
    "novel": (("test", "the novel classes"),),
    "validation": (("validation", "the validation classes"),),
    "base": (("base", "the base classes, on images kept out of training"),),
    "both": (("test", "the novel classes"), ("base", "the base classes, on images kept out of training")),
    "reconstructed": (("test", "the novel classes"),),
    "reconstructed_validation": (("validation", "the validation classes"),),
}
_ABSENT = {
    "test": "choose a class split that has novel classes",
    "validation": "choose a class split that has validation classes",
    "base": "set data.base_holdout above 0 or, of data with a test part, data.keep_test=True",
}


@dataclasses.dataclass(frozen=True)
class Tasks:
    """The tasks that the classes of a split can make.

    Attributes:
      split: its name.
      classes: how many have images.
      possible: by the name of some tasks, "" or why they cannot be made.
      images: shots and queries together that every class has.
      least: the class with the fewest; "" where all have as many.
    """

    split: str
    classes: int
    possible: Mapping[str, str]
    images: int
    least: str

    def to_json(self) -> dict[str, Any]:
        """The fields as plain types."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        said, words = set(), []
        for task, why in self.possible.items():
            words.append(f"{task}: " + ("not possible either" if why in said else why or "possible"))
            said |= {why} - {""}
        if self.classes > 1 and self.images > 1:
            fewest = f" ({self.least!r} has the fewest)" if self.least else ""
            words.append(f"at the most {self.classes} ways, and {self.images:,} shots and queries of a class{fewest}")
        return "; ".join(words)


def tasks_of(scan: Scan, split: str, specs: Sequence[EpisodeSpec] = USUAL) -> Tasks:
    """What the classes of a split that have images allow.

    Args:
      scan: of the data.
      split: its name.
      specs: the tasks that are tried.
    """
    names, counts = _classes(scan, split)
    return Tasks(
        split=split,
        classes=len(names),
        possible={task_name(spec): _why_not(names, counts, spec, "") for spec in specs},
        images=int(counts.min()) if len(counts) else 0,
        least=names[int(counts.argmin())] if len(set(counts.tolist())) > 1 else "",
    )


def task_name(spec: EpisodeSpec) -> str:
    """ "5-way 1-shot with 15 queries"."""
    way, shot, query = (in_words(getattr(spec, name), "-") for name in ("way", "shot", "query"))
    return f"{way}-way {shot}-shot with {query} queries"


def protocol(scan: Scan, config: Mapping[str, Any], *, divided: bool) -> Iterator[Finding]:
    """What of a config's few-shot evaluation, and of its training on episodes, these data cannot do.

    Args:
      scan: of the data.
      config: the whole config, of a run or a file; sections that it lacks ask for nothing.
      divided: whether the splits hold different classes, so that the run will be evaluated on tasks.
    """
    for what, split, where, spec in dict.fromkeys(_asked(scan, config, divided)):
        if split not in scan.splits:
            why = f"there are no images of {where}: {_ABSENT.get(split, 'the split is empty')}"
        else:
            why = _why_not(*_classes(scan, split), spec, where)
        if why:
            yield Finding("tasks", f"{what}: {why}", serious=True)


def _asked(scan: Scan, config: Mapping[str, Any], divided: bool) -> Iterator[tuple[str, str, str, EpisodeSpec]]:
    """What asks for tasks, the split and its name in words, and the tasks."""
    section = config.get("few_shot", {})
    if divided and section:
        for kind in section["classes"]:
            for shot in section["shots"]:
                spec = parse_spec(way=section["way"], shot=shot, query=section["query"])
                for split, where in _KINDS.get(kind, ()):
                    # The other classes of such tasks are base ones, as many as are needed.
                    least = {"way": 2} if kind.startswith("reconstructed") else {}
                    # Base classes beside novel ones only have queries.
                    least |= {"shot": 1} if (kind, split) == ("both", "base") else {}
                    yield "config.few_shot", split, where, dataclasses.replace(spec, **least)
        own = section.get("validation", {})
        if own and "validation" in scan.splits:
            spec = parse_spec({name: own[name] for name in ("way", "shot", "query")})
            if str(own.get("classes", "validation")).startswith("reconstructed"):
                spec = dataclasses.replace(spec, way=2)
            yield "config.few_shot.validation", "validation", "the validation classes", spec
    if "episodes" in config and config["train"]["batch_size"] == 0:
        spec = parse_spec({name: config["episodes"][name] for name in ("way", "shot", "query")})
        yield "config.episodes", "train", "the training classes", spec


def _classes(scan: Scan, split: str) -> tuple[list[str], np.ndarray]:
    """Names and counts of the classes that have images in a split."""
    counts = scan.counts(split)
    there = np.flatnonzero(counts)
    return [one_line(scan.class_names[label]) for label in there], counts[there]


def _why_not(names: Sequence[str], counts: np.ndarray, spec: EpisodeSpec, where: str) -> str:
    """Why these classes cannot make such tasks; "" if they can."""
    if not len(counts):
        return f"{counted(0, 'image')} can be read"
    start = np.cumsum(counts, dtype=np.int32) - counts
    table = ClassTable(order=np.arange(counts.sum()), start=start, count=counts)
    try:
        check_feasible(table, spec, names, where)
    except DataError as error:
        return str(error)
    return ""
