"""What AFLM's gates and fusion cost: seconds of a training step against two branches that know nothing of each other.

    python -m benchmarks.aflm_step --sizes 32,84 --dtypes float32

All of them have the same two branches, the same three losses and SGD with momentum; they differ in what passes between
the branches after block 3 and after block 4:

- "separate": nothing, each block 4 reads its own branch;
- "separate_wide": nothing, but each block 4 is as wide as AFLM's: it reads its own branch's channels twice;
- "no_attention": the concatenation of both branches;
- "aflm": the gated concatenation, and gated outputs.

Prints a JSON line each, medians over `--rounds` rounds of `--steps` steps in turns, with the ratio to "separate" and to
"separate_wide".
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
import optax  # noqa: E402

from benchmarks.resnet12 import time_in_turns  # noqa: E402
from fsjax.losses import build_loss  # noqa: E402
from fsjax.methods.aflm import AFLM  # noqa: E402
from fsjax.methods.episodes import EpisodeShape  # noqa: E402
from fsjax.models import build_model  # noqa: E402
from fsjax.models.fusion import fuse_branches  # noqa: E402

SWITCHES = {
    "separate": {"fusion": "none", "attention": False},
    "separate_wide": {"fusion": "own_concat", "attention": False},
    "no_attention": {"fusion": "shared_concat", "attention": False},
    "aflm": {"fusion": "shared_concat", "attention": True},
}
CLASSES = 64


def runs(size: int, dtype: str, widths: tuple[int, ...], shape: EpisodeShape) -> dict[str, Callable[[], Any]]:
    """A training step of each kind, a function without arguments that waits for its result."""
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.normal(size=(shape.rows, size, size, 3)).astype(np.float32),
        "label": rng.integers(CLASSES, size=shape.rows).astype(np.int32),
        "weight": np.ones(shape.rows, np.float32),
    }
    batch = jax.tree.map(jnp.asarray, batch)
    return {name: _step(switches, size, dtype, widths, shape, batch) for name, switches in SWITCHES.items()}


def _step(
    switches: dict[str, Any], size: int, dtype: str, widths: tuple[int, ...], shape: EpisodeShape, batch: Any
) -> Callable[[], float]:
    branch = build_model("resnet12", dtype=dtype, options={"widths": widths, "activation": "leaky"})
    encoder = fuse_branches(branch, gate_on="source", gate_slope=0.1, reduction=16, **switches)
    loss = build_loss("softmax", num_classes=CLASSES, dim=widths[-1])
    method = AFLM(encoder, loss, shape, 10.0, True, "mean", 2 * widths[-1])
    variables = jax.jit(method.init)(jax.random.key(0), jnp.zeros((2, size, size, 3)))
    params = variables.pop("params")
    optimizer = optax.sgd(0.01, momentum=0.9)

    def step(state: Any, batch: Any) -> tuple[Any, jax.Array]:
        params, collections, opt_state = state
        objective = jax.value_and_grad(method.objective, has_aux=True)
        (loss, (collections, _)), gradients = objective(params, collections, batch, step=jnp.int32(0))
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), collections, opt_state), loss

    step = jax.jit(step, donate_argnums=0)
    state = params, variables, optimizer.init(params)

    def train() -> float:
        nonlocal state
        state, value = step(state, batch)
        return float(jax.block_until_ready((state, value))[1])

    return train


def main() -> None:
    """Time the steps, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="32", help="sides of the images, comma-separated")
    parser.add_argument("--dtypes", default="float32")
    parser.add_argument("--widths", default="64,128,256,512")
    parser.add_argument("--episode", default="5,1,5", help="way, shot, query")
    parser.add_argument("--episodes", type=int, default=2, help="a step")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    widths = tuple(map(int, args.widths.split(",")))
    shape = EpisodeShape(args.episodes, *map(int, args.episode.split(",")))
    for size in map(int, args.sizes.split(",")):
        for dtype in args.dtypes.split(","):
            seconds = time_in_turns(runs(size, dtype, widths, shape), rounds=args.rounds, steps=args.steps)
            medians = {name: statistics.median(values) for name, values in seconds.items()}
            for name, median in medians.items():
                facts = {
                    "benchmark": "aflm_step", "kind": name, "image": size, "dtype": dtype, "widths": widths,
                    "images": shape.rows, "seconds": median, "images_per_second": shape.rows / median,
                    "to_separate": median / medians["separate"],
                    "to_separate_wide": median / medians["separate_wide"],
                    "device": jax.devices()[0].device_kind,
                }  # fmt: skip
                print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
