"""A script of the tests: divided classes on 1 device, and on 4; prints the figures as JSON.

Run with XLA_FLAGS=--xla_force_host_platform_device_count=4. Arguments: folder, method, backend.
"""

import json
import sys
from pathlib import Path

from fsjax.configs.common import base
from fsjax.training import run


def configure(method: str, backend: str, devices: int):
    """Six steps on noise of 8x8; an episode of 3 ways, 2 shots and 2 queries has 12 rows, 3 a device; AFLM has two."""
    config = base()
    config.name, config.method.name, config.loss.name = "devices", method, "cosine"
    config.data.name = "fake"
    config.data.fake.update(height=8, width=8, num_classes=12, train=12 * 12, test=12 * 4)
    config.data.class_split.update(name="share", validation=0.25, test=0.25)
    config.model.name = "cnn"
    config.model.cnn.stages = ((4,), (8,))
    config.method.localization.update(att_width=4, att_blocks=1, aff_hidden=4, lambda_att=0.5, lambda_aff=0.5)
    # Where a step is large, the boxes of such small maps jump at a value's last bit.
    config.optimizer.learning_rate = 0.0005 if method == "localization" else 0.02
    config.train.update(steps=6, batch_size=16, log_every=1, eval_every=3, checkpoint_every=6, progress=False)
    if method in ("prototypical", "aflm"):
        config.method.prototypical.update(similarity="cosine", tau=10.0, learn_tau=True)
        config.train.batch_size = 0
        config.episodes.update(way=(2, 3), shot=(1, 2), query=(2,), per_step=1 + (method == "aflm"))
    config.eval.batch_size = 32
    config.few_shot.update(way=(3,), shots=(2,), query=(4,), tasks=40)
    config.few_shot.validation.update(way=config.few_shot.way, shot=(2,), query=(4,), tasks=20)
    config.parallel.backend, config.parallel.num_devices = backend, devices
    return config


def main(folder: Path, method: str, backend: str) -> None:
    results = []
    for devices in (1, 4):
        workdir = folder / str(devices)
        result = run(configure(method, backend, devices), workdir)
        lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        facts = {
            "losses": [line["loss"] for line in lines if line["kind"] == "train"],
            "taus": [line["tau_cat" if method == "aflm" else "tau"] for line in lines if line["kind"] == "train"],
            "validation": [line["accuracy"] for line in lines if line["kind"] == "validation"],
            "test": result["test"],
            "devices": result["machine"]["devices"],
        }
        results.append(facts)
    print(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
