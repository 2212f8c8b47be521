"""What the studies share: a folder a run, trained and evaluated where it is missing, and the cells of their tables."""

import argparse
import json
import logging
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any


def folder(workdir: Path, dataset: str, name: str, seed: int) -> Path:
    """Where a run lies."""
    return workdir / f"{dataset}-{name}-{seed}"


def train(names: Iterable[str], config_of: Callable[[str], Any], folder_of: Callable[[str], Path]) -> None:
    """Train the runs that are missing, one after the other."""
    from fsjax.training import run

    for name in names:
        path = folder_of(name)
        result = run(config_of(name), path)
        print(json.dumps({"run": path.name, "seconds": result["training"]["seconds"]}), flush=True)


def to_evaluate(names: Iterable[str], folder_of: Callable[[str], Path], tasks: int) -> Iterator[tuple[str, Path, Path]]:
    """The names that are trained and not evaluated on so many tasks, with their folders and the file to write."""
    for name in names:
        path = folder_of(name)
        known = path / "figures.json"
        evaluated = known.exists() and json.loads(known.read_text())["figures"][0]["tasks"] == tasks
        if (path / "result.json").exists() and not evaluated:
            yield name, path, known


def spread(values: Sequence[float], *, digits: int = 2, sign: str = "") -> str:
    """Mean ± deviation with n - 1; the one value where there is one, "–" for none."""
    if not values:
        return "–"
    mean = f"{statistics.mean(values):{sign}.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


# Of a figure or a difference: its 95 % intervals over tasks, new images and new classes.
LEGEND = "± tasks / new images / new classes"


def percent(figure: dict[str, Any]) -> str:
    """An accuracy with its intervals; with that over tasks alone, where a figure has no others."""
    return with_intervals(figure["accuracy"], figure)


def with_intervals(value: float, facts: dict[str, Any], *, sign: str = "") -> str:
    """ "45.31 ± 0.20 / 0.61 / 4.10", as `LEGEND` says; "–" stands for one that is not known."""
    names = ["interval", *(name for name in ("interval_new_images", "interval_new_classes") if name in facts)]
    widths = [facts[name] for name in names]
    words = " / ".join("–" if width is None else f"{100 * width:.2f}" for width in widths)
    return f"{100 * value:{sign}.2f}" + (f" ± {words}" if any(width is not None for width in widths) else "")


def difference_in_words(found: Any) -> str:
    """A paired difference (`fsjax.evaluation.few_shot.intervals.Intervals`) with its intervals."""
    return with_intervals(found.tasks.mean, found.to_json(), sign="+")


def arguments(
    description: str, *, datasets: Sequence[str], names: Sequence[str], what: str, workdir: str, tasks: int
) -> argparse.Namespace:
    """The command line of a study; `what` are its names, "methods" or "rows"."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=datasets)
    parser.add_argument("--workdir", type=Path, default=Path(workdir))
    parser.add_argument(f"--{what}", nargs="+", choices=names, default=list(names), dest="names")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", type=int, default=tasks)
    parser.add_argument("--only", choices=("train", "evaluate", "table"))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return parser.parse_args()
