"""Where data come from: one file a kind of source, and one line here."""

import dataclasses
from collections.abc import Callable

from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError
from fsjax.data.sources import aircraft, cars, csv_images, cub, digits, drawings, fake, folder, planted, tfds_source
from fsjax.data.sources.part import Part, Source, check_labels, checked_boxes, merged
from fsjax.files import absolute_path

__all__ = ["SOURCES", "Part", "Source", "absolute", "check_labels", "checked_boxes", "load_source", "merged"]

SOURCES: dict[str, Callable[[DataConfig], Source]] = {
    "aircraft": aircraft.load,
    "cars": cars.load,
    "csv": csv_images.load,
    "cub": cub.load,
    "digits": digits.load,
    "drawings": drawings.load,
    "fake": fake.load,
    "folder": folder.load,
    "planted": planted.load,
}


def load_source(config: DataConfig) -> Source:
    """The source of `config.name`: one of `SOURCES`, else the TFDS data set of that name."""
    if not config.name:
        raise DataError(f"config.data.name is empty: name one of {', '.join(SOURCES)}, or a data set of TFDS")
    load = SOURCES.get(config.name)
    if load is None:
        return tfds_source.load(config)
    # The files are known by where they are, whatever folder this process is in.
    return load(dataclasses.replace(config, path=absolute(config.path)))


def absolute(path: str) -> str:
    """The absolute path of `config.path`, "" of ""; raises a `UserError` for what can be no path."""
    return str(absolute_path(path, what="data.path")) if path else ""
