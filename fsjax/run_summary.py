"""What a run is, in words: the lines that `Run.summary()` prints, and the same for a notebook.

Internal: no part of the public interface.
"""

import dataclasses
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from fsjax.data import DataInfo
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.intervals import in_words as intervals_in_words
from fsjax.evaluation.few_shot.intervals import tasks_in_words
from fsjax.evaluation.few_shot.protocol import in_pools
from fsjax.methods.base import Method, Variables
from fsjax.pages import Html, fragment, table, tag
from fsjax.pages.document import facts_list
from fsjax.run_folder import read_result

_WIDTH, _NAME = 110, 12
# So many class names are listed whole; of more, the first ones.
_CLASSES = 10
_FIGURES = ("classes", "way", "shot", "accuracy (%)", "pooling", "queries per class", "tasks")


@dataclasses.dataclass(frozen=True)
class Summary:
    """A run in words.

    Attributes:
      title: what it is.
      facts: what there is to know, by name, in order.
      figures: rows of its few-shot figures, below `_FIGURES`; none for a run without them.
      usage: calls, and what each gives.
    """

    title: str
    facts: dict[str, str]
    figures: tuple[tuple[str, ...], ...]
    usage: dict[str, str]

    def text(self) -> str:
        """Several lines."""
        wrapped = textwrap.TextWrapper(
            _WIDTH, subsequent_indent=" " * (_NAME + 2), break_long_words=False, break_on_hyphens=False
        )
        lines = [self.title]
        for name, value in self.facts.items():
            wrapped.initial_indent = f"  {name:{_NAME}}"
            lines += wrapped.wrap(value)
        if self.figures:
            lines += ["", *_aligned((_FIGURES, *self.figures))]
        calls = max(map(len, self.usage))
        return "\n".join([*lines, "", *(f"  {call:{calls}}  # {gives}" for call, gives in self.usage.items())])

    def html(self) -> Html:
        """The same for a notebook; names that hold HTML are text in it."""
        figures = None
        if self.figures:
            figures = table(
                _FIGURES, self.figures, caption="Few-shot tasks of the test classes", numeric=(1, 2, 3, 5, 6)
            )
        calls = max(map(len, self.usage))
        usage = "\n".join(f"{call:{calls}}  # {gives}" for call, gives in self.usage.items())
        title = tag("p", tag("strong", self.title))
        return fragment(title, facts_list(self.facts), figures, tag("pre", tag("code", usage)))


def summarize(
    workdir: Path, *, config: ConfigDict, info: DataInfo, step: int, params: Variables, method: Method, dim: int
) -> Summary:
    """Describe a run by what it holds, and by its `result.json` where it has finished.

    Args:
      workdir: the run's folder.
      config, info, step, params, method: as those of `fsjax.runs.Run`.
      dim: length of its embeddings.
    """
    try:
        result, damage = read_result(workdir), ""
    except UserError as error:
        result, damage = None, str(error)
    test = (result or {}).get("test") or {}
    facts = {
        "Folder": str(workdir),
        "Data": _data(info),
        "Network": f"{config.model.name}: {_parameters(params)}; embeddings of {dim} numbers",
        "Method": config.method.name,
        **({"Loss": config.loss.name} if method.reads_loss else {}),
        **(_outcome(result, step) if result else {"Result": damage or _no_result(config, step)}),
    }
    figures = tuple(map(_row, test.get("figures", ())))
    return Summary(f"{config.name}: a run of fsjax, at step {step:,}", facts, figures, _usage(info, method, dim))


def summarize_network(published: Any, *, info: DataInfo, params: Variables, method: Method, dim: int) -> Summary:
    """Describe a network that others trained.

    Args:
      published: a `fsjax.networks.Published`.
      info, params, method, dim: as for `summarize`.
    """
    shape = "×".join(map(str, info.image_shape))
    names = ", ".join(info.class_names[:3])
    facts = {
        "Trained on": f"{info.name}: {info.num_classes:,} classes: {names}, …",
        "Network": f"{published.model}: {_parameters(params)}; embeddings of {dim} numbers",
        "Images": f"{shape}, of the centred {100 * published.share:g} % of pictures, {published.resize}",
        "Weights": f"{published.path}, of the package {published.package}, {published.licence}",
        "Note": "its classes overlap with what people photograph: its figures on such pictures are not those of new "
        "classes",
    }
    return Summary(f"{published.name}: a network that others trained", facts, (), _usage(info, method, dim))


def summarize_folder(network: Any, *, info: DataInfo, params: Any, method: Any, dim: int) -> Summary:
    """Describe a network of people's own files.

    Args:
      network: a `fsjax.networks.FolderNetwork`.
      info, params, method, dim: as for `summarize`.
    """
    shape, pictures = "×".join(map(str, info.image_shape)), network.pictures
    part = "the whole picture, stretched" if pictures.fit == "stretch" else f"the centred {100 * pictures.share:g} %"
    facts = {
        "Network": f"{network.layout.kind}: {_parameters(params)}; embeddings of {dim} numbers",
        "Images": f"{shape}, {part}, {pictures.resize}; mean {list(info.mean)}, deviation {list(info.std)}",
        "Weights": f"{network.folder}, licence {network.licence or 'unknown: config.json states none'}",
    }
    usage = _usage(info, method, dim)
    usage.pop("run.predict(images)", None)  # no classes of its own
    return Summary(f"{network.name}: a network that others trained", facts, (), usage)


def _data(info: DataInfo) -> str:
    names = ", ".join(info.class_names[:_CLASSES]) + (", …" if info.num_classes > _CLASSES else "")
    shape = "×".join(map(str, info.image_shape))
    counts = ", ".join(f"{count:,} {split}" for split, count in info.counts.items())
    others = [
        f"{len(classes)} {kind}"
        for kind, classes in (("validation", info.validation_classes), ("novel", info.test_classes))
        if classes
    ]
    kind = f"base classes (and {' and '.join(others)} classes)" if others else "classes"
    return f"{info.name}, images {shape}: {counts}; {info.num_classes} {kind}: {names}"


def _parameters(params: Variables) -> str:
    """How many parameters there are, of each part: those of modules are their parts, such as the encoder's backbone."""
    counts: dict[str, int] = {}
    for part, tree in params.items():
        modules = all(isinstance(child, Mapping) for child in tree.values())
        inner = {f"{part}/{name}": child for name, child in tree.items()} if modules else {part: tree}
        counts |= {name: sum(x.size for x in jax.tree.leaves(child)) for name, child in inner.items()}
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    return f"{sum(counts.values()):,} parameters ({parts})"


def _no_result(config: ConfigDict, step: int) -> str:
    steps = f" of {config.train.steps:,}" if config.train.steps else ""
    return f"none: the folder has no result.json, so the run has not finished (step {step:,}{steps})"


def _outcome(result: Mapping[str, Any], step: int) -> dict[str, str]:
    """Training and scores of a finished run; what an older version did not write is left out."""
    training, selected = result.get("training", {}), result.get("selected", {})
    facts = {"Training": f"{training.get('steps', 0):,} steps of {training.get('batch_size', 0):,} images"}
    if "seconds" in training:
        facts["Training"] += f", {_duration(training['seconds'])}"
    if "step" in selected:
        facts["Scored"] = f"step {selected['step']:,}: {selected.get('why', '')}"
        if selected["step"] != step:
            facts["Scored"] += f"; what is open here is step {step:,}"
    for name, figures in (("Validation", result.get("validation")), ("Test", result.get("test"))):
        if figures and "accuracy" in figures:
            facts[name] = _accuracy(figures)
    return facts | _machine(result.get("machine", {}))


def _accuracy(figures: Mapping[str, Any]) -> str:
    if figures.get("figures"):
        return "few-shot tasks, see below"
    text = f"accuracy {100 * figures['accuracy']:.2f} %"
    if "interval" in figures:
        text += f" {tasks_in_words(figures['interval'])}"
    if "tasks" in figures:
        return f"{text} of {figures['tasks']:,} few-shot tasks"
    return f"{text} of {figures['num_examples']:,.0f} images" if "num_examples" in figures else text


def _machine(machine: Mapping[str, Any]) -> dict[str, str]:
    if not machine:
        return {}
    versions = ", ".join(f"{name} {machine[name]}" for name in ("fsjax", "jax", "flax") if name in machine)
    cores = f", {machine['cores']} cores" if machine.get("cores") else ""
    return {"Trained on": f"{machine.get('devices', 'unknown devices')}{cores}; {versions}"}


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _row(figure: Mapping[str, Any]) -> tuple[str, ...]:
    """A few-shot figure of `result.json` as a row below `_FIGURES`."""
    way, shot, query = ("-".join(map(str, v)) if isinstance(v, list) else str(v) for v in map(figure.get, _SIZES))
    accuracy = f"{100 * figure['accuracy']:.2f} {intervals_in_words(figure)}"
    pooling = in_pools(figure) + (" + implants" if figure.get("implants") else "")
    return figure["classes"], way, shot, accuracy, pooling, query, f"{figure['tasks']:,}"


_SIZES = ("way", "shot", "query")


def _aligned(rows: tuple[tuple[str, ...], ...]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(f"{x:{w}}" for x, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _usage(info: DataInfo, method: Method, dim: int) -> dict[str, str]:
    shape = ", ".join(map(str, info.image_shape))
    calls = {"run.embed(images)": f"uint8 [n, {shape}] -> float32 [n, {dim}]"}
    if not info.few_shot:
        calls["run.predict(images)"] = "-> [n] labels; run.class_names[label] is the name"
    calls["run.few_shot(support, labels, images)"] = (
        "-> a label for each image, from a few labelled ones of any classes"
    )
    if info.few_shot:
        calls["run.evaluator().figures(Protocol())"] = (
            "its few-shot figures; fsjax.evaluation.few_shot.protocol.Protocol"
        )
    if method.locates:
        calls["run.locate(images)"] = "-> boxes, attention maps and crops"
    return calls
