"""A script of the tests: a smoke run where what the package declares beyond jax, flax, optax, orbax and co. is absent.

Arguments: a config module, its variant, the run's folder, a folder of decoded data. Prints the test accuracy and which
of the absent packages were imported, as JSON.
"""

import json
import sys

from tests.absent_packages import hide

ABSENT = (
    "tensorflow", "tensorflow_datasets", "tensorboardX", "sklearn", "matplotlib", "PIL", "tqdm", "threadpoolctl",
)  # fmt: skip


def main(module: str, variant: str, folder: str, cache: str) -> None:
    hide(ABSENT)
    from fsjax.config_file import load_config
    from fsjax.training import run

    config = load_config(f"{module}:{variant}")
    config.data.update(backend="device", cache=cache)
    config.train.progress = False
    result = run(config, folder)
    loaded = sorted(name for name in ABSENT if name in sys.modules)
    print(json.dumps({"test": result["test"]["accuracy"], "loaded": loaded}))


if __name__ == "__main__":
    main(*sys.argv[1:])
