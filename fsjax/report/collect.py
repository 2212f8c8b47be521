"""What a run's folder says as plain data: no network, no images, and what is odd about the folder, in words."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fsjax.errors import UserError
from fsjax.files import parse_json
from fsjax.report.expected import checked, is_number
from fsjax.run_folder import STARTER, run_folder

# Sections of a config that hold options of several things, of which a run reads those of one: `loss.name`.
_CHOSEN_BY_NAME = ("method", "loss", "model")
# In the place of a value that a config has not.
ABSENT = "–"


@dataclasses.dataclass(frozen=True, eq=False)
class Collected:
    """A run's files.

    Attributes:
      folder: of the run.
      name: what the page calls it; no two runs of a page have the same.
      config: config.json; empty where it cannot be read.
      data: data.json; likewise.
      result: result.json; empty for a run that is not finished.
      metrics: the lines of metrics.jsonl that can be read, in order of their steps.
      problems: what is damaged or missing that should be there, in words.
    """

    folder: Path
    name: str
    config: dict[str, Any]
    data: dict[str, Any]
    result: dict[str, Any]
    metrics: list[dict[str, Any]]
    problems: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the run wrote its result."""
        return bool(self.result)

    @property
    def few_shot(self) -> bool:
        """Whether its classes are divided, so that it is tested on few-shot tasks."""
        return bool(self.data.get("test_classes") or self.data.get("validation_classes"))

    def get(self, *path: str) -> Any:
        """An entry of the config; None where there is none."""
        return entry(self.config, *path)


def entry(tree: Any, *path: str) -> Any:
    """The entry at a path of nested mappings; None where there is none."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def collect(folders: Sequence[str | Path]) -> list[Collected]:
    """The files of runs; "starter" is the network that comes with fsjax, see `fsjax.run_folder`.

    Raises:
      UserError: for a folder that is no run's, and for one that is given twice.
    """
    paths = [run_folder(folder) for folder in folders]
    for number, path in enumerate(paths):
        if path.resolve() in {other.resolve() for other in paths[:number]}:
            raise UserError(f"{path} is given twice: a page shows each run once")
    return [_collected(path, name) for path, name in zip(paths, names(paths), strict=True)]


def names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of different paths that tell them apart, with as many parts each."""
    length = 1
    while len({path.parts[-length:] for path in paths}) < len(paths):
        length += 1
    return ["/".join(path.parts[-length:]).lstrip("/") or str(path) for path in paths]


def _collected(path: Path, name: str) -> Collected:
    if not path.is_dir():
        raise UserError(f"{path} is no folder: give the workdir of a run, which `fsjax train --workdir` wrote")
    files = ("config.json", "data.json", "metrics.jsonl", "checkpoints")
    if not any((path / file).exists() for file in files):
        raise UserError(f"{path} is not the workdir of a run: it has none of {', '.join(files)}")
    problems: list[str] = []
    config, data = (_mapping(path / file, problems, needed=True) for file in ("config.json", "data.json"))
    result = _mapping(path / "result.json", problems, needed=False)
    # That of the network that comes with fsjax stayed where it was trained.
    metrics = read_metrics(path / "metrics.jsonl", problems) if path != STARTER else []
    return Collected(path, name, config, data, result, metrics, tuple(problems))


def _mapping(path: Path, problems: list[str], *, needed: bool) -> dict[str, Any]:
    try:
        found = _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if needed:
            problems.append(f"{path.name} is missing")
        return {}
    except (OSError, ValueError) as error:  # of JSON and of UTF-8
        problems.append(f"{path.name} is damaged ({error})")
        return {}
    if not isinstance(found, dict):
        problems.append(f"{path.name} is damaged (it holds a {type(found).__name__}, not an object)")
        return {}
    return checked(path.name, found, problems)


def _parsed(text: str) -> Any:
    """JSON, whose whole numbers can all be counted with; raises a ValueError."""
    return parse_json(text, parse_int=lambda digits: int(digits) if len(digits) < 300 else float(digits))


def read_metrics(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The readable lines of a metrics.jsonl by step; of others but a half-written last one `problems` gets a word."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except FileNotFoundError:
        problems.append(f"{path.name} is missing: there are no curves")
        return []
    except OSError as error:
        problems.append(f"{path.name} cannot be read ({error.strerror}): there are no curves")
        return []
    found = [_line(line) for line in lines]
    damaged = sum(line is None for line in found[:-1]) + (bool(found) and found[-1] is None and lines[-1][-1:] == "\n")
    if damaged:
        problems.append(f"{damaged} of {len(lines)} lines of {path.name} are damaged, and left out")
    return sorted((line for line in found if line is not None), key=lambda line: line["step"])


def _line(text: str) -> dict[str, Any] | None:
    try:
        line = _parsed(text)
    except ValueError:
        return None
    known = isinstance(line, dict) and isinstance(line.get("step"), int) and isinstance(line.get("kind"), str)
    return line if known else None


def curve(run: Collected, kind: str, figure: str, *, most: int = 400) -> tuple[list[float], list[float]]:
    """A figure of metrics.jsonl by step, thinned.

    Args:
      run: of which.
      kind: "train" or "validation".
      figure: its name in the lines.
      most: how many points are kept, about.

    Returns:
      Steps and values; empty for a figure that there is not. A value that is no number is NaN.
    """
    there = [(line["step"], line[figure]) for line in run.metrics if line["kind"] == kind and figure in line]
    numbers = [value if is_number(value) else math.nan for _, value in there]
    kept = thinned(numbers, most)
    return [there[index][0] for index in kept], [numbers[index] for index in kept]


def thinned(values: Sequence[float], most: int) -> list[int]:
    """Which of many values to draw: the first and the last, and of each stretch the smallest and the largest.

    Args:
      values: in order; NaN are gaps, and the first of a stretch is kept.
      most: how many are wanted; at most 2 more are kept.

    Returns:
      Their positions, in order.
    """
    if len(values) <= most:
        return list(range(len(values)))
    stretches = max(most // 3, 1)
    kept = {0, len(values) - 1}
    for number in range(stretches):
        stretch = range(len(values) * number // stretches, len(values) * (number + 1) // stretches)
        finite = [index for index in stretch if not math.isnan(values[index])]
        if finite:
            kept |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
        if len(finite) < len(stretch):
            kept.add(next(index for index in stretch if math.isnan(values[index])))
    return sorted(kept)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def config_differences(runs: Sequence[Collected]) -> tuple[dict[str, list[Any]], list[str]]:
    """The keys of the configs by which runs differ.

    Options of methods, losses and networks that a run has not chosen are none of its keys.

    Returns:
      By dotted key its value in each run, `ABSENT` where a run has it not, since it has chosen another method, loss or
      network; and the other keys that only some of the runs have, as those of other versions of fsjax.
    """
    configs = [_read_part(flat(run.config)) for run in runs]
    there = [config for config in configs if config]
    differing, partly = {}, []
    for key in sorted(set().union(*there)):
        values = [config.get(key, ABSENT) for config in configs]
        if all(key in config for config in there) or _is_option(key):
            if any(config.get(key, ABSENT) != there[0].get(key, ABSENT) for config in there):
                differing[key] = values
        else:
            partly.append(key)
    return differing, partly


def _read_part(config: dict[str, Any]) -> dict[str, Any]:
    """A flat config without the options of what the run has not chosen."""
    return {key: value for key, value in config.items() if not _is_unread(key, config)}


def _is_unread(key: str, config: Mapping[str, Any]) -> bool:
    return _is_option(key) and key.split(".")[1] != config.get(f"{key.split('.')[0]}.name")


def _is_option(key: str) -> bool:
    """Whether a key is an option of one method, loss or network: `loss.icu.alpha`."""
    return key.startswith(tuple(f"{section}." for section in _CHOSEN_BY_NAME)) and key.count(".") > 1
