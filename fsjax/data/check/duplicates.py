"""The same picture twice in a data set: in two splits, in two classes, in one class; and pictures that look alike."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from fsjax.data.check.findings import Finding
from fsjax.data.check.near_duplicates import NEAR_BITS, nearest
from fsjax.data.check.scan import Scan
from fsjax.errors import counted, one_line

# Groups that are named one by one, in JSON too.
_LISTED = 1000
_LIMITS = (
    f"by a perceptual hash, of which at most {NEAR_BITS} of 64 bits differ; simple pictures, such as drawings on "
    "white, raise false alarms, and mirrored, turned or cropped copies are not found: look at them"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Pictures that look like one of another split.

    Attributes:
      rows: int64 `[n, 2]`: of the scan, the picture and the one it looks like, which is of an earlier split.
      bits: int64 `[n]`, of the hash, that differ.
    """

    rows: np.ndarray
    bits: np.ndarray


def groups(scan: Scan) -> list[np.ndarray]:
    """Rows of the same pixels, two or more each, in the order of their first."""
    rows = np.flatnonzero(scan.readable)
    _, inverse, counts = np.unique(scan.digest[rows], axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    again = np.flatnonzero(counts[inverse] > 1)
    order = again[np.argsort(inverse[again], kind="stable")]
    found = np.split(rows[order], np.flatnonzero(np.diff(inverse[order])) + 1) if len(order) else []
    return sorted(found, key=lambda group: int(group[0]))


def look_alikes(scan: Scan) -> Pairs:
    """For each picture, the one of an earlier split that it looks most like, if any does.

    Pictures of one colour, and those of which the very pixels are in another split, are left out.
    """
    seen = scan.readable & ~scan.flat
    for group in groups(scan):
        if len(np.unique(scan.split[group])) > 1:
            seen[group] = False
    rows, bits = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    for split in range(1, len(scan.splits)):
        own, earlier = (np.flatnonzero(seen & chosen) for chosen in (scan.split == split, scan.split < split))
        other, distance = nearest(scan.hash[own], scan.hash[earlier])
        there = other >= 0
        rows.append(np.stack([own[there], earlier[other[there]]], axis=1))
        bits.append(distance[there])
    return Pairs(np.concatenate(rows), np.concatenate(bits))


def duplicates(scan: Scan) -> Iterator[Finding]:
    """What there is to say of pictures that are in the data set twice."""
    found = groups(scan)
    leaks = [group for group in found if len(np.unique(scan.split[group])) > 1]
    if leaks:
        parts = sorted({tuple(np.unique(scan.split[group]).tolist()) for group in leaks})
        between = "; ".join(" and ".join(scan.splits[split] for split in pair) for pair in parts)
        copies = sum(int((scan.split[group] != scan.split[group].min()).sum()) for group in leaks)
        yield Finding(
            "leak",
            f"{counted(len(leaks), 'picture is', 'pictures are')} in more than one split, pixel by pixel ({between}): "
            f"{counted(copies, 'image')} to take out",
            "a test on pictures that were trained on looks better than it is: remove them from one of the splits",
            serious=True,
            items=_named(scan, leaks),
        )
    double = [group for group in found if len(np.unique(scan.label[group])) > 1]
    if double:
        yield Finding(
            "two labels",
            f"{counted(len(double), 'picture is', 'pictures are')} in more than one class, pixel by pixel",
            "keep each in the class that it belongs to",
            serious=True,
            items=_named(scan, double),
        )
    within = [group for group in found if len(np.unique(scan.label[group])) == len(np.unique(scan.split[group])) == 1]
    if within:
        more = sum(map(len, within)) - len(within)
        yield Finding(
            "duplicates",
            f"{counted(len(within), 'picture is', 'pictures are')} more than once in one class of one split: "
            f"{counted(more, 'copy', 'copies')}",
            "copies count twice; in a few-shot task one may be in the support set and in the queries: remove them",
            items=_named(scan, within),
        )


def alike(scan: Scan) -> Iterator[Finding]:
    """What there is to say of pictures that look like one of another split."""
    pairs = look_alikes(scan)
    if not len(pairs.rows):
        return
    other = scan.label[pairs.rows]
    differ = int((other[:, 0] != other[:, 1]).sum())
    order = np.argsort(pairs.bits, kind="stable")
    yield Finding(
        "look-alikes",
        f"{counted(len(order), 'picture looks', 'pictures look')} like one of another split"
        + (f", {differ:,} like one of another class" if differ else ""),
        f"the same picture, scaled or compressed anew, would be a leak ({_LIMITS})",
        items=_named(scan, [pairs.rows[i] for i in order]),
        between=" ~ ",
    )


def _named(scan: Scan, found: list[np.ndarray]) -> list[list[str]]:
    return [[f"{scan.where(row)} ({_place(scan, row)})" for row in group] for group in found[:_LISTED]]


def _place(scan: Scan, row: int) -> str:
    return f"{scan.splits[scan.split[row]]}, {one_line(scan.class_names[scan.label[row]])}"
