"""Images per second of ResNet-12: a training step (forward, backward, SGD with momentum), and embedding alone.

    python -m benchmarks.resnet12 --sizes 32,84 --dtypes float32,bfloat16 --batch 64
    python -m benchmarks.resnet12 --torch        # PyTorch (eager, channels-last) beside it, and the ratios

Prints one JSON line per figure. Figures are medians over `--rounds` rounds of `--steps` steps, each waited for;
within a round JAX and PyTorch take turns, so that what else the machine does hits both. The first line is the
machine's own peak, a large float32 matrix product in JAX, of which the other lines state their share. Work is
counted by arithmetic: convolutions only, a multiply-add as two operations, training as forward, gradient by the
kernels and gradient by the inputs (but not by the images).

With `--torch` both start from the same weights, and the largest difference between their first embeddings is
reported, relative to the largest embedding. PyTorch on the CPU only: `pip install torch` into an environment.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fsjax.training.xla import set_cpu_flags

set_cpu_flags()  # before JAX starts, as training and `fsjax.restore` have it

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

from fsjax.models import DTYPES, build_model  # noqa: E402


def flops_per_image(widths: Sequence[int], size: int) -> dict[str, float]:
    """Operations of the convolutions on one image: of "embed" and of "train"."""
    forward, of_images, inputs = 0, 0, 3
    for stage, width in enumerate(widths):
        positions = (size // 2**stage) ** 2
        from_inputs = 2 * positions * (9 + 1) * inputs * width  # the first convolution and the shortcut
        forward += from_inputs + 2 * positions * 2 * 9 * width * width
        of_images += from_inputs if stage == 0 else 0
        inputs = width
    return {"embed": forward, "train": 3 * forward - of_images}


def matmul_peak(side: int, repeats: int) -> float:
    """Operations per second of the best of several products of two square float32 matrices."""
    x = jax.random.normal(jax.random.key(0), (side, side))
    multiply, seconds = jax.jit(jnp.matmul), []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(multiply(x, x))
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds[1:])


def jax_runs(model, variables, weights, images, labels, *, head: str) -> dict[str, Callable[[], Any]]:
    """The training step and the embedding, each a function without arguments that waits for its result."""
    optimizer = optax.sgd(0.01, momentum=0.9, nesterov=True)

    def unit(x, axis):
        return x / jnp.sqrt(jnp.sum(x**2, axis, keepdims=True) + 1e-12)

    def loss(params, batch_stats, images, labels):
        variables = {"params": params["model"], "batch_stats": batch_stats}
        out, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
        if head == "cosine":
            logits = 10 * unit(out.embedding, 1) @ unit(params["head"], 0)
        else:
            logits = out.embedding @ params["head"]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.mean(losses), updated["batch_stats"]

    def step(state, images, labels):
        params, batch_stats, opt_state = state
        (value, batch_stats), gradients = jax.value_and_grad(loss, has_aux=True)(params, batch_stats, images, labels)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), batch_stats, opt_state), value

    step = jax.jit(step, donate_argnums=0)
    apply = jax.jit(lambda variables, images: model.apply(variables, images, train=False).embedding)
    params = jax.tree.map(jnp.copy, {"model": variables["params"], "head": weights})  # a step gives its state away
    state = (params, jax.tree.map(jnp.copy, variables["batch_stats"]), optimizer.init(params))

    def train() -> float:
        nonlocal state
        state, value = step(state, images, labels)
        return float(jax.block_until_ready((state, value))[1])

    return {"embed": lambda: np.asarray(apply(variables, images)), "train": train}


def time_in_turns(runs: Mapping[str, Callable[[], Any]], *, rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds of every step of each function, after one call that is not timed."""
    seconds = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(0.3)  # the other library's threads may still spin, waiting for work
            for _ in range(steps):
                start = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - start)
    return seconds


def measure(size: int, dtype: str, args: argparse.Namespace, peak: float) -> None:
    """Times one image size and dtype, and prints its lines."""
    model = build_model("resnet12", dtype=dtype, options={"widths": args.widths})
    rng = np.random.default_rng(0)
    images = rng.normal(size=(args.batch, size, size, 3)).astype(np.float32)
    labels = rng.integers(args.classes, size=args.batch)
    weights = (0.05 * rng.normal(size=(args.widths[-1], args.classes))).astype(np.float32)
    variables = jax.jit(lambda images: model.init(jax.random.key(0), images, train=False))(images[:1])
    arrays = tuple(map(jnp.asarray, (weights, images, labels)))
    libraries = {"jax": jax_runs(model, variables, *arrays, head=args.head)}
    if args.torch:
        from benchmarks import resnet12_torch

        backbone = variables["params"]["backbone"]
        libraries["torch"] = resnet12_torch.runs(
            args.widths, backbone, weights, images, labels, dtype=dtype, head=args.head
        )
        difference = relative_difference(libraries["jax"]["embed"](), libraries["torch"]["embed"]())

    flops = flops_per_image(args.widths, size)
    common = {"image": [size, size, 3], "dtype": dtype, "batch": args.batch, "widths": args.widths}
    for task in ("train", "embed"):
        runs = {library: functions[task] for library, functions in libraries.items()}
        medians = {
            library: statistics.median(seconds)
            for library, seconds in time_in_turns(runs, rounds=args.rounds, steps=args.steps).items()
        }
        for library, median in medians.items():
            report(
                f"resnet12_{task}",
                library=library,
                **common,
                **({"head": args.head} if task == "train" else {}),
                images_per_s=round(args.batch / median, 2),
                step_ms=round(1000 * median, 2),
                gflop_per_image=round(flops[task] / 1e9, 3),
                share_of_peak=round(flops[task] * args.batch / median / peak, 3),
                rounds=args.rounds,
                steps=args.steps,
            )
        if args.torch:
            ratio = round(medians["torch"] / medians["jax"], 3)
            report(f"resnet12_{task}_jax_over_torch", **common, speed_ratio=ratio, embedding_difference=difference)


def relative_difference(mine: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference over the largest value."""
    return float(f"{np.abs(mine - theirs).max() / np.abs(theirs).max():.1e}")


def report(figure: str, **values: Any) -> None:
    """Prints a line."""
    print(json.dumps({"figure": figure, **values}), flush=True)


def whole_numbers(text: str) -> list[int]:
    """`32,84` as `[32, 84]`."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Reads the flags; measures every image size in every dtype."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--sizes", type=whole_numbers, default=[32, 84], help="sides of the images, comma-separated")
    parser.add_argument("--dtypes", default="float32,bfloat16", help=f"comma-separated, of {', '.join(DTYPES)}")
    parser.add_argument("--widths", type=whole_numbers, default=[64, 128, 256, 512])
    parser.add_argument("--head", choices=("linear", "cosine"), default="cosine")
    parser.add_argument("--classes", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="of each library in a round")
    parser.add_argument("--peak-side", type=int, default=4096, help="of the matrices that measure the peak")
    parser.add_argument("--torch", action="store_true", help="race PyTorch")
    args = parser.parse_args()
    if args.rounds < 1 or args.steps < 1:
        parser.error("--rounds and --steps must be at least 1")
    versions = {"jax": jax.__version__}
    if args.torch:
        try:
            import torch
        except ImportError as error:
            sys.exit(f"--torch needs PyTorch, and it cannot be imported ({error}): pip install torch, or drop the flag")
        if jax.default_backend() != "cpu":
            sys.exit(f"--torch compares on the CPU, but JAX runs on {jax.default_backend()}: set JAX_PLATFORMS=cpu")
        versions["torch"] = torch.__version__
    peak = matmul_peak(args.peak_side, 5)
    device = jax.devices()[0].device_kind
    report("matmul_peak", side=args.peak_side, dtype="float32", gflops=round(peak / 1e9, 1), device=device, **versions)
    for size in args.sizes:
        for dtype in args.dtypes.split(","):
            measure(size, dtype, args, peak)


if __name__ == "__main__":
    main()
