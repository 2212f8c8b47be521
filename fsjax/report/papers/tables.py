"""What the tables of a paper are made of: printed cells, the recipe of each, and what was measured here beside them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

# Where the figures of docs/results.md were measured; it says the same.
MACHINE = "2 cores of a shared x86-64 machine, no accelerator; Python 3.11, jax 0.10.2, float32"
# The sign of a switch that is on, in the tables of papers.
CHECK = "✓"
NONE = "-"


@dataclasses.dataclass(frozen=True)
class Training:
    """A run of `fsjax train`.

    Attributes:
      config: a recipe, with a variant behind the colon: "dc_mini:gap".
      workdir: the run's folder below runs/.
      overrides: keys that the recipe sets over the config, and their values.
      start_from: the run whose encoder it starts from, if any.
      data_path: where its data lie, as an example; "": where TFDS has them.
    """

    config: str
    workdir: str
    overrides: tuple[tuple[str, Any], ...] = ()
    start_from: "Training | None" = None
    data_path: str = ""

    @property
    def folder(self) -> str:
        """The run's folder, as the commands have it."""
        return f"runs/{self.workdir}"

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type, the run that it starts from first."""
        words = [f"fsjax train {self.config}", f"--workdir={self.folder}"]
        before: tuple[str, ...] = ()
        if self.start_from is not None:
            before = self.start_from.commands
            words.append(f"--config.start_from={self.start_from.folder}")
        words += [f"--config.{key}={value}" for key, value in self.overrides]
        words += [f"--config.data.path={self.data_path}"] if self.data_path else []
        return (*before, " ".join(words))


@dataclasses.dataclass(frozen=True)
class Tasks:
    """The few-shot tasks of a cell, and how they are classified.

    Attributes:
      classes: of `fsjax.evaluation.few_shot.protocol.CLASSES`.
      shot: support images per class.
      pooling: "support/query": "gap/dense".
      query: queries per class.
      tasks: how many.
      way: classes of a task.
      implants: the pooling of the implants' training, "support/query"; "" for tasks without implants.
    """

    classes: str
    shot: int
    pooling: str
    query: int
    tasks: int
    way: int = 5
    implants: str = ""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a cell is made.

    Attributes:
      training: the run; None for what needs none.
      score: the tasks of its figure, the figure's name among those of the test, or None for what no run holds.
      then: the commands behind the training; FOLDER stands for the run's folder.
      only: keys that make a run one of this row rather than of one whose recipe is otherwise alike, and their values.
    """

    training: Training | None
    score: Tasks | str | None = "accuracy"
    then: tuple[str, ...] = ()
    only: tuple[tuple[str, Any], ...] = ()

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type, in order."""
        if self.training is None:
            return self.then
        after = [command.replace("FOLDER", self.training.folder) for command in self.then]
        return (*self.training.commands, *after)


@dataclasses.dataclass(frozen=True)
class Study:
    """Figures that were measured here with less than the recipe; docs/results.md has them.

    Attributes:
      section: the heading there.
      excerpt: lines of it, as they are there: the head of a table and some of its rows, or a passage of text.
      rows: the row of the paper's table that each row of the excerpt is of.
      columns: likewise for its columns; "" for those that are of none.
      cells: of a passage, the figures in it by row and column.
      reduced: what was less or other than in the recipe.
      spread: what stands behind ±, and over how many seeds.
      command: what was typed.
      date: when it got there.
      data: the data, if other than the table's.
    """

    section: str
    excerpt: str
    reduced: str
    spread: str
    command: str
    date: str
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    cells: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    data: str = ""

    @property
    def values(self) -> dict[tuple[str, str], str]:
        """The figures, by row and column of the paper's table."""
        if self.cells:
            return dict(self.cells)
        lines = [split_row(line) for line in self.excerpt.strip().splitlines()[1:]]
        found = {}
        for row, line in zip(self.rows, lines, strict=True):
            for column, text in zip(self.columns, line, strict=True):
                if column and text not in ("", "–"):
                    found[row, column] = text.replace("*", "").partition(" [")[0]
        return found


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a paper.

    Attributes:
      title: "Table 4".
      caption: what it shows, in our words.
      printed: its head and its rows as the paper prints them, cells divided by "|"; a cell of several lines of a head
        is one here.
      recipe: of a row and a column: how fsjax makes the cell, or why it has nothing for it.
      labels: how many of the first columns name a row.
      studies: what was measured here.
      other_data: whether runs of the same rows on other data are shown, and their data named.
      note: what a reader must know of it.
    """

    title: str
    caption: str
    printed: str
    recipe: Callable[[str, str], Recipe | str]
    labels: int = 1
    studies: tuple[Study, ...] = ()
    other_data: bool = False
    note: str = ""

    @functools.cached_property
    def head(self) -> list[str]:
        """The names of all columns."""
        return split_row(self.printed.strip().splitlines()[0])

    @functools.cached_property
    def lines(self) -> list[list[str]]:
        """The cells of each row, its labels among them."""
        return [split_row(line) for line in self.printed.strip().splitlines()[1:]]

    @property
    def columns(self) -> list[str]:
        """The names of the columns of figures."""
        return self.head[self.labels :]

    @property
    def rows(self) -> list[str]:
        """The names of the rows: their labels, and where rows share these, the columns of the switches that are on."""
        labels = [line[: self.labels] for line in self.lines]
        names = [", ".join(text for text in row if text and text != CHECK) for row in labels]
        switches = [[head for head, text in zip(self.head, row, strict=False) if text == CHECK] for row in labels]
        shared = {name for name in names if names.count(name) > 1}
        return [", ".join([n, *on]) if n in shared else n for n, on in zip(names, switches, strict=True)]

    @functools.cached_property
    def cells(self) -> dict[tuple[str, str], str]:
        """The printed figures by row and column; those that the paper leaves out are not there."""
        return {
            (row, column): text
            for row, line in zip(self.rows, self.lines, strict=True)
            for column, text in zip(self.columns, line[self.labels :], strict=True)
            if text != NONE
        }

    @functools.cached_property
    def recipes(self) -> dict[tuple[str, str], Recipe | str]:
        """How each printed cell is made, or why it is not."""
        return {cell: self.recipe(*cell) for cell in self.cells}


@dataclasses.dataclass(frozen=True)
class Paper:
    """A paper with its tables.

    Attributes:
      title: of the paper, its authors and year.
      tables: in the paper's order.
      identity: keys of a config whose values say which row a run is of; "model.pool" is that of the run's network.
      figures: pictures of the paper, and the commands that draw ours.
      note: what a reader must know of all tables.
    """

    title: str
    tables: tuple[Table, ...]
    identity: tuple[str, ...] = ()
    figures: tuple[tuple[str, tuple[str, ...]], ...] = ()
    note: str = ""


def split_row(line: str) -> list[str]:
    """The cells of a line of a table; the bars at its ends may be there or not."""
    line = line.strip()
    line = line[1:] if line.startswith("|") else line
    line = line[:-1] if line.endswith("|") else line
    return [cell.strip() for cell in line.split("|")]
