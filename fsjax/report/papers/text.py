"""What is said of a paper: its tables as printed, what was measured of them and with what, and the commands."""

from collections.abc import Iterator, Sequence

from fsjax.report.papers.document import Block, Commands, Grid, Heading, Words
from fsjax.report.papers.matching import Group, groups_of, matches_of, why_none
from fsjax.report.papers.runs import Run
from fsjax.report.papers.tables import MACHINE, NONE, Paper, Recipe, Study, Table

HEAD = ("row", "column", "the paper", "ours, the recipe", "ours, not the recipe", "note")
# So many departures from a recipe are named in full.
_NAMED = 12


def paper_text(paper: Paper, runs: Sequence[Run]) -> Iterator[Block]:
    """All that `fsjax report --paper` shows."""
    yield Words(
        "The paper's figures as it prints them; what was measured here, figures of the full recipe and others apart; "
        "and the commands of the cells. What was not run is –."
    )
    if paper.note:
        yield Words(paper.note)
    found = {run.name: matches_of(run, paper) for run in runs}
    groups = groups_of([match for matches in found.values() for match in matches])
    for table in paper.tables:
        yield Heading(table.title)
        yield Words(table.caption)
        yield Grid(table.head, table.lines, table.labels, f"{table.title}, as printed")
        if table.note:
            yield Words(table.note)
        of_table = [group for group in groups if group.matches[0].table is table]
        if table.studies or of_table:
            yield from _measured(table, of_table)
        else:
            others = ", and none of the runs given is of it" if runs else ""
            yield Words(f"Nothing of this table has been run by this project{others}.")
        yield from _commands(table)
    if paper.figures:
        yield Heading("Figures")
    for words, commands in paper.figures:
        yield Words(words + ":")
        yield Commands(commands)
    missing = [(run.name, why_none(run, paper)) for run in runs if not found[run.name]]
    if missing:
        yield Heading("Runs that are in no table")
    for name, why in missing:
        yield Words(f"`{name}`: {why}.")


def _measured(table: Table, groups: Sequence[Group]) -> Iterator[Block]:
    """The cells with figures of ours, the paper's beside, and notes that say what they are of."""
    rows: list[tuple[tuple[int, int], list[str]]] = []
    notes: list[str] = []
    for study in table.studies:
        notes.append(_about_study(study))
        for (row, column), text in study.values.items():
            rows.append(_line(table, row, column, "", text, len(notes)))
    for about, members in _by_note(groups).items():
        notes.append(about)
        for group in members:
            first = group.matches[0]
            texts = ("", group.text) if first.departs else (group.text, "")
            rows.append(_line(table, first.row, first.column, *texts, len(notes)))
    rows.sort(key=lambda pair: pair[0])
    yield Grid(HEAD, [line for _, line in rows], 2, f"{table.title}, measured")
    for number, note in enumerate(notes, 1):
        yield Words(f"[{number}] {note}")


def _line(table: Table, row: str, column: str, recipe: str, other: str, note: int) -> tuple[tuple[int, int], list[str]]:
    place = (table.rows.index(row), table.columns.index(column))
    return place, [row, column, table.cells.get((row, column), NONE), recipe or "–", other or "–", f"[{note}]"]


def _about_study(study: Study) -> str:
    data = f"data {study.data}, not the table's; " if study.data else ""
    return (
        f"Not the recipe: {data}{study.reduced}. {study.spread[0].upper()}{study.spread[1:]}. `{study.command}`, "
        f"{study.date}, on {MACHINE}."
    )


def _by_note(groups: Sequence[Group]) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(about_group(group), []).append(group)
    return found


def about_group(group: Group) -> str:
    """What figures of runs are of."""
    runs = ", ".join(f"`{match.run}` (seed {match.seed})" for match in group.matches)
    twice = f" Left out, as a run of their seed is there: {', '.join(group.twice)}." if group.twice else ""
    return f"{runs}: {group.spread}. {in_words(group.matches[0].departs)}.{twice}"


def in_words(departs: Sequence[str]) -> str:
    """By what a figure departs from the recipe."""
    if not departs:
        return "The recipe"
    more = f"; and {len(departs) - _NAMED} more" if len(departs) > _NAMED else ""
    return f"Not the recipe: {'; '.join(departs[:_NAMED])}{more}"


def _commands(table: Table) -> Iterator[Block]:
    """The commands, or why there are none, each with the cells that they are of."""
    of_cells: dict[tuple[str, ...] | str, list[tuple[str, str]]] = {}
    for cell, recipe in table.recipes.items():
        of_cells.setdefault(recipe.commands if isinstance(recipe, Recipe) else recipe, []).append(cell)
    lines: list[str] = []
    for commands, cells in of_cells.items():
        if not isinstance(commands, str):
            lines += [*([""] if lines else []), f"# {cell_names(table, cells)}", *commands]
    if lines:
        yield Commands(lines)
    for why, cells in of_cells.items():
        if isinstance(why, str):
            yield Words(f"{cell_names(table, cells)}: {why}.")


def cell_names(table: Table, cells: Sequence[tuple[str, str]]) -> str:
    """Cells in words: their rows, and their columns where they are not all of the row."""
    columns: dict[str, list[str]] = {}
    for row, column in cells:
        columns.setdefault(row, []).append(column)
    if len(columns) == len(table.rows) > 1 and len(cells) == len(table.cells):
        return "All cells"
    names = []
    for row, some in columns.items():
        whole = some == [column for column in table.columns if (row, column) in table.cells]
        names.append(row if whole else f"{row} ({', '.join(some)})")
    return "; ".join(names)
