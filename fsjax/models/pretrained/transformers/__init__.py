"""Vision transformers in the layout of Hugging Face's `transformers`: what config.json says, and where arrays go."""

from fsjax.models.pretrained.transformers.arrays import convert, named, place_of, places
from fsjax.models.pretrained.transformers.config import KINDS, Layout, layout_of

__all__ = ["KINDS", "Layout", "convert", "layout_of", "named", "place_of", "places"]
