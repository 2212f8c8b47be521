"""What a run writes for people and programs: metrics.jsonl, TensorBoard event files, a progress line."""

import datetime
import importlib.util
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsjax.files import parse_json, write_file

logger = logging.getLogger("fsjax")


class Records:
    """Metrics of a run, appended to `metrics.jsonl` and to TensorBoard's files as they come.

    Each line of `metrics.jsonl` has "step", "kind" ("train" or "validation") and the figures. What
    depends on the machine and the hour stands under "timing": everything else is equal, to the last digit, in a
    run that was stopped and continued.
    """

    def __init__(self, workdir: Path, *, start_step: int, write: bool = True) -> None:
        """Open the files, and cut off what was logged after the step that the run continues from.

        Args:
          workdir: the run's folder.
          start_step: steps taken so far.
          write: False in a process that leaves the writing to another: nothing is opened, and `add` does nothing.
        """
        self._write = write
        if not write:
            return
        path = workdir / "metrics.jsonl"
        kept = [line for line in read_jsonl(path) if line["step"] <= start_step]
        write_file(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a")
        self._board = _board(workdir, start_step)

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *_: object) -> None:
        if self._write:
            self._file.close()
            if self._board is not None:
                self._board.close()

    def add(self, step: int, kind: str, figures: Mapping[str, float], timing: Mapping[str, float]) -> None:
        """Append one line of figures."""
        if not self._write:
            return
        self._file.write(json.dumps({"step": step, "kind": kind, **figures, "timing": dict(timing)}) + "\n")
        self._file.flush()
        if self._board is None:
            return
        for name, value in {**figures, **timing}.items():
            if isinstance(value, int | float):
                self._board.add_scalar(f"{kind}/{name}", value, step)
        self._board.flush()


def _board(workdir: Path, start_step: int) -> Any:
    """The writer of TensorBoard's files; None where tensorboardX is not installed, as on a bare GPU machine."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        logger.info("tensorboardX is not installed: metrics.jsonl is written, and no files for TensorBoard")
        return None
    return SummaryWriter(str(workdir), purge_step=start_step + 1 if start_step else None)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`; of a killed process the last one may be half-written, and is left out.

    Others that are damaged are left out, too, and told.
    """
    if not path.exists():
        return []
    texts = path.read_bytes().splitlines(keepends=True)
    lines = [_line(text) for text in texts]
    damaged = [number for number, (line, text) in enumerate(zip(lines, texts, strict=True), 1)
               if line is None and text.endswith(b"\n")]  # fmt: skip
    if damaged:
        logger.warning("%s: line %d and %d others are damaged, and left out", path, damaged[0], len(damaged) - 1)
    return [line for line in lines if line is not None]


def _line(text: bytes) -> dict[str, Any] | None:
    """A line as `Records.add` writes them; None for another."""
    try:
        line = parse_json(text) if text.endswith(b"\n") else None
    except ValueError:
        return None
    if not isinstance(line, dict):
        return None
    kinds = {"step": int, "kind": str, "timing": dict}
    return line if all(isinstance(line.get(name), kind) for name, kind in kinds.items()) else None


class Progress:
    """A progress bar on a terminal, a line per report elsewhere: loss, accuracy, images/s and time left."""

    def __init__(self, *, start_step: int, steps: int, show: bool) -> None:
        self._steps, self._show = steps, show
        self._bar = None
        if show and sys.stderr.isatty() and importlib.util.find_spec("tqdm"):
            from tqdm import tqdm

            self._bar = tqdm(total=steps, initial=start_step, unit="step", dynamic_ncols=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, step: int) -> None:
        """Move the bar to `step`."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def report(self, step: int, figures: Mapping[str, float], images_per_second: float, seconds_left: float) -> None:
        """Show the figures of the last steps."""
        text = f"loss {figures['loss']:.4f}  accuracy {figures['accuracy']:.4f}  {images_per_second:,.0f} images/s"
        if self._bar is not None:
            self._bar.set_postfix_str(text)
        elif self._show:
            left = datetime.timedelta(seconds=round(seconds_left))
            logger.info("step %d/%d  %s  %s left", step, self._steps, text, left)

    def say(self, text: str) -> None:
        """Print a line without tearing the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif self._show:
            logger.info("%s", text)
