"""Where data come from: one file a kind of source, and one line here."""

from collections.abc import Callable

from fsjax.data.config import DataConfig
from fsjax.data.sources import aircraft, cars, csv_images, cub, digits, drawings, fake, folder, planted, tfds_source
from fsjax.data.sources.part import Part, Source, check_labels, checked_boxes, merged

__all__ = ["SOURCES", "Part", "Source", "check_labels", "checked_boxes", "load_source", "merged"]

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
    return SOURCES.get(config.name, tfds_source.load)(config)
