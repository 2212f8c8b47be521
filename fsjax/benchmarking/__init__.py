"""How fast a config is here: its training step, its input, its evaluation, implants, restoring; a figure a line.

for line in benchmark("train", Case.of(config)): print(line)

To add one, write a function of a `Case` that yields dicts, and add its line to `BENCHMARKS`.

Internal: no part of the public interface.
"""

from collections.abc import Callable, Iterator
from typing import Any

from fsjax.benchmarking import evaluate, implants, pipeline, restore, train
from fsjax.benchmarking.case import Case
from fsjax.benchmarking.machine import facts
from fsjax.errors import unknown

__all__ = ["BENCHMARKS", "Case", "benchmark"]

BENCHMARKS: dict[str, Callable[[Case], Iterator[dict[str, Any]]]] = {
    "train": train.measure,
    "input": pipeline.measure,
    "evaluate": evaluate.measure,
    "implants": implants.measure,
    "restore": restore.measure,
}


def benchmark(name: str, case: Case) -> Iterator[dict[str, Any]]:
    """The figures of one benchmark, with what they were measured on and of.

    Args:
      name: a key of `BENCHMARKS`.
      case: what is measured.

    Yields:
      A dict of JSON types a figure; see `fsjax.cli.bench` for what they mean.

    Raises:
      UserError: for an unknown name, and for what the case's config, data or machine cannot do.
    """
    if name not in BENCHMARKS:
        raise unknown("benchmark", name, BENCHMARKS)
    for figures in BENCHMARKS[name](case):
        yield _rounded({"name": name, **case.facts, **figures, **facts()})


def _rounded(value: Any) -> Any:
    """With six digits of every float: more than are known, and fewer than hide the rest of the line."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
