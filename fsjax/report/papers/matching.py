"""Which cells of a paper's tables a run has figures for, and by what each departs from the cell's recipe."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fsjax.files import parse_json
from fsjax.report.collect import flat
from fsjax.report.papers import recipes
from fsjax.report.papers.differences import complete, data_of, departures, is_of_row
from fsjax.report.papers.runs import Run
from fsjax.report.papers.tables import Paper, Recipe, Table, Tasks, Training

_RECONSTRUCTED = "few_shot.reconstructed."
_IMPLANTS = ("channels", "steps", "learning_rate", "weight_decay", "b1", "b2", "eps", "tau", "norm", "shortcut")


@dataclasses.dataclass(frozen=True)
class Match:
    """A figure of a run in a cell.

    Attributes:
      table, row, column: the cell.
      run: the run's name.
      seed: of its training.
      value: the figure, a share.
      interval: half of its 95 % interval over tasks; None where there is none.
      departs: by what run or figure depart from the recipe, in words; empty: it is the recipe.
      data: the run's data, if other than the table's, else "".
    """

    table: Table
    row: str
    column: str
    run: str
    seed: int
    value: float
    interval: float | None
    departs: tuple[str, ...]
    data: str = ""


@dataclasses.dataclass(frozen=True)
class Group:
    """Figures of one cell that differ by their seed alone.

    Attributes:
      matches: one or more, a seed each.
      twice: names of runs that were left out, since their seed is there already.
    """

    matches: tuple[Match, ...]
    twice: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The figure in %: of several seeds mean and deviation, of one with its interval, if there is one."""
        values = [100 * match.value for match in self.matches]
        if len(values) > 1:
            return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
        interval = self.matches[0].interval
        return f"{values[0]:.2f}" + (f" ± {100 * interval:.2f}" if interval is not None else "")

    @property
    def spread(self) -> str:
        """What stands behind ± in `text`."""
        if len(self.matches) > 1:
            return f"± deviation over {len(self.matches)} seeds"
        return "one seed" + ("; ± 95 % interval over tasks" if self.matches[0].interval is not None else "")


@dataclasses.dataclass(frozen=True, eq=False)
class _Place:
    """A cell that a run may have a figure for, with its recipe's parts; `wanted` is the recipe's config."""

    table: Table
    row: str
    column: str
    recipe: Recipe
    training: Training
    score: Tasks | str
    wanted: Mapping[str, Any]

    def same_data(self, run: Run) -> bool:
        """Whether the run is of the cell's data."""
        return data_of(run.config) == data_of(self.wanted)


class _Score(NamedTuple):
    """A figure, half of its interval if it has one, and by what its tasks depart."""

    value: float
    interval: float | None
    departs: list[str]


def matches_of(run: Run, paper: Paper) -> list[Match]:
    """The cells that a run has a figure for."""
    of_row = _places(run, paper)
    places = [p for p in of_row if p.same_data(run)] or [p for p in of_row if p.table.other_data and _is_real(run)]
    # A row that asks for what another has otherwise takes the run from that.
    asked = [pair for place in places for pair in place.recipe.only]
    found = []
    for place in places:
        score = None if any(place.wanted.get(key) != value for key, value in asked) else _score(run, place)
        if score is not None:
            departs = (*departures(run.config, place.training), *_start(run.config, place.training), *score.departs)
            data = "" if place.same_data(run) else data_of(run.config)
            cell = (place.table, place.row, place.column)
            found.append(Match(*cell, run.name, run.seed, score.value, score.interval, departs, data))
    return found


def groups_of(matches: Sequence[Match]) -> list[Group]:
    """Matches of the same cell that depart by the same, a seed each."""
    alike: dict[tuple, list[Match]] = {}
    for match in matches:
        key = (match.table.title, match.row, match.column, match.departs)
        alike.setdefault(key, []).append(match)
    groups = []
    for members in alike.values():
        first = {match.seed: match for match in reversed(members)}
        kept = tuple(match for match in members if first[match.seed] is match)
        groups.append(Group(kept, tuple(match.run for match in members if match not in kept)))
    return groups


def why_none(run: Run, paper: Paper) -> str:
    """Why a run has a figure for no cell, in words."""
    if run.why_empty:
        return run.why_empty
    of_row = _places(run, paper)
    if not of_row:
        words = [f"{key} {run.config.get(key)}" for key in ("method.name", "loss.name", "model.name")]
        return f"no row of this paper ({', '.join(words)}, data {data_of(run.config)})"
    same = [place for place in of_row if place.same_data(run)]
    if not same:
        data = dict.fromkeys(data_of(place.wanted) for place in of_row)
        return f"of other data, {data_of(run.config)}; the tables' are {', '.join(data)}"
    place = same[0]
    after = f": `{place.recipe.then[0].replace('FOLDER', run.name)}`" if place.recipe.then else ""
    return f"its figures are not those of {place.table.title}, {place.row}, {place.column}; to make them{after}"


def _places(run: Run, paper: Paper) -> list[_Place]:
    """The cells whose row the run is of, on whatever data."""
    found = []
    for table in paper.tables:
        for (row, column), recipe in table.recipes.items():
            if isinstance(recipe, str) or recipe.training is None or recipe.score is None:
                continue
            wanted = recipes.values(recipe.training)
            if is_of_row(run.config, wanted, paper.identity, recipe.only):
                found.append(_Place(table, row, column, recipe, recipe.training, recipe.score, wanted))
    return found


def _is_real(run: Run) -> bool:
    return run.config["data.name"] != "fake"


def _score(run: Run, place: _Place) -> _Score | None:
    """The figure of a run for a cell; None where it has none."""
    if isinstance(place.score, str):
        value = None if run.figures else run.test.get(place.score)
        return None if value is None else _Score(float(value), None, [])
    tasks = place.score
    found = [(f, _tasks(f, tasks, place.wanted)) for f in run.figures if _fits(f, tasks, run.config)]
    if not found:
        return None
    figure, departs = min(reversed(found), key=lambda pair: len(pair[1]))  # of equals the last, `fsjax evaluate`'s
    return _Score(float(figure["accuracy"]), figure.get("interval"), departs)


def _fits(figure: Mapping[str, Any], tasks: Tasks, config: Mapping[str, Any]) -> bool:
    """Whether a figure is of such tasks, however many."""
    own = config.get(f"model.{config['model.name']}.pool")
    pools = [own if figure[f"{part}_pool"] == "embedding" else figure[f"{part}_pool"] for part in ("support", "query")]
    implants = figure.get("implants") or {}
    trained = "/".join(str(implants[f"{part}_pool"]) for part in ("support", "query")) if implants else ""
    return (
        (figure["classes"], figure["way"], figure["shot"]) == (tasks.classes, tasks.way, tasks.shot)
        and "/".join(map(str, pools)) == tasks.pooling
        and trained == tasks.implants
        and figure.get("head", "prototypes") == "prototypes"
    )


def _tasks(figure: Mapping[str, Any], tasks: Tasks, wanted: Mapping[str, Any]) -> list[str]:
    """By what the tasks of a figure, and the implants trained for them, depart."""
    found = [] if figure["tasks"] == tasks.tasks else [f"{figure['tasks']:,} tasks, not {tasks.tasks:,}"]
    if figure["query"] != tasks.query:
        found.append(f"{figure['query']} queries per class, not {tasks.query}")
    options = {name: wanted[f"method.implants.{name}"] for name in _IMPLANTS} if tasks.implants else {}
    for name, value in options.items():
        if figure["implants"].get(name, value) != value:
            found.append(f"implants' {name} {figure['implants'][name]}, not {value}")
    drawn = figure.get("reconstructed") or {}
    for name in ("images", "seed"):
        if drawn and drawn.get(name) != wanted[_RECONSTRUCTED + name]:
            found.append(f"reconstructed {name} {drawn.get(name)}, not {wanted[_RECONSTRUCTED + name]}")
    return found


def _start(config: Mapping[str, Any], training: Training) -> list[str]:
    """By what the run that a run started from departs, as far as it can be seen."""
    start, path = training.start_from, config["start_from"]
    if start is None:
        return [f"started from {path}, not from scratch"] if path else []
    if not path:
        return [f"not started from a run of {start.config}"]
    try:
        other = parse_json((Path(path).expanduser() / "config.json").read_text(encoding="utf-8"))
        departs = departures(complete(flat(other)), start)
    except (OSError, ValueError, AttributeError, KeyError):
        return [f"started from {path}, whose config is not there to be looked at"]
    return [f"started from a run with {words}" for words in departs]
