"""What a check of a data set says: in words, and as JSON."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fsjax.data.check.findings import Finding
from fsjax.data.check.tasks import Tasks
from fsjax.errors import counted, one_line

_SHOWN = 20
# Of what is no more than a guess or a hint.
_SHOWN_OF_REMARKS = 5


@dataclasses.dataclass(frozen=True)
class DataCheck:
    """What was found.

    Attributes:
      name: of the data set.
      notes: how it was read and chosen from.
      counts: by split and class, images that can be read.
      sizes: least, median and greatest "height", "width" and "aspect" (width over height); and how many "different"
        sizes there are. Empty where no image can be read.
      kinds: how many images are of each kind, "JPEG RGB" or "grey".
      tasks: that the classes of each split can make.
      findings: serious ones first.
    """

    name: str
    notes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    sizes: Mapping[str, Any]
    kinds: Mapping[str, int]
    tasks: tuple[Tasks, ...]
    findings: tuple[Finding, ...]

    @property
    def serious(self) -> bool:
        """Whether something was found that a user must see."""
        return any(finding.serious for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain types."""
        plain = {
            "tasks": [tasks.to_json() for tasks in self.tasks],
            "findings": [finding.to_json() for finding in self.findings],
            "serious": self.serious,
        }
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**fields, "notes": list(self.notes), **plain}

    def __str__(self) -> str:
        return self.in_words()

    def in_words(self, *, every_class: bool = False) -> str:
        """All of it in lines: at most 20 places of a problem, the count of every class only where it is asked for."""
        return "\n".join([*self._facts(every_class), *self._found()])

    def _facts(self, every_class: bool) -> Iterator[str]:
        images = sum(sum(counts.values()) for counts in self.counts.values())
        classes = len({name for counts in self.counts.values() for name in counts})
        yield f"{one_line(self.name)}: {counted(images, 'image')} of {counted(classes, 'class', 'classes')}"
        for split, counts in self.counts.items():
            yield f"  {split}: {_counts(counts)}"
            if every_class:
                yield from (f"    {count:>7,}  {one_line(name)}" for name, count in counts.items())
        if self.sizes:
            height, width, aspect = (_range(self.sizes[name]) for name in ("height", "width", "aspect"))
            different = self.sizes["different"]
            yield (
                f"  sizes: height {height}, width {width}, width over height {aspect}"
                + (f"; {different:,} different sizes" if different > 1 else "")
            )
            yield "  kinds: " + ", ".join(f"{count:,} {kind}" for kind, count in self.kinds.items())
        yield from (f"  tasks of {tasks.split}: {tasks}" for tasks in self.tasks)
        yield from (f"  {one_line(note)}" for note in self.notes)

    def _found(self) -> Iterator[str]:
        for serious, one, many in ((True, "problem", "problems"), (False, "remark", "remarks")):
            chosen = [finding for finding in self.findings if finding.serious == serious]
            if chosen:
                yield f"{counted(len(chosen), one, many)}:"
            for number, finding in enumerate(chosen, 1):
                yield f"  {number}. {finding.kind}: {finding.what}"
                most = _SHOWN if serious else _SHOWN_OF_REMARKS
                for item in finding.items[:most]:
                    yield "       " + (item if isinstance(item, str) else finding.between.join(item))
                if len(finding.items) > most:
                    yield f"       and {len(finding.items) - most:,} more (--json has them)"
                if finding.advice:
                    yield f"     {finding.advice}"
        if not self.serious:
            yield "no problem found"


def _range(numbers: Sequence[float]) -> str:
    least, median, most = numbers
    return f"{least:,.4g}" if least == most else f"{least:,.4g} to {most:,.4g} (median {median:,.4g})"


def _counts(counts: Mapping[str, int]) -> str:
    numbers = list(counts.values())
    words = f"{counted(sum(numbers), 'image')} of {counted(len(numbers), 'class', 'classes')}"
    if len(numbers) < 2:
        return words
    if min(numbers) == max(numbers):
        return f"{words}, {min(numbers):,} of each"
    least, most = (one_line(choose(counts, key=counts.__getitem__)) for choose in (min, max))
    return (
        f"{words}, {min(numbers):,} ({least!r}) to {max(numbers):,} ({most!r}) of each, median "
        f"{np.median(numbers):,g}" + (f", imbalance {max(numbers) / min(numbers):.3g}" if min(numbers) else "")
    )
