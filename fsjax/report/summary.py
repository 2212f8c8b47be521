"""The first section: what each run is, what it reached, and how the configs differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from fsjax.errors import counted
from fsjax.evaluation.few_shot.statistics import wilson_interval
from fsjax.pages import Html, section, table, tag
from fsjax.report.collect import ABSENT, Collected, config_differences, entry
from fsjax.report.wording import (
    NONE,
    duration,
    heading,
    note,
    number,
    percent,
    task_of,
    unbroken,
    value,
    with_interval,
)

_HEADER = (
    "Run",
    "Test accuracy, %",
    "Config",
    "Method",
    "Loss",
    "Network (parameters)",
    "Steps",
    "Tested step",
    "Seed",
    "Training time",
    "Data",
    "Machine",
)
# Named one by one up to so many: keys of configs, and figures of a run.
_NAMED, _FIGURES = 12, 6


def summary(runs: Sequence[Collected]) -> Html:
    """The section."""
    rows = [_row(run) for run in runs]
    return section(
        "Summary",
        table(_HEADER, rows, caption="Runs", numeric=(6, 7, 8, 9)),
        note(
            "Intervals are of 95 %: of few-shot figures over tasks of the same images and classes (±; others are "
            "below), of a test accuracy over images (Wilson's, in brackets)."
        ),
        [problem_list(run) for run in runs if run.problems],
        _differences(runs),
        anchor="summary",
    )


def problem_list(run: Collected) -> Html:
    """What is odd about a run's folder."""
    return tag("p", tag("strong", run.name), ": ", "; ".join(run.problems), ".")


def _row(run: Collected) -> list[Any]:
    result, training = run.result, entry(run.result, "training")
    steps = entry(training, "steps")
    reached = max((line["step"] for line in run.metrics), default=None)
    loss = result.get("loss") if run.finished else run.get("loss", "name")
    parameters = entry(training, "parameters")
    network = run.get("model", "name") or NONE
    return [
        run.name,
        _lines(_test(run)),
        run.get("name") or result.get("name") or NONE,
        _method(run),
        loss or NONE,
        f"{network} ({number(parameters)})" if parameters else network,
        number(steps) if run.finished else f"{number(reached)} so far",
        number(entry(result, "selected", "step")),
        number(run.get("seed")),
        duration(entry(training, "seconds") if run.finished else _seconds(run)),
        _lines(data_in_words(run)),
        _lines(machine(result)),
    ]


def _lines(words: Sequence[str]) -> list[Html]:
    """A cell of several lines, none of which is broken."""
    return [unbroken(line) for line in words]


def _method(run: Collected) -> str:
    found = run.get("method", "name") or run.get("method") or run.result.get("method")
    return found if isinstance(found, str) else NONE


def _seconds(run: Collected) -> float | None:
    found = [entry(line, "timing", "seconds") for line in run.metrics]
    return sum(seconds for seconds in found if isinstance(seconds, int | float)) if found else None


def data_in_words(run: Collected) -> list[str]:
    """Name, classes, images and their size: "digits, 8×8×1", "10 classes", "1,437 train, 360 test images"."""
    data = run.data
    if not data:
        return [run.get("data", "name") or NONE]
    classes = counted(len(data.get("class_names") or ()), "class", "classes")
    if run.few_shot:
        classes = f"{len(data.get('class_names') or ())} base"
        for kind, words in (("validation_classes", "validation"), ("test_classes", "novel")):
            classes += f", {len(data[kind])} {words}" if data.get(kind) else ""
        classes += " classes"
    counts = data.get("counts") or {}
    images = ", ".join(f"{number(count)} {split}" for split, count in counts.items())
    shape = "×".join(map(str, data.get("image_shape") or ()))
    return [f"{data.get('name', NONE)}, {shape}", classes, f"{images} images"]


def machine(result: Mapping[str, Any]) -> list[str]:
    """Devices, cores and the versions of jax and fsjax."""
    found = entry(result, "machine")
    if not found:
        return [NONE]
    cores = f", {found['cores']} cores" if found.get("cores") else ""
    versions = ", ".join(f"{name} {found[name]}" for name in ("jax", "fsjax") if found.get(name))
    return [f"{found.get('devices', NONE)}{cores}", versions]


def _test(run: Collected) -> list[str]:
    if not run.finished:
        return ["not finished: not tested"]
    test = run.result.get("test")
    if not isinstance(test, Mapping):
        return ["no test data"]
    if isinstance(test.get("figures"), list):
        figures = [_figure(figure) for figure in test["figures"] if isinstance(figure, Mapping)]
        return figures[:_FIGURES] + ([f"and {len(figures) - _FIGURES} more below"] if len(figures) > _FIGURES else [])
    accuracy, images = test.get("accuracy"), test.get("num_examples")
    if not images or accuracy is None:
        return [percent(accuracy)]
    low, high = wilson_interval(round(accuracy * images), round(images))
    return [f"{percent(accuracy)} [{percent(low)}, {percent(high)}]", f"of {counted(round(images), 'image')}"]


def _figure(figure: Mapping[str, Any]) -> str:
    what = f"{figure.get('classes', '')} {task_of(figure)}" + (" + implants" if figure.get("implants") else "")
    return f"{what}: {with_interval(figure.get('accuracy'), figure.get('interval'))}"


def _differences(runs: Sequence[Collected]) -> Html | None:
    if len(runs) < 2:
        return None
    differing, partly = config_differences(runs)
    if not differing and not partly:
        return note("The configs do not differ.")
    rows = [[key, *(found if found is ABSENT else value(found) for found in of)] for key, of in differing.items()]
    parts: list[Any] = [heading("How the configs differ")]
    if rows:
        parts.append(table(["Key", *(run.name for run in runs)], rows, caption="Keys of config.json that differ"))
    if partly:
        named = ", ".join(partly[:_NAMED]) + (f" and {len(partly) - _NAMED} more" if len(partly) > _NAMED else "")
        parts.append(note(f"Only some of the configs, of other versions of fsjax, have: {named}."))
    return tag("div", parts)
