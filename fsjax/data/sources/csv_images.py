"""Images in one folder and lists of them beside it: the layout in which miniImageNet is handed on."""

import csv
from pathlib import Path

import numpy as np

from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError
from fsjax.data.pictures import decode
from fsjax.data.sources.listed import paths_of
from fsjax.data.sources.source import Part, Source

LISTS = ("train.csv", "val.csv", "test.csv")
_COLUMNS = ("filename", "label")


def load(config: DataConfig) -> Source:
    """The images `path/images/FILENAME` that `path/train.csv`, `val.csv` and `test.csv` list (Ravi & Larochelle 2017).

    A list has a header and the columns `filename` and `label` (for miniImageNet a wnid); further columns are
    passed over. The lists hold different classes, so this source is for class splits: all lists become one part,
    and the class split divides it. Classes are in alphabetical order. A list that is not there is done without.

    Raises:
      DataError: without a class split; for missing folders, lists, columns or images, rows that are shorter or longer
        than the header, quotes that are not closed, and images that are listed twice or lie elsewhere.
    """
    if not config.class_split.name:
        raise DataError(
            'data.name="csv" lists other classes in each of its files, which is no data for ordinary classification: '
            "set data.class_split.name, for example to mini_imagenet"
        )
    if not config.path:
        raise DataError(
            'data.name="csv" needs data.path, the folder that holds train.csv, val.csv, test.csv and images/'
        )
    root = Path(config.path).expanduser()
    lists = [root / name for name in LISTS if (root / name).is_file()]
    if not lists or not (root / "images").is_dir():
        missing = [] if lists else [f"all of {', '.join(LISTS)}"]
        missing += [] if (root / "images").is_dir() else ["the folder images"]
        raise DataError(f"data.path={config.path} lacks {' and '.join(missing)}; lists and images are needed")
    rows = []
    for path in lists:
        try:
            rows += _rows(path)
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 text ({error}): save it as UTF-8") from error
    paths = paths_of(root / "images", [name for name, _ in rows])
    class_names = tuple(sorted({label for _, label in rows}))
    number = {name: label for label, name in enumerate(class_names)}
    channels = config.channels or 3
    part = Part(
        labels=np.array([number[label] for _, label in rows], np.int32),
        read=lambda item: decode(paths[item], channels),
        locate=lambda item: paths[item],
        items=np.arange(len(paths)),
        channels=channels,
    )
    read = ", ".join(f"{path.name}" for path in lists)
    return Source(name=root.name, class_names=class_names, train=part, notes=(f"images of {root}, by {read}",))


def _rows(path: Path) -> list[tuple[str, str]]:
    """`(filename, label)` of each row of a list."""
    # Spreadsheets put a mark (BOM) before the header, which "utf-8-sig" drops.
    with open(path, encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, skipinitialspace=True, strict=True)  # strict: a quote that is open is an error
        try:
            places = _columns(next(reader, []), path)
            rows = [_row(row, places, f"{path}, line {reader.line_num}") for row in reader if row]
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if not rows:
        raise DataError(f"{path} lists no image")
    return rows


def _columns(header: list[str], path: Path) -> tuple[int, list[int]]:
    """How many columns a list has, and which are those that are read."""
    absent = [name for name in _COLUMNS if name not in header]
    if absent:
        raise DataError(
            f"{path} has no column {' and no column '.join(absent)}; its first line must be a header with "
            f"{' and '.join(_COLUMNS)}, and is: {','.join(header) or 'empty'}"
        )
    for name in _COLUMNS:
        if header.count(name) > 1:
            raise DataError(f"{path} has {header.count(name)} columns {name}: leave one")
    return len(header), [header.index(name) for name in _COLUMNS]


def _row(row: list[str], columns: tuple[int, list[int]], where: str) -> tuple[str, str]:
    count, places = columns
    if len(row) > count:
        raise DataError(
            f"{where}: {len(row)} values, and the header names {count} columns: a value with a comma in it needs quotes"
        )
    name, label = ((row[place] if place < len(row) else "").strip() for place in places)
    if not name or not label:
        raise DataError(f"{where}: a row needs a filename and a label")
    if len((name + label).splitlines()) > 1:
        raise DataError(f"{where}: a filename or a label has a line break in it; is a quote not closed?")
    return name, label
