"""The section of few-shot tasks: the figures, accuracy by class, and the worst tasks with their pictures."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fsjax.errors import counted
from fsjax.evaluation.few_shot.class_pools import readable_names
from fsjax.evaluation.few_shot.intervals import KINDS
from fsjax.pages import Html, section, side_by_side, table, tag
from fsjax.report.collect import Collected
from fsjax.report.thumbnails import thumbnail
from fsjax.report.wording import NONE, heading, note, percent, task_of, unbroken, with_interval

if TYPE_CHECKING:  # jax comes with them, and a page without data needs none
    from fsjax.report.tasks import Task, Tasked

_INTERVALS = (
    "Intervals are of 95 %: what other tasks of the same images would change, other images of the same classes, and "
    "other classes with their images. Only the first shrinks with the number of tasks. – is for one that is not known: "
    "the tasks have all classes, the network was trained on them, or the figure is of an earlier fsjax."
)
# Pictures of a class of a task: support images, and queries.
_SUPPORT, _QUERIES = 5, 6
_WIDTH = 56
_STRIP = "display:flex;flex-wrap:wrap;gap:.3rem;align-items:flex-start"
_QUERY = f"margin:0;width:{_WIDTH + 16}px"
_VERDICT = "font-size:.75em;font-weight:400;line-height:1.2;margin:0;overflow-wrap:anywhere"


def few_shot(runs: Sequence[Collected], tasked: "Sequence[Tasked]") -> Html | str:
    """The section, from results and, of the runs that were evaluated anew, from their tasks; why there is none."""
    results = {run.name: figures_of(run) for run in runs}
    anew: dict[str, list[Mapping[str, Any]]] = {run.name: [figure.facts for figure in run.figures] for run in tasked}
    if not any(results.values()) and not tasked:
        return "these runs have no few-shot figures."
    parts: list[Any] = [note(_INTERVALS)]
    if any(results.values()):
        parts.append(_figures(results, "Figures of result.json: the protocol of each run's config"))
    if tasked:
        caption = (
            "Evaluated for this page: each run by its own rule, on the first run's kind of tasks, without implants"
        )
        parts.append(_figures(anew, caption))
    parts.append(_by_class({name: of or anew.get(name, []) for name, of in {**anew, **results}.items()}))
    parts += [_worst(run) for run in tasked if run.worst.tasks]
    return section("Few-shot tasks", parts, anchor="few-shot")


def figures_of(run: Collected) -> list[Mapping[str, Any]]:
    """The few-shot figures of a run's result."""
    test = run.result.get("test")
    found = test.get("figures") if isinstance(test, Mapping) else None
    return [figure for figure in found if isinstance(figure, Mapping)] if isinstance(found, list) else []


def _figures(by_run: Mapping[str, Sequence[Mapping[str, Any]]], caption: str) -> Html:
    everything = [figure for figures in by_run.values() for figure in figures]
    more = {name: words for name, words in _PARTS.items() if any(name in figure for figure in everything)}
    new = [f"± {words}" for words in KINDS.values()]
    accuracy = "Accuracy, % ± tasks"
    header = ["Run", "Classes", "Tasks of", "Features", accuracy, *new, *more.values(), "Tasks", "Episodes"]
    rows = [
        [
            name,
            figure.get("classes", NONE),
            unbroken(f"{task_of(figure)}, {figure.get('query', NONE)} queries"),
            unbroken(_features(figure)),
            with_interval(figure.get("accuracy"), figure.get("interval")),
            *(percent(figure.get(f"interval_{name}")) for name in KINDS),
            *(_part(figure.get(key)) for key in more),
            f"{figure['tasks']:,}" if isinstance(figure.get("tasks"), int) else NONE,
            figure.get("episodes", NONE),
        ]
        for name, figures in by_run.items()
        for figure in figures
    ]
    return table(header, rows, caption=caption, numeric=range(4, 6 + len(new) + len(more)))


# Of tasks of base and novel classes together, by their names in a figure.
_PARTS = {
    "novel": "Novel queries, %",
    "base": "Base queries, %",
    "harmonic_mean": "Harmonic mean, %",
    "novel_queries": "Novel queries, %",
    "base_queries": "Base queries, %",
}


def _part(found: Any) -> str:
    """A share, or one with its interval."""
    if isinstance(found, Mapping):
        return with_interval(found.get("accuracy"), found.get("interval"))
    return percent(found)


def _features(figure: Mapping[str, Any]) -> str:
    pools = f"{figure.get('support_pool', NONE)}/{figure.get('query_pool', NONE)}"
    head = figure.get("head", "prototypes")
    rule = f", {figure['similarity']}" if head == "prototypes" and figure.get("similarity") else ""
    rule = rule if head == "prototypes" else f", {head.replace('_', ' ')}"
    return pools + rule + (" + implants" if figure.get("implants") else "")


def _by_class(by_run: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Html]:
    """Accuracy by class, a table for each kind of classes; of each run and number of shots a column."""
    columns: dict[str, list[tuple[str, Mapping[str, float]]]] = {}
    for name, figures in by_run.items():
        for figure in figures:
            if isinstance(figure.get("per_class"), Mapping):
                title = f"{task_of(figure)}{' + implants' if figure.get('implants') else ''}"
                title = title if len(by_run) == 1 else f"{name}, {title}"
                columns.setdefault(figure.get("classes", NONE), []).append((title, figure["per_class"]))
    return [_class_table(kind, of) for kind, of in columns.items()]


def _class_table(kind: str, columns: Sequence[tuple[str, Mapping[str, float]]]) -> Html:
    names = list(dict.fromkeys(name for _, of in columns for name in of))
    first = columns[0][1]
    names.sort(key=lambda name: np.inf if first.get(name) is None else first[name])
    rows = [
        [shown, *(percent(of.get(name), 1) for _, of in columns)]
        for name, shown in zip(names, readable_names(names), strict=True)
    ]
    shown = table(
        ["Class", *(f"{title}, %" for title, _ in columns)],
        rows,
        caption=f"Accuracy by class, of {kind} classes",
        numeric=range(1, 1 + len(columns)),
        sortable=True,
    )
    return tag("details", tag("summary", f"Accuracy by class: {kind} ({len(names)} classes)"), shown)


def _worst(run: "Tasked") -> Html:
    facts = run.worst.figure.facts
    words = (
        f"At step {run.step:,}, of {facts['tasks']:,} {task_of(facts)} tasks (seed {facts['seed']}), the lowest "
        "accuracy first. A task is given again by its number and the seed."
    )
    return tag("div", heading(f"Worst tasks of {run.name}"), note(words), [_task(task) for task in run.worst.tasks])


def _task(task: "Task") -> Html:
    queries = counted(sum(map(len, task.query)), "query", "queries")
    title = f"Task {task.number:,}: {percent(task.accuracy, 1)} % of {queries}"
    return tag("div", tag("h4", title), [_way(task, way) for way in range(len(task.classes))])


def _way(task: "Task", way: int) -> Html:
    name, taken_for = readable_names(task.classes)[way], task.taken_for[way]
    wrong = np.flatnonzero(taken_for != way)
    # The wrong ones first: of the others there is less to be learned.
    order = [*wrong, *np.flatnonzero(taken_for == way)]
    support = [thumbnail(image, alt=f"support: {name}", width=_WIDTH) for image in task.support[way][:_SUPPORT]]
    queries = [_query(task, way, int(number)) for number in order[:_QUERIES]]
    right = f"{len(taken_for) - len(wrong)} of {counted(len(taken_for), 'query', 'queries')} right"
    return tag(
        "div",
        tag("p", tag("strong", name), f": {right}", style="margin:.75rem 0 .25rem"),
        side_by_side(
            tag("div", _words("support"), support, _more(len(task.support[way]) - _SUPPORT), style=_STRIP),
            tag("div", _words("queries"), queries, _more(len(order) - _QUERIES), style=_STRIP),
        ),
    )


def _words(text: str) -> Html:
    return tag("span", text, class_="note", style="width:100%;font-size:.85em")


def _more(count: int) -> Html | None:
    return tag("span", f"+ {count:,}", class_="note", style="align-self:center") if count > 0 else None


def _query(task: "Task", way: int, number: int) -> Html:
    names, other = readable_names(task.classes), int(task.taken_for[way][number])
    name, words = names[way], "right" if other == way else f"taken for {names[other]}"
    shown = thumbnail(task.query[way][number], alt=f"query: {name}, {words}", width=_WIDTH)
    verdict = "✓" if other == way else f"✗ {names[other]}"
    return tag("figure", shown, tag("figcaption", verdict, style=_VERDICT), style=_QUERY)
