"""A script of the tests: an export, read where jax, jaxlib and what these need are all that is installed.

Arguments: the folder of an export, a file of images, a folder to save to. Prints what was computed, and which of the
absent packages were imported, as JSON.
"""

import json
import sys

ABSENT = (
    "fsjax", "flax", "optax", "orbax", "tensorflow", "tensorflow_datasets", "ml_collections", "chex", "absl",
    "flatbuffers", "PIL", "sklearn", "matplotlib", "etils",
)  # fmt: skip


class Bare:
    """The finders of modules, blind to the absent."""

    def __init__(self, finders):
        self._finders = finders

    def find_spec(self, name, path=None, target=None):
        """The specification that the first of the finders has."""
        if name.partition(".")[0] in ABSENT:
            return None
        return next((spec for f in self._finders if (spec := f.find_spec(name, path, target))), None)

    def find_distributions(self, *args):
        """What importlib.metadata asks for the versions of packages."""
        return (x for f in self._finders if hasattr(f, "find_distributions") for x in f.find_distributions(*args))


def main(folder: str, images: str, target: str) -> None:
    sys.meta_path[:] = [Bare(list(sys.meta_path))]
    sys.path.insert(0, folder)
    import exported
    import numpy as np

    assert exported.__file__.startswith(folder)
    images, model = np.load(images), exported.load()
    result = {
        "embedded": model.embed(images).tolist(),
        "scores": model.scores(images).tolist(),
        "probabilities": model.probabilities(images).tolist(),
        "similarities": model.similarities(images).tolist(),
        "labels": model.predict(images).tolist(),
    }
    model.add_class("stork", images[:2])
    model.save(target)
    exported.load(target)  # a second time: what stood in for a package is gone again
    result["loaded"] = sorted(name for name in ABSENT if name in sys.modules)
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
