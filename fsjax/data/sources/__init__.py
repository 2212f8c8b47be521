"""Where data come from: one file for each kind of source, and one line here."""

import dataclasses

from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError
from fsjax.data.sources import tfds_source
from fsjax.data.sources.source import Part, Source, check_labels, checked_boxes, merged
from fsjax.files import absolute_path
from fsjax.options import Choice, NoOptions, Table

__all__ = ["SOURCES", "Part", "Source", "absolute", "check_labels", "checked_boxes", "load_source", "merged"]

SOURCES = Table(
    "sources",
    {
        "aircraft": Choice(NoOptions, "fsjax.data.sources.aircraft:load"),
        "cars": Choice(NoOptions, "fsjax.data.sources.cars:load"),
        "csv": Choice(NoOptions, "fsjax.data.sources.csv_images:load"),
        "cub": Choice(NoOptions, "fsjax.data.sources.cub:load"),
        "digits": Choice(NoOptions, "fsjax.data.sources.digits:load"),
        "drawings": Choice(NoOptions, "fsjax.data.sources.drawings:load"),
        "fake": Choice(NoOptions, "fsjax.data.sources.fake:load"),
        "folder": Choice(NoOptions, "fsjax.data.sources.folder:load"),
        "planted": Choice(NoOptions, "fsjax.data.sources.planted:load"),
    },
)


def load_source(config: DataConfig) -> Source:
    """The source of `config.name`: one of `SOURCES`, else the TFDS data set of that name."""
    if not config.name:
        raise DataError(f"config.data.name is empty: name one of {', '.join(SOURCES)}, or a data set of TFDS")
    if config.name not in SOURCES:
        return tfds_source.load(config)
    load = SOURCES[config.name].load()
    # The files are known by where they are, whatever folder this process is in.
    return load(dataclasses.replace(config, path=absolute(config.path)))


def absolute(path: str) -> str:
    """The absolute path of `config.path`, "" of ""; raises a `UserError` for what can be no path."""
    return str(absolute_path(path, what="data.path")) if path else ""
