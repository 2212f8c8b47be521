"""A script of the tests: train digits on 1 device, and on 4 with shard_map and with pmap; print the losses as JSON.

Run with XLA_FLAGS=--xla_force_host_platform_device_count=4.
"""

import json
import sys
from pathlib import Path

from configs.icu_digits import get_config
from fsjax.training import run

SETUPS = {"one": ("shard_map", 1), "shard_map": ("shard_map", 4), "pmap": ("pmap", 4)}


def main(folder: Path, loss: str, accumulate: int) -> None:
    results = {}
    for name, (backend, num_devices) in SETUPS.items():
        config = get_config()
        config.model.options = {"stages": ((8,), (16,)), "pool": "flatten", "dim": 16}
        config.loss.name = loss
        config.parallel.backend = backend
        config.parallel.num_devices = num_devices
        config.train.epochs = 0.0
        config.train.steps = 20
        config.train.accumulate = accumulate
        config.train.steps_per_dispatch = 2
        config.train.log_every = 1
        config.train.eval_every = 20
        config.train.checkpoint_every = 20
        config.train.progress = False
        result = run(config, folder / name)
        lines = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        losses = [line["loss"] for line in lines if line["kind"] == "train"]
        results[name] = {"losses": losses, "test": result["test"], "devices": result["machine"]["devices"]}
    print(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
