"""Figures as a Markdown table, each beside the one before it of the same thing."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fsjax.errors import UserError
from fsjax.files import parse_json

# What two figures must agree in to be of the same thing.
_KEY = (
    "name", "part", "config", "set", "synthetic", "method", "model", "options", "dtype", "remat", "image", "data",
    "backend", "batch", "accumulate", "steps_per_dispatch", "eval_batch", "task", "device", "devices",
)  # fmt: skip
_COLUMNS = ("what", "of", "device", "now", "before", "change", "share of peak", "memory", "host", "date")


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of figures, in order; none if there is no such file.

    Raises:
      UserError: naming the line that is no figure.
    """
    lines = []
    for number, text in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        try:
            line = parse_json(text)
            rate(line)
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path}, line {number}: no figure of `fsjax bench`: {text[:80]!r}") from error
        lines.append(line)
    return lines


def rate(line: Mapping[str, Any]) -> tuple[float, str]:
    """The number that a figure is about, larger is faster but for seconds, and its unit."""
    for name, unit in (("images_per_second", "images/s"), ("tasks_per_second", "tasks/s")):
        if name in line:
            return line[name], unit
    return line["seconds"], "s"


def markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    """A table: of each thing its last figure, and the one before that.

    Args:
      lines: figures, from the oldest to the newest.

    Returns:
      Lines of Markdown, the last with its line end.
    """
    by_key: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        by_key.setdefault(json.dumps([line.get(name) for name in _KEY]), []).append(line)
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *(_row(found) for found in by_key.values())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(found: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The cells of one thing's figures."""
    last = found[-1]
    value, unit = rate(last)
    before = rate(found[-2])[0] if len(found) > 1 else None
    faster = None if before is None else (before / value if unit == "s" else value / before)
    # Of the program itself, where that is known: a process's peak is of all that it has done so far.
    memory = last.get("program_bytes", last.get("peak_bytes"))
    return (
        " ".join(str(last[name]) for name in ("name", "part") if name in last),
        _of(last),
        last["device"] + (f" x {last['devices']}" if last.get("devices", 1) > 1 else ""),
        f"{_short(value)} {unit}",
        "" if before is None else f"{_short(before)} {unit}",
        "" if faster is None else f"x {faster:.2f}",
        f"{last['share_of_peak']:.1%}" if "share_of_peak" in last else "",
        "" if memory is None else f"{memory / 2**20:,.0f} MiB",
        f"{last['host_share']:.1%}" if "host_share" in last else "",
        last["date"][:10],
    )


def _of(line: Mapping[str, Any]) -> str:
    """What was measured, in words."""
    size = "x".join(map(str, line["image"]))
    words = [line["config"], line["model"], size, line["dtype"], *(["remat"] if line.get("remat") else [])]
    if line["name"] in ("train", "input"):
        words += [f"batch {line['batch']}", line["backend"]]
    words += [f"{key}={value}" for key, value in line.get("set", {}).items()]
    words += [f"synthetic {line['synthetic']}"] if line.get("synthetic") else []
    return ", ".join(word for word in [*words, line.get("task", "")] if word)


def _short(value: float) -> str:
    """Three digits and no more than are known."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
