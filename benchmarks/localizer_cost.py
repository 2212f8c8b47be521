"""What localization costs beside the classifier: seconds of a forward pass, and of a training step.

    python -m benchmarks.localizer_cost --sizes 448 --batch 1
    python -m benchmarks.localizer_cost --sizes 448 --training --m-sources full_image crop_remapped

The model is that of `configs/localize_cub.py`. Forward, in inference mode: "classifier" is ResNet-101 with its
embedding layer over the image; "localized" AttNet, AffNet, the crop, and the same classifier over the crop. With
--training a step's gradients: "classifier" again, and the method with each source of the target map (the paper's
reading, "full_image", runs the classifier a second time).
Prints a JSON line each: medians over `--rounds` rounds in turns, and the ratio to "classifier".
"""

import argparse
import json
import statistics
from collections.abc import Callable
from typing import Any

from fsjax.training.xla import set_cpu_flags

set_cpu_flags()

import jax  # noqa: E402 - XLA's flags come first
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.resnet12 import time_in_turns  # noqa: E402
from fsjax.configs.localize_cub import get_config  # noqa: E402
from fsjax.data import DataInfo  # noqa: E402
from fsjax.methods import build_method  # noqa: E402
from fsjax.methods.classification import Classification  # noqa: E402

CLASSES = 200


def _method(size: int, dtype: str, m_source: str) -> Any:
    config = get_config()
    config.model.dtype = dtype
    config.method.localization.m_source = m_source
    names = tuple(map(str, range(CLASSES)))
    info = DataInfo("random", names, (size, size, 3), {"train": CLASSES}, (1,) * CLASSES, (0.5,) * 3, (0.2,) * 3)
    return build_method(config, info)


def forwards(size: int, dtype: str, batch: int) -> dict[str, Callable[[], Any]]:
    """A forward pass of each kind, a function without arguments that waits for its result."""
    method = _method(size, dtype, "full_image")
    images = jnp.asarray(np.random.default_rng(0).normal(size=(batch, size, size, 3)), jnp.float32)
    variables = jax.jit(lambda: method.encoder.init(jax.random.key(0), images[:1], train=False))()
    alone = {name: tree["classifier"] for name, tree in variables.items()}
    networks = {"classifier": (method.encoder.classifier, alone), "localized": (method.encoder, variables)}

    def forward(network: Any, variables: Any) -> Callable[[], Any]:
        apply = jax.jit(lambda v, x: network.apply(v, x, train=False).embedding)
        return lambda: jax.block_until_ready(apply(variables, images))

    return {name: forward(*parts) for name, parts in networks.items()}


def steps(size: int, dtype: str, batch: int, m_sources: list[str]) -> dict[str, Callable[[], Any]]:
    """The gradients of a batch of each kind."""
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(batch, size, size, 3)), jnp.float32)
    data = {"image": images, "label": jnp.asarray(rng.integers(CLASSES, size=batch))}

    def step(method: Any) -> Callable[[], Any]:
        variables = dict(jax.jit(method.init)(jax.random.key(0), images[:1]))
        params = variables.pop("params")
        gradients = jax.jit(jax.grad(lambda p, v: method.objective(p, v, data, step=jnp.int32(0)), has_aux=True))
        return lambda: jax.block_until_ready(gradients(params, variables))

    methods = {source: _method(size, dtype, source) for source in m_sources}
    first = next(iter(methods.values()))
    alone = Classification(first.encoder.classifier, first.loss)
    return {"classifier": step(alone)} | {source: step(method) for source, method in methods.items()}


def main() -> None:
    """Time the passes, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[448])
    parser.add_argument("--dtypes", nargs="+", default=["float32"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--training", action="store_true", help="gradients in the place of forward passes")
    parser.add_argument("--m-sources", nargs="+", default=["full_image", "crop_remapped"])
    args = parser.parse_args()
    for size in args.sizes:
        for dtype in args.dtypes:
            passes = (
                steps(size, dtype, args.batch, args.m_sources) if args.training else forwards(size, dtype, args.batch)
            )
            seconds = time_in_turns(passes, rounds=args.rounds, steps=1)
            medians = {name: statistics.median(values) for name, values in seconds.items()}
            for name, median in medians.items():
                facts = {
                    "benchmark": "localizer_cost", "pass": "gradients" if args.training else "forward", "kind": name,
                    "image": size, "dtype": dtype, "batch": args.batch, "seconds": median,
                    "to_classifier": median / medians["classifier"], "device": jax.devices()[0].device_kind,
                }  # fmt: skip
                print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
