"""A script of the tests: a smoke run where what the package declares beyond jax, flax, optax, orbax and co. is absent.

Arguments: a config module, its variant, the run's folder, a folder of decoded data. Prints the test accuracy and which
of the absent packages were imported, as JSON.
"""

import importlib
import json
import sys

ABSENT = (
    "tensorflow", "tensorflow_datasets", "tensorboardX", "sklearn", "matplotlib", "PIL", "tqdm", "threadpoolctl",
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


def main(module: str, variant: str, folder: str, cache: str) -> None:
    sys.meta_path[:] = [Bare(list(sys.meta_path))]
    from fsjax.training import run

    config = importlib.import_module(f"configs.{module}").get_config(variant)
    config.data.update(backend="device", cache=cache)
    config.train.progress = False
    result = run(config, folder)
    loaded = sorted(name for name in ABSENT if name in sys.modules)
    print(json.dumps({"test": result["test"]["accuracy"], "loaded": loaded}))


if __name__ == "__main__":
    main(*sys.argv[1:])
