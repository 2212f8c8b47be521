"""A script of the tests: digits on 1 device, and on 4 with shard_map and with pmap; prints the figures as JSON.

Run with XLA_FLAGS=--xla_force_host_platform_device_count=4. Arguments: folder, loss, micro-batches, and "whole" for
configs/icu_digits.py as it is, without pmap, or "short" for 20 steps of a small network, stopped in the middle on 4
devices.
"""

import itertools
import json
import sys
from pathlib import Path

from fsjax.configs.icu_digits import get_config
from fsjax.training import loop, run

SETUPS = {"one": ("shard_map", 1), "shard_map": ("shard_map", 4), "pmap": ("pmap", 4)}


def configure(setup: str, loss: str, accumulate: int, length: str):
    config = get_config()
    if length == "short":
        config.model.cnn.update(stages=((8,), (16,)), dim=16)
        config.train.epochs = 0.0
        config.train.steps = 20
        config.train.eval_every = 10
        config.train.checkpoint_every = 10
    config.loss.name = loss
    config.parallel.backend, config.parallel.num_devices = SETUPS[setup]
    config.train.accumulate = accumulate
    config.train.log_every = 1
    config.train.progress = False
    return config


def stop_at(step: int, config, folder: Path) -> None:
    """Run the first steps only, as a process that was killed there."""
    ends, finish = loop._dispatch_ends, loop.finish
    loop._dispatch_ends = lambda *args: itertools.takewhile(lambda end: end <= step, ends(*args))
    loop.finish = lambda *args: sys.exit("stopped")
    try:
        run(config, folder)
    except SystemExit:
        pass
    finally:
        loop._dispatch_ends, loop.finish = ends, finish


def main(folder: Path, loss: str, accumulate: int, length: str) -> None:
    results = {}
    for setup in SETUPS:
        if length == "whole" and setup == "pmap":
            continue
        config = configure(setup, loss, accumulate, length)
        result = run(config, folder / setup)
        lines = [json.loads(line) for line in (folder / setup / "metrics.jsonl").read_text().splitlines()]
        losses = [line["loss"] for line in lines if line["kind"] == "train"]
        results[setup] = {"losses": losses, "test": result["test"], "devices": result["machine"]["devices"]}
        if length == "short" and setup != "one":
            stop_at(10, config, folder / f"{setup}-stopped")
            run(config, folder / f"{setup}-stopped")
    print(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
