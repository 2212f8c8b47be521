"""Images per second of a training step in PyTorch, of a network of benchmarks/torch_networks.py: one JSON line.

    python -m benchmarks.accelerator_torch --model resnet101 --side 448 --classes 100 --batch 64 --dtype bfloat16

benchmarks/accelerator.py calls it, in a process of its own, beside the same network of ours. Channels-last, the network
under `torch.autocast` for bfloat16, forward and loss through `torch.compile` ("compiled" says whether that worked), SGD
with Nesterov momentum and weight decay (fused on CUDA), cuDNN's choice of algorithms by trying. In float32 on CUDA
products are in TF32, as JAX has them there by default ("float32_products").

The batch is there, on the device: float32 images, normalised, as our backend "host" hands them over ("device" draws,
crops and flips bytes within the step, which is not asked of PyTorch here). Median of `--repeats` runs of at least
`--seconds`, each waited for, after some steps that are not counted. "share_of_peak" is of the product of two square
matrices in PyTorch, same dtype and side as `fsjax bench` takes; operations are those that `--flops-per-image` says.
"""

import argparse
import datetime
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

# As fsjax.benchmarking.machine has them: side of the matrices, products that follow each other, by device.
PRODUCTS = {"cpu": (2048, 1), "cuda": (8192, 20)}


def seconds_of(run: Callable[[int], None], *, repeats: int, seconds: float) -> list[float]:
    """Seconds of one turn in each run, by the rule of `fsjax.benchmarking.timing.in_turns`, which needs jax.

    Args:
      run: of a number of turns; it returns when all is computed.
      repeats: runs that are counted.
      seconds: of a run, at least.
    """

    def timed(turns: int) -> float:
        start = time.perf_counter()
        run(turns)
        return time.perf_counter() - start

    run(3)  # compiles, and looks for algorithms
    turns = max(1, math.ceil(seconds / max(timed(1), 1e-6)))
    return [timed(turns) / turns for _ in range(repeats)]


def matmul_peak(dtype: str, device: str) -> float:
    """Operations per second of a large square matrix product, the best of seven."""
    import torch

    side, count = PRODUCTS[device]
    x = torch.randn(side, side, device=device).to(getattr(torch, dtype))

    def run(_: int) -> None:
        for _ in range(count):
            x @ x
        _wait(device)

    return 2.0 * side**3 * count / min(seconds_of(run, repeats=7, seconds=0))


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def train_step(args: argparse.Namespace, device: str) -> tuple[Callable[[int], None], dict[str, Any]]:
    """A function of a number of steps that takes them, and what is to be said of it.

    Args:
      args: the command line.
      device: "cuda" or "cpu".
    """
    import torch

    from benchmarks.torch_networks import NETWORKS, Classifier

    torch.manual_seed(0)
    network = NETWORKS[args.model](**json.loads(args.options))
    model = Classifier(network, args.classes, args.dtype).to(device, memory_format=torch.channels_last)
    images = torch.randn(args.batch, 3, args.side, args.side, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(args.classes, (args.batch,), device=device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=device == "cuda"
    )
    facts: dict[str, Any] = {"compiled": not args.eager}
    chosen = model if args.eager else torch.compile(model)

    def step(loss_of: Callable[..., Any]) -> None:
        optimizer.zero_grad()
        loss_of(images, labels).backward()
        optimizer.step()

    if not args.eager:
        try:
            step(chosen)
        except torch.cuda.OutOfMemoryError:
            raise  # eager takes more
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            facts |= {"compiled": False, "not_compiled": f"{type(error).__name__}: {lines[0]}"[:300]}
            chosen = model

    def run(turns: int) -> None:
        for _ in range(turns):
            step(chosen)
        _wait(device)

    return run, facts


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The line."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        # cuDNN's convolutions are in TF32 by PyTorch's own default; its matrix products are not.
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    run, facts = train_step(args, device)
    spent = seconds_of(run, repeats=args.repeats, seconds=args.seconds)
    per_second = args.batch / statistics.median(spent)
    # Before the matrices of the peak take theirs.
    memory = {"peak_bytes": torch.cuda.max_memory_allocated()} if device == "cuda" else {}
    tf32 = device == "cuda" and torch.cuda.get_device_capability()[0] >= 8
    peak = matmul_peak(args.dtype, device)
    shares = {"flops_per_image": args.flops_per_image, "share_of_peak": per_second * (args.flops_per_image or 0) / peak}
    return {
        "name": "train",
        "model": args.model,
        "options": json.loads(args.options),
        "dtype": args.dtype,
        "image": [args.side, args.side, 3],
        "classes": args.classes,
        "batch": args.batch,
        "images_per_second": per_second,
        "seconds": statistics.median(spent),
        "seconds_range": [min(spent), max(spent)],
        "repeats": args.repeats,
        **facts,
        "float32_products": "tf32" if tf32 else "float32",
        **(shares if args.flops_per_image else {}),
        "matmul_peak": peak,
        **memory,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "platform": device,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    """Reads the flags and prints the line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--model", required=True, help="a key of benchmarks.torch_networks.NETWORKS")
    parser.add_argument("--options", default="{}", help="JSON options of the network")
    parser.add_argument("--side", type=int, required=True, help="of the images")
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--flops-per-image", type=float, help="of a training step, as `fsjax bench train` counts them")
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fsjax_inductor_", ignore_cleanup_errors=True) as folder:
        # A process that was ended while it compiled leaves half a file in the folder that they share otherwise.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", folder)
        try:
            import torch  # noqa: F401
        except ImportError as error:
            sys.exit(f"PyTorch cannot be imported ({error}): pip install torch, or leave it out with --libraries jax")
        print(json.dumps(measure(args)), flush=True)


if __name__ == "__main__":
    main()
