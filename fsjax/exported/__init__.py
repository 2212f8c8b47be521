"""A classifier that fsjax exported, with jax and NumPy alone: uint8 pictures in, class names out.

Nothing else of fsjax is imported here: `fsjax export` copies this package into what it writes. It needs jax, NumPy and
flatbuffers, and pillow to open picture files:

    python FOLDER photo.jpg ...                     # file, label, probability, similarity

    import sys; sys.path.insert(0, "FOLDER")
    import exported
    model = exported.load()                         # or load("ANOTHER_FOLDER")
    model.predict(images)                           # uint8 [n, height, width, channels] -> the name of a class each
    model.add_class("heron", images)                # by its mean feature, with --head prototypes: nothing is trained
    model.save("ANOTHER_FOLDER")

How long an export stays readable: its functions are StableHLO that `jax.export` serialized. jax promises to read what
was written with a jaxlib of up to six months before its own, or of up to three weeks after it; the weights and the
classes are plain arrays. Beyond that it may well be read, but nobody has promised it: then install the jax named in
export.json, or export the run anew.
"""

from .layout import NONE_OF_THESE, ExportError, KnownClass
from .loading import load
from .model import Classified, Exported

__all__ = ["NONE_OF_THESE", "Classified", "ExportError", "Exported", "KnownClass", "load"]
