"""The lines of benchmarks/accelerator.py as Markdown: ours beside PyTorch's."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import profile_step

# What two lines must agree in to be of the same thing.
_KEY = ("case", "library", "name", "dtype", "batch", "backend")
_COLUMNS = (
    "case", "dtype", "batch", "backend", "ours, images/s", "of peak", "fed", "memory", "PyTorch, images/s", "of peak",
    "memory", "ours / PyTorch", "device",
)  # fmt: skip


def key(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """Of which thing a line is."""
    return (*(line.get(name) for name in _KEY), line.get("smoke", False))


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file, in order; none if there is no such file."""
    return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []


def table(lines: Sequence[Mapping[str, Any]], recipes: Mapping[str, int]) -> str:
    """Markdown: ours beside PyTorch's, recipes' times, the profiles, and what failed; of each thing its last line.

    Args:
      lines: of a file, from the oldest to the newest.
      recipes: images of the whole training, of the cases that are a recipe.
    """
    last = {key(line): line for line in lines}
    good = [line for line in last.values() if "failed" not in line]
    ours = [line for line in good if line["library"] == "jax" and line["name"] == "train"]
    theirs = {_shared(line): line for line in good if line["library"] == "torch"}
    rows = [_row(line, theirs.get(_shared(line))) for line in ours]
    alone = {shared: line for shared, line in theirs.items() if shared not in {_shared(line) for line in ours}}
    rows += [_row(None, line) for line in alone.values()]
    parts = ["".join(f"| {' | '.join(row)} |\n" for row in (_COLUMNS, ("---",) * len(_COLUMNS), *rows))]
    parts += [
        _recipe(line, recipes[line["case"]]) for line in ours if line["case"] in recipes and not line.get("smoke")
    ]
    profiles = [line for line in good if line["name"] == "profile"]
    parts += [f"Where the time goes, {_words(line)}:\n\n{profile_step.markdown(line)}" for line in profiles]
    failed = [line for line in last.values() if "failed" in line]
    if failed:
        parts.append("".join(f"- failed: {_words(line)}, {line['library']}: {line['failed']}\n" for line in failed))
    return "\n".join(parts)


def _shared(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """What lines of both libraries agree in if they are of the same case."""
    return tuple(line.get(name) for name in ("case", "dtype", "batch", "smoke"))


def _row(ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> tuple[str, ...]:
    line = ours or theirs or {}
    mine, other = ours or {}, theirs or {}
    both = mine and other
    return (
        line["case"] + (" (smoke)" if line.get("smoke") else ""),
        line["dtype"],
        str(line["batch"]),
        mine.get("backend", ""),
        _number(mine.get("images_per_second")),
        _share(mine, mine),
        _number(mine.get("fed_images_per_second")),
        _memory(mine),
        _number(other.get("images_per_second")) + ("" if other.get("compiled", True) else " (not compiled)"),
        _share(other, {**other, **mine}),
        _memory(other),
        f"{mine['images_per_second'] / other['images_per_second']:.2f}" if both else "",
        line["device"],
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _share(line: Mapping[str, Any], counted: Mapping[str, Any]) -> str:
    """Of the peak that the line has measured, by the operations of the line that has counted them."""
    if not line or "flops_per_image" not in counted:
        return ""
    return (
        f"{counted['flops_per_image'] * line['images_per_second'] / line['matmul_peak'] / line.get('devices', 1):.1%}"
    )


def _memory(line: Mapping[str, Any]) -> str:
    """The process's peak where the device counts it; else what the compiler says of the step."""
    value = line.get("peak_bytes", line.get("program_bytes"))
    return "" if value is None else f"{value / 2**20:,.0f} MiB"


def _words(line: Mapping[str, Any]) -> str:
    parts = [line["case"], line["dtype"], f"batch {line['batch']}", line["backend"]]
    return ", ".join(filter(None, parts)) + (" (smoke)" if line.get("smoke") else "")


def _recipe(line: Mapping[str, Any], images: int) -> str:
    minutes = images / line["fed_images_per_second"] / 60
    words = f"{images:,} images in {minutes:.1f} minutes of fed steps; evaluations and checkpoints come on top"
    return f"The recipe of {_words(line)}: {words}.\n"
