"""One page of one or several runs: what their folders say, and what their networks do on their data."""

import dataclasses
import datetime
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.errors import UserError, counted
from fsjax.pages import Html, page, section, tag, write_page
from fsjax.report.collect import Collected, collect
from fsjax.report.curves import curves
from fsjax.report.few_shot import few_shot
from fsjax.report.published import published
from fsjax.report.summary import summary

logger = logging.getLogger("fsjax")

SPLITS = ("train", "validation", "base", "test")
# Worst tasks: of one run, and of all runs of a page together.
_WORST, _ALL_WORST = 3, 6
# Runs that the title names.
_TITLED = 3


@dataclasses.dataclass(frozen=True)
class Choices:
    """What a page shows.

    Attributes:
      split: of `SPLITS`; of runs whose classes are divided, "test" is the novel classes.
      pictures: of the most confident mistakes of a run; of 0, tasks are shown without pictures as well.
      tasks: few-shot tasks of each number of shots.
      use_data: whether networks and data are looked at; else the runs' files alone.
      which: "best" or "latest", the checkpoint.
      data_path: where the data lie here, if elsewhere than in training.
      batch_size: images through a network at once.
    """

    split: str = "test"
    pictures: int = 12
    tasks: int = 1000
    use_data: bool = True
    which: str = "best"
    data_path: str = ""
    batch_size: int = 256

    def __post_init__(self) -> None:
        for name, least in (("pictures", 0), ("tasks", 2), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise UserError(f"--{name.replace('_', '-')}={getattr(self, name)} must be at least {least}")


@dataclasses.dataclass
class _Seen:
    """What networks and data gave: runs that classified the split, those that met tasks of it, and the others.

    Of the embeddings of the first two, which may be many, only what is shown stays: `embedded`.
    """

    classified: list[Any] = dataclasses.field(default_factory=list)
    tasked: list[Any] = dataclasses.field(default_factory=list)
    embedded: list[Any] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


def write_report(folders: Sequence[str | Path], out: Path, choices: Choices | None = None) -> list[str]:
    """Write the page of some runs.

    Args:
      folders: workdirs of runs.
      out: the HTML file.
      choices: what to show; None: the defaults of `Choices`.

    Returns:
      What was damaged or could not be looked at, in words; all of it is on the page as well.

    Raises:
      UserError: for a folder that is no run's, one that is given twice, and a file that cannot be written.
    """
    choices = choices or Choices()
    runs = collect(folders)
    seen = _look(runs, choices) if choices.use_data else _Seen()
    write_page(out, report(runs, seen, choices))
    return [f"{run.name}: {problem}" for run in runs for problem in run.problems] + seen.problems


def _look(runs: Sequence[Collected], choices: Choices) -> _Seen:
    """Each run's network on its data: jax starts here."""
    from fsjax.report.classified import classify
    from fsjax.report.opened import opened
    from fsjax.report.tasks import evaluate

    seen, like = _Seen(), None
    worst = 0 if not choices.pictures else max(1, min(_WORST, _ALL_WORST // len(runs)))
    how: dict[str, Any] = {"which": choices.which, "data_path": choices.data_path, "batch_size": choices.batch_size}
    for run, there in opened(runs, **how):
        try:
            if isinstance(there, UserError):
                raise there
            logger.info("%s: step %d on the %s split", run.name, there.run.step, choices.split)
            if there.classifies(choices.split):
                seen.classified.append(_kept(classify(there, choices.split, mistakes=choices.pictures), seen))
            elif there.run.info.few_shot:
                found, like = evaluate(there, choices.split, like=like, tasks=choices.tasks, worst=worst)
                seen.tasked.append(_kept(found, seen))
            else:
                raise UserError("it has no classifier of its own, and no classes to draw tasks from")
        except UserError as error:
            seen.problems.append(f"{run.name}: {error}")
            logger.warning("%s: not looked at on its data: %s", run.name, error)
    return seen


def _kept(found: Any, seen: _Seen) -> Any:
    """What a run gave without its embeddings, of which `seen` gets what is shown."""
    from fsjax.report.embeddings import shown

    seen.embedded.append(shown(found))
    return dataclasses.replace(found, embeddings=np.zeros((0, found.embeddings.shape[1]), np.float32))


def report(runs: Sequence[Collected], seen: _Seen, choices: Choices) -> str:
    """The page."""
    why = "without looking at the data (--no-data)" if not choices.use_data else ""
    left_out: list[tuple[str, str]] = []
    body: list[Html] = []

    def add(title: str, make: Callable[[], Html | str]) -> None:
        found = make()
        if isinstance(found, Html):
            body.append(found)
        else:
            left_out.append((title, found))

    add("Summary", lambda: summary(runs))
    add("Curves", lambda: curves(runs))
    add("Classes", lambda: _classes(seen, choices, why))
    add("Few-shot tasks", lambda: few_shot(runs, seen.tasked))
    add("Paired comparison", lambda: _comparison(runs, seen, why))
    add("Embeddings", lambda: _embeddings(seen, choices, why))
    add("Published figures", lambda: published(runs))
    body += _left_out(left_out, seen.problems)
    named = ", ".join(run.name for run in runs) if len(runs) <= _TITLED else counted(len(runs), "run")
    facts = {
        "Runs": [tag("div", str(run.folder)) for run in runs],
        "Split": choices.split if choices.use_data else "none: --no-data",
        "Checkpoint": f"{choices.which} of each run" if choices.use_data else "none",
        "Written": datetime.date.today().isoformat(),
    }
    return page(f"Report of {named}", *body, facts=facts)


def _classes(seen: _Seen, choices: Choices, why: str) -> Html | str:
    if not seen.classified:
        return why or f"no run classifies the classes of its {choices.split} split."
    from fsjax.report.classes import classes

    return classes(seen.classified, choices.split)


def _comparison(runs: Sequence[Collected], seen: _Seen, why: str) -> Html | str:
    if len(runs) < 2:
        return "one run alone."
    if why:
        return why
    from fsjax.report.comparison import comparison

    return comparison(seen.classified, seen.tasked)


def _embeddings(seen: _Seen, choices: Choices, why: str) -> Html | str:
    if not seen.embedded:
        return why or "no run was looked at on its data."
    from fsjax.report.embeddings import embeddings

    return embeddings(seen.embedded, choices.split)


def _left_out(left_out: Sequence[tuple[str, str]], problems: Sequence[str]) -> list[Html]:
    """What is not on the page, and why."""
    entries = [tag("li", tag("strong", title), f": {words}") for title, words in left_out]
    entries += [tag("li", "Not looked at on its data: ", problem) for problem in problems]
    return [section("Left out", tag("ul", entries), anchor="left-out")] if entries else []
