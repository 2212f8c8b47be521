"""The check of a data set in words, which goes on after the first thing that is wrong.

`describe` says what a run is about to be trained on; this looks at every picture, also at those that cannot be read, at
the layout of folders, and for pictures that are there twice. Of each picture it keeps some numbers, never its pixels.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fsjax.data.check.duplicates import alike, duplicates
from fsjax.data.check.findings import Finding, some
from fsjax.data.check.layout import survey
from fsjax.data.check.report import DataCheck
from fsjax.data.check.scan import FLAT, Scan, scan
from fsjax.data.check.tasks import protocol, tasks_of
from fsjax.data.config import DataConfig, parse_config
from fsjax.data.errors import DataError
from fsjax.data.load import chosen_parts
from fsjax.data.sources import Part, Source, load_source
from fsjax.errors import counted, one_line

# The largest class over the smallest from which classes count as unbalanced.
_UNBALANCED = 10
# Of the longer side over the shorter: the centre crop keeps less than half of such pictures.
_LONG = 2


def check_data(
    config: Mapping[str, Any], *, seed: int = 0, whole: Mapping[str, Any] | None = None, expected: Any = None
) -> DataCheck:
    """Look at all images that a config chooses, and at how they are laid out.

    Args:
      config: `config.data`, a mapping of the fields of `DataConfig`.
      seed: the run's, as for `load_splits`.
      whole: the config that it is of: its few-shot evaluation, and its training on episodes, must be possible.
      expected: the `DataInfo` of a run that the data should be those of.

    Raises:
      UserError: for a config that cannot be, and a source that is not there.
    """
    parsed = parse_config(config)
    findings: list[Finding] = []
    if parsed.name == "folder":
        source, findings = survey(parsed)
    else:
        # Sources look at some files when they are loaded; of broken ones there is more to say here.
        source = load_source(dataclasses.replace(parsed, on_error="skip"))
    if source is None:
        return DataCheck(parsed.path, (), {}, {}, {}, (), tuple(findings))
    notes = list(source.notes)
    parts, classes, wrong = _parts(source, parsed, seed, notes, strict=whole is not None)
    if wrong and not any(finding.serious for finding in findings):
        findings.append(wrong)
    seen = scan(parts, classes)
    findings += _of_images(seen, parsed, strict=whole is not None)
    findings += duplicates(seen)
    findings += alike(seen)
    findings += _of_counts(seen, classes, parsed)
    if whole is not None and not wrong:
        findings += protocol(seen, whole, divided=bool(parsed.class_split.name))
    if expected is not None and not wrong:
        findings += _others(seen, classes, expected)
    return DataCheck(
        name=source.name,
        notes=tuple(notes),
        counts={split: _by_class(seen, split, classes[split]) for split in seen.splits},
        sizes=_sizes(seen),
        kinds={kind: int((seen.kind[seen.readable] == n).sum()) for n, kind in enumerate(seen.kinds)},
        tasks=tuple(tasks_of(seen, split) for split in seen.splits),
        findings=tuple(sorted(findings, key=lambda finding: not finding.serious)),
    )


def _parts(
    source: Source, config: DataConfig, seed: int, notes: list[str], *, strict: bool
) -> tuple[dict[str, Part], dict[str, Sequence[str]], Finding | None]:
    """The parts of the splits, the class names of each, and why they are not those that the config asks for."""
    own = {split: part for split in ("train", "validation", "test") if (part := getattr(source, split)) is not None}
    try:
        parts, names = chosen_parts(source, dataclasses.replace(config, on_error="raise"), seed, notes)
    except DataError as error:
        if not strict and config.test_fraction and source.test is None:
            # Nobody asked for a test part; a few labelled pictures per class may be too few for one.
            return _parts(source, dataclasses.replace(config, test_fraction=0.0), seed, notes, strict=strict)
        labelled = {split: _labelled(part, len(source.class_names)) for split, part in own.items()}
        advice = "the rest of this check is of the parts as the source has them"
        wrong = Finding("splits", one_line(str(error)), advice, serious=True)
        return labelled, dict.fromkeys(labelled, source.class_names), wrong
    novel = names.get("test", names["train"])
    of_split = {"validation": names.get("validation", names["train"]), "test": novel, "support": novel}
    return parts, {split: of_split.get(split, names["train"]) for split in parts}, None


def _labelled(part: Part, num_classes: int) -> Part:
    return part.take(np.flatnonzero((part.labels >= 0) & (part.labels < num_classes)))


def _of_images(seen: Scan, config: DataConfig, *, strict: bool) -> Iterator[Finding]:
    """What there is to say of pictures, each for itself."""
    if seen.errors:
        yield Finding(
            "unreadable",
            f"{len(seen.errors):,} of {counted(len(seen), 'image')} cannot be read",
            'mend or remove them, or set data.on_error="skip" to train without them',
            serious=True,
            items=[f"{seen.where(row)}: {why}" for row, why in sorted(seen.errors.items())],
        )
    if len(seen.lying):
        yield Finding(
            "suffixes",
            f"{counted(len(seen.lying), 'file is', 'files are')} of another format than the suffix says",
            "fsjax reads them by their content; other programs may not: rename them",
            items=[f"{seen.where(row)} is {seen.kinds[seen.kind[row]].split()[0]}" for row in seen.lying.tolist()],
        )
    flat = np.flatnonzero(seen.flat)
    if len(flat):
        yield Finding(
            "one colour",
            f"{counted(len(flat), 'picture is', 'pictures are')} of one colour (within {FLAT} of 255 levels): there is "
            "nothing in them to learn from",
            "remove them, unless they are meant",
            items=[seen.where(row) for row in flat.tolist()],
        )
    sizes = seen.size[seen.readable]
    if not len(sizes):
        return
    if not config.image_size and (sizes != sizes[0]).any():
        median = int(np.median(sizes.min(axis=1)))
        yield Finding(
            "sizes",
            f"images are of {len(np.unique(sizes, axis=0)):,} different sizes, and a network takes one",
            f"set data.image_size, to {min(median, 84)} for instance (half of the shorter sides are {median} pixels or "
            "less)",
            serious=strict,
        )
    small = int((sizes.min(axis=1) < config.image_size).sum())
    if small:
        yield Finding(
            "small pictures",
            f"the shorter side of {counted(small, 'picture')} is below data.image_size={config.image_size}",
            "these are enlarged, which adds nothing to see: a smaller data.image_size trains faster",
        )
    long = int((sizes.max(axis=1) > _LONG * sizes.min(axis=1)).sum())
    if long and config.fit == "crop":
        yield Finding(
            "long pictures",
            f"{counted(long, 'picture is', 'pictures are')} more than {_LONG} times as long as broad: the centre crop "
            "keeps less than half of them",
            'set data.fit="stretch" to keep all of them, or crop them by hand',
        )


def _of_counts(seen: Scan, classes: Mapping[str, Sequence[str]], config: DataConfig) -> Iterator[Finding]:
    """Classes of which there are few images, or none."""
    for split in seen.splits:
        counts = _by_class(seen, split, classes[split])
        empty = [one_line(name) for name, count in counts.items() if not count]
        if empty:
            yield Finding(
                "absent classes",
                f"{counted(len(empty), 'class has', 'classes have')} no {split} images that can be read: {some(empty)}",
                "add images, or remove the classes",
                serious=split == "train",
            )
        if split != "train" or config.longtail_ratio > 1:
            continue
        there = {name: count for name, count in counts.items() if count}
        if there and max(there.values()) >= _UNBALANCED * min(there.values()):
            least, most = (one_line(choose(there, key=there.__getitem__)) for choose in (min, max))
            yield Finding(
                "unbalanced",
                f"class {most!r} has {max(there.values()):,} training images, class {least!r} {min(there.values()):,}",
                "accuracy will be that of the large classes: look at the balanced accuracy beside it, and see the "
                "losses for long tails",
            )


def _others(seen: Scan, classes: Mapping[str, Sequence[str]], expected: Any) -> Iterator[Finding]:
    """Where the data are not those that a run was trained on."""
    names = {"train": expected.class_names, "validation": expected.validation_classes, "test": expected.test_classes}
    others = [
        split for split in names if names[split] and split in classes and list(classes[split]) != list(names[split])
    ]
    counts = {split: int((seen.split == number).sum()) for number, split in enumerate(seen.splits)}
    differ = [
        f"{split}: {counts.get(split, 0):,} in place of {expected.counts.get(split, 0):,}"
        for split in dict.fromkeys((*counts, *expected.counts))
        if counts.get(split, 0) != expected.counts.get(split, 0)
    ]
    if others:
        yield Finding("other data", f"the {some(others)} classes are not those of the run", serious=True)
    if differ:
        yield Finding("other data", f"the numbers of images are not those of the run: {some(differ)}", serious=True)


def _by_class(seen: Scan, split: str, names: Sequence[str]) -> dict[str, int]:
    counts = dict(zip(seen.class_names, seen.counts(split).tolist(), strict=True))
    return {name: counts[name] for name in names}


def _sizes(seen: Scan) -> dict[str, Any]:
    sizes = seen.size[seen.readable].astype(np.int64)
    if not len(sizes):
        return {}
    columns = {"height": sizes[:, 0], "width": sizes[:, 1], "aspect": sizes[:, 1] / sizes[:, 0]}
    found: dict[str, Any] = {
        name: [float(x) for x in (values.min(), np.median(values), values.max())] for name, values in columns.items()
    }
    return found | {"different": len(np.unique(sizes, axis=0))}
