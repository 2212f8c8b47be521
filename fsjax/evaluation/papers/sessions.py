"""The accuracies of few-shot class-incremental sessions, their differences on the same draws, and their table."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fsjax.evaluation.few_shot.statistics import Interval, student_interval

PLAIN = "prototypes"
METRICS = ("base", "new", "harmonic", "all")


@dataclasses.dataclass(frozen=True, eq=False)
class Sessions:
    """Accuracies of class-incremental sessions.

    Attributes:
      values: by method and by metric, float64 `[seeds, sessions + 1]`, fractions of 1. "base", "new": mean over the
        base and over the novel classes seen so far of the share of their test images that are classified rightly among
        all classes seen so far; "harmonic": harmonic mean of both; "all": mean over all these classes. Session 0 has
        no "new" and no "harmonic": NaN.
      facts: what they depend on, as JSON types.
    """

    values: Mapping[str, Mapping[str, np.ndarray]]
    facts: dict[str, Any]

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the rows, plain prototypes first."""
        return tuple(self.values)

    def interval(self, method: str, metric: str, session: int | None = None) -> Interval:
        """The mean over draws, with its 95 % interval by Student's t; of all sessions' mean where none is named."""
        return student_interval(_of_session(self.values[method][metric], session))

    def difference(self, method: str, metric: str, session: int | None = None) -> Interval:
        """The same of the difference to plain prototypes on the same draws."""
        first, second = (_of_session(self.values[name][metric], session) for name in (method, PLAIN))
        return student_interval(first - second)

    def to_json(self) -> dict[str, Any]:
        """All values as JSON types; None for what session 0 does not have."""
        plain = {
            method: {name: np.where(np.isnan(x), np.array(None), x).tolist() for name, x in found.items()}
            for method, found in self.values.items()
        }
        return {**self.facts, "values": plain}


def _of_session(values: np.ndarray, session: int | None) -> np.ndarray:
    """`[seeds]`: of one session, or the mean of those that have a value ("average accuracy")."""
    if session is not None:
        return values[:, session]
    return values[:, ~np.isnan(values).any(axis=0)].mean(axis=1)


def pooled(runs: Sequence[Sessions]) -> Sessions:
    """Several runs of one recipe as one: each run's mean over its draws takes the place of a draw."""
    first = runs[0]
    values = {
        method: {metric: np.stack([run.values[method][metric].mean(axis=0) for run in runs]) for metric in METRICS}
        for method in first.methods
    }
    return Sessions(values, {**first.facts, "runs": len(runs)})


def table(found: Sessions) -> str:
    """A Markdown table in %: of each session, the methods, and what TEEN changes on the same draws."""
    lines = [
        "| session | classes | method | base | new | harmonic mean | all |",
        "|---|---|---|---|---|---|---|",
    ]
    sessions = found.facts["sessions"]
    for session in (*range(sessions + 1), None):
        seen = found.facts["base_classes"] + found.facts["way"] * (session or 0)
        head = ("mean", "") if session is None else (str(session), str(seen))
        for method in found.methods:
            # One network's session 0 is the same for all draws: it has no interval, rather than one of 0.
            drawn = session != 0 or "runs" in found.facts
            intervals = [found.interval(method, m, session) for m in METRICS]
            lines.append(_line(*head, method, intervals, drawn=drawn))
            head = "", ""
        for method in found.methods[1:] if session != 0 else ():
            differences = [found.difference(method, m, session) for m in METRICS]
            lines.append(_line("", "", f"{method} − {PLAIN}", differences, sign="+"))
    return "\n".join(lines)


def _line(
    session: str, classes: str, method: str, intervals: Sequence[Interval], *, sign: str = "", drawn: bool = True
) -> str:
    cells = [_cell(interval, sign, drawn) for interval in intervals]
    return f"| {' | '.join([session, classes, method, *cells])} |"


def _cell(interval: Interval, sign: str, drawn: bool) -> str:
    if np.isnan(interval.mean):
        return "–"
    half_width = f" ± {100 * interval.half_width:.2f}" if drawn and interval.count > 1 else ""
    return f"{round(100 * interval.mean, 2) + 0.0:{sign}.2f}{half_width}"  # + 0.0: no "-0.00"
