"""Which classes are base, validation and novel: lists of class names, one JSON file per split, in this folder.

A file is `{"source": where the lists come from, "train": [names], "val": [names], "test": [names]}`; to add a
split, add its file.
"""

from fsjax.data.class_splits.lists import PARTS, ClassLists, load_class_split, packaged, read_lists

__all__ = ["PARTS", "ClassLists", "load_class_split", "packaged", "read_lists"]
