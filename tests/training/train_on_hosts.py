"""A script of the tests: 20 steps of several methods, as one of several processes or by itself; prints figures as JSON.

Arguments: folder, number of devices (0: all), methods; then, for one of several processes, coordinator, number, index.
"""

import ctypes
import hashlib
import json
import signal
import sys
from pathlib import Path

import jax
import numpy as np

from fsjax.configs.common import base
from fsjax.training import run
from fsjax.training.connect import connect
from fsjax.training.scoring import ClassificationScoring, FewShotScoring


def configure(method: str, devices: int):
    """Noise of 8x8; "divided" has images and the optimizer's state divided among the devices."""
    config = base()
    config.name, config.loss.name = method, {"opl": "opl"}.get(method, "softmax")
    config.method.name = {"prototypical": "prototypical"}.get(method, "classification")
    config.data.name = "fake"
    config.data.fake.update(height=8, width=8, num_classes=12, train=12 * 12, test=12 * 4)
    config.data.augment.update(crop="pad", pad=1, flip=True)
    config.model.name = "cnn"
    config.model.cnn.stages = ((4,), (8,))
    config.optimizer.learning_rate = 0.02
    config.train.update(steps=20, batch_size=16, log_every=1, eval_every=10, checkpoint_every=10, progress=False)
    if method == "prototypical":
        config.data.class_split.update(name="share", validation=0.25, test=0.25)
        config.train.batch_size = 0
        config.episodes.update(way=(2, 4), shot=(1, 2), query=(2,), per_step=2)
        config.few_shot.update(way=(3,), shots=(2,), query=(4,), tasks=40)
        config.few_shot.validation.update(way=config.few_shot.way, shot=(2,), query=(4,), tasks=20)
    else:
        config.data.validation = 0.25
    if method == "divided":
        config.data.update(backend="device", cache="off")
        config.optimizer.update(name="adam", learning_rate=0.005)
        config.parallel.shard_optimizer = True
    config.eval.batch_size = 32
    config.parallel.num_devices = devices
    return config


def listen(heard: list) -> None:
    """Note what scoring finds in this process, and with which parameters: files have it of process 0 alone."""

    def of(original):
        def score(scoring, state):
            figures = original(scoring, state)
            parameters = jax.tree.leaves(scoring._parallel.local(state.params))
            together = b"".join(np.asarray(x).tobytes() for x in parameters)
            heard.append({"figures": figures, "bits": hashlib.sha256(together).hexdigest()})
            return figures

        return score

    for kind in (ClassificationScoring, FewShotScoring):
        kind.validation, kind.test = of(kind.validation), of(kind.test)


def on_sigterm() -> int | None:
    """What the process does on SIGTERM, as the system knows it: None for the default, to end."""
    libc = ctypes.CDLL(None)
    libc.signal.restype, libc.signal.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    return libc.signal(signal.SIGTERM, None)


def main(folder: Path, devices: int, methods: list[str]) -> None:
    found, heard, sigterm = {}, [], on_sigterm()
    listen(heard)
    for method in methods:
        heard.clear()
        result = run(configure(method, devices), folder / method)
        lines = [json.loads(line) for line in (folder / method / "metrics.jsonl").read_text().splitlines()]
        found[method] = {
            "losses": [line["loss"] for line in lines if line["kind"] == "train"],
            "validation": [line["accuracy"] for line in lines if line["kind"] == "validation"],
            "test": result["test"],
            "machine": result["machine"],
            "heard": list(heard),
        }
    print(json.dumps({"process": jax.process_index(), "found": found, "sigterm": sigterm}))


if __name__ == "__main__":
    folder, devices, methods, *processes = sys.argv[1:]
    if processes:
        coordinator, count, index = processes
        connect(coordinator=coordinator, num_processes=int(count), process_id=int(index))
    main(Path(folder), int(devices), methods.split(","))
