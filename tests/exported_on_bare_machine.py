"""A script of the tests: an export, read where jax, flatbuffers and what these need are all that is installed.

Arguments: the folder of an export, a file of images, a folder to save to. Prints what was computed, and which of the
absent packages were imported, as JSON.
"""

import json
import sys

from tests.absent_packages import hide

ABSENT = (
    "fsjax", "flax", "optax", "orbax", "tensorflow", "tensorflow_datasets", "ml_collections", "chex", "absl",
    "PIL", "sklearn", "matplotlib", "etils",
)  # fmt: skip


def main(folder: str, images: str, target: str) -> None:
    hide(ABSENT)
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
    result["loaded"] = sorted(name for name in ABSENT if name in sys.modules)
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
