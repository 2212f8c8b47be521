"""What a GPU makes of the training steps: images per second of ours and of PyTorch's, memory, and where the time goes.

    python -m benchmarks.accelerator --out runs/h100.jsonl --profile runs/h100_traces
    python -m benchmarks.accelerator --out runs/h100.jsonl --cases resnet101_448 --dtypes bfloat16 --seconds-left 540
    python -m benchmarks.accelerator --out runs/h100.jsonl --table
    python -m benchmarks.accelerator --out /tmp/try.jsonl --smoke             # a try of this script, minutes on 2 cores

Figures of ours are `fsjax bench train`'s (`fsjax bench --help` says what they mean), those of PyTorch
benchmarks/accelerator_torch.py's, and profiles benchmarks/profile_step.py's: each in a process of its own, so that all
of a device's memory is there and "peak_bytes" is its own; one device is used. Data are noise. All cases but
"icu_cifar100" train with softmax cross-entropy and Nesterov momentum, as PyTorch does here; the backend "device" draws,
crops and flips within the step, "host" has a batch of floats there, as PyTorch has. "Fed" has the batches made
meanwhile, which PyTorch is not asked for. A share is of the product of two large square matrices in the same library
and dtype; operations are as `fsjax bench` counts them. In float32 both multiply in TF32 on GPUs from Ampere on.

A process adds a line to `--out`. What fails (no TensorFlow for the backend "host", no PyTorch, no memory) adds a line
with "failed", the rest goes on, and the exit status is 3. What stands in the file is not measured again, but for what
failed: use a file a machine. `--seconds-left` begins no process when less is left than the longest has taken so far,
ends one that outlasts it, and says what remains: call again for the rest.

Where ml_collections is missing: `pip download --no-deps ml_collections`, unpack the wheel, and put its folder on
PYTHONPATH. Tried on a CPU with `--smoke`; no GPU could be had.
"""

import argparse
import dataclasses
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accelerator_table import key, read, table

ROOT = Path(__file__).parents[1]
DTYPES, BACKENDS, LIBRARIES = ("bfloat16", "float32"), ("device", "host"), ("jax", "torch")
PLAIN = ("loss.name=softmax", "optimizer.nesterov=True")
# The recipe's random resized crops need pictures that are read one by one, which the backend "device" cannot have.
PADDED = (*PLAIN, "data.augment.crop=pad", "data.augment.pad=4")
SMOKE_BATCH, SMOKE_CLASSES = 16, 10


@dataclasses.dataclass(frozen=True)
class Case:
    """A network to measure.

    Attributes:
      config: whose training step it is.
      model: its network, in the place of the config's.
      side: of the square images.
      classes: how many the noise has: 48 images of each, which the backend "device" keeps in its memory.
      batches: images per step; each is measured.
      smoke: options of the network that `--smoke` takes, and the side.
      changes: of the config, KEY=VALUE.
      libraries: that are measured.
      images: of the config's whole recipe, 0 where that is not asked for.
    """

    config: str
    model: str
    side: int
    classes: int
    batches: tuple[int, ...]
    smoke: tuple[Mapping[str, Any], int]
    changes: tuple[str, ...] = PLAIN
    libraries: tuple[str, ...] = LIBRARIES
    images: int = 0


_CIFAR, _IMAGENET = "configs/icu_cifar100.py", "configs/icu_imagenet.py"
_RESNET12, _VGG13 = ({"widths": (4, 8)}, 16), ({"widths": (4, 8), "convs": (1, 1)}, 16)
_RESNET18, _RESNET101 = ({"width": 4, "blocks": (1, 1)}, 16), ({"width": 4, "blocks": (1, 1)}, 32)
CASES = {
    "resnet101_448": Case(_IMAGENET, "resnet101", 448, 20, (64, 128), _RESNET101, PADDED),
    "resnet12_84": Case(_CIFAR, "resnet12", 84, 64, (256,), _RESNET12),
    "resnet12_32": Case(_CIFAR, "resnet12", 32, 64, (512,), _RESNET12),
    "resnet18_32": Case(_CIFAR, "resnet18_cifar", 32, 100, (512,), _RESNET18),
    "vgg13_32": Case(_CIFAR, "vgg13", 32, 100, (512,), _VGG13),
    # The recipe itself, with its own loss and batch: how long its 120,000 steps take.
    "icu_cifar100": Case(_CIFAR, "vgg13", 32, 100, (128,), _VGG13, (), ("jax",), images=120_000 * 128),
}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A line to measure: "train" or "profile", of a case; PyTorch has no backend."""

    case: str
    library: str
    name: str
    dtype: str
    batch: int
    backend: str

    def __str__(self) -> str:
        parts = (self.case, self.library, self.dtype, self.backend, f"batch {self.batch}")
        return ", ".join([*filter(None, parts), *(["profile"] if self.name == "profile" else [])])

    @property
    def file(self) -> str:
        """A name for its folder."""
        return "-".join((self.case, self.dtype, self.backend, str(self.batch)))


def wanted(args: argparse.Namespace) -> Iterator[Wanted]:
    """All that the command line asks for: the first dtype first, and in a case what PyTorch's line is compared with."""
    for dtype in args.dtypes:
        for name in args.cases:
            case = CASES[name]
            batches = (args.batch,) if args.batch else (SMOKE_BATCH,) if args.smoke else case.batches
            for batch in batches:
                ours = [Wanted(name, "jax", "train", dtype, batch, backend) for backend in args.backends]
                theirs = [Wanted(name, "torch", "train", dtype, batch, "")]
                profiles = [dataclasses.replace(one, name="profile") for one in ours[:1]] if args.profile else []
                lines = [*ours[:1], *theirs, *ours[1:], *profiles]
                yield from (one for one in lines if one.library in args.libraries and one.library in case.libraries)


def command(one: Wanted, args: argparse.Namespace, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The process that measures a line."""
    case = CASES[one.case]
    options, side = case.smoke if args.smoke else ({}, case.side)
    classes = SMOKE_CLASSES if args.smoke else case.classes
    timing = [f"--repeats={args.repeats}", f"--seconds={args.seconds}"]
    if one.library == "torch":
        shape = [f"--model={case.model}", f"--side={side}", f"--classes={classes}", f"--batch={one.batch}"]
        flops = flops_per_image(one, args, lines)
        return [
            sys.executable, "-m", "benchmarks.accelerator_torch", *shape, f"--options={json.dumps(options)}",
            f"--dtype={one.dtype}", *timing, *([f"--flops-per-image={flops}"] if flops else []),
        ]  # fmt: skip
    changes = [
        "parallel.num_devices=1",
        *case.changes,
        *(f"model.{case.model}.{name}={value}" for name, value in options.items()),
    ]
    given = [
        f"--config={case.config}", f"--model={case.model}", f"--dtype={one.dtype}", f"--batch={one.batch}",
        f"--backend={one.backend}", f"--synthetic={side}x{side}x3:{classes}", *(f"--set={text}" for text in changes),
    ]  # fmt: skip
    if one.name == "profile":
        given.append(f"--trace={(args.profile / one.file).resolve()}")
        return [sys.executable, "-m", "benchmarks.profile_step", *given]
    return [sys.executable, "-m", "fsjax", "bench", "train", *given, *timing]


def flops_per_image(one: Wanted, args: argparse.Namespace, lines: Sequence[Mapping[str, Any]]) -> float | None:
    """Of a training step of the same network, as a line of ours has counted them; None if there is none."""
    same = [x for x in lines if x.get("case") == one.case and x.get("smoke", False) == args.smoke]
    return next((x["flops_per_image"] for x in same if x.get("library") == "jax" and "flops_per_image" in x), None)


def measure(one: Wanted, args: argparse.Namespace, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Runs the process of a line; the line, or why there is none."""
    start = time.monotonic()
    left = None if args.deadline is None else max(1.0, args.deadline - start)
    found: dict[str, Any] = {}
    try:
        process = subprocess.run(command(one, args, lines), cwd=ROOT, capture_output=True, text=True, timeout=left)
    except subprocess.TimeoutExpired:
        found["failed"] = f"ended after {left:.0f} seconds: --seconds-left={args.seconds_left:g}"
    else:
        printed = [text for text in process.stdout.splitlines() if text.startswith("{")]
        if process.returncode or not printed:
            found["failed"] = last_words(process.stderr) or f"exit status {process.returncode}, and no word"
        else:
            found = json.loads(printed[-1])
    smoke = {"smoke": True} if args.smoke else {}
    return {**found, **dataclasses.asdict(one), **smoke, "process_seconds": round(time.monotonic() - start, 1)}


def last_words(text: str) -> str:
    """The last line of a program's complaint that names an error, or its last line at all."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b|error: ", line)]
    return (errors or lines or [""])[-1][:500]


def run(args: argparse.Namespace) -> bool:
    """Measures what is missing, prints and keeps each line; whether all of it was there to be measured."""
    lines = read(args.out)
    done = {key(line) for line in lines if "failed" not in line}
    smoke = {"smoke": True} if args.smoke else {}
    todo = [one for one in wanted(args) if key({**dataclasses.asdict(one), **smoke}) not in done]
    longest, fine = 0.0, True
    for number, one in enumerate(todo):
        if args.deadline is not None and args.deadline - time.monotonic() < max(longest, 1.0):
            rest = "; ".join(map(str, todo[number:]))
            print(f"{len(todo) - number} remain, call again for them: {rest}", file=sys.stderr, flush=True)
            break
        line = measure(one, args, lines)
        longest = max(longest, line["process_seconds"])
        fine = fine and "failed" not in line
        lines.append(line)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with args.out.open("a") as file:
            file.write(f"{json.dumps(line)}\n")
        print(json.dumps(line), flush=True)
    return fine


def names_of(known: Sequence[str]) -> Any:
    """A comma-separated list of some of these, for argparse."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def main(argv: Sequence[str] | None = None) -> int:
    """Reads the flags, measures, prints the table; 3 if something failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, required=True, help="a .jsonl file that the lines are added to")
    for name, known in (("cases", tuple(CASES)), ("dtypes", DTYPES), ("backends", BACKENDS), ("libraries", LIBRARIES)):
        choice = f"comma-separated, of {', '.join(known)}; all"
        parser.add_argument(f"--{name}", type=names_of(known), default=list(known), help=choice)
    parser.add_argument("--batch", type=int, default=0, help="in the place of each case's own")
    parser.add_argument("--repeats", type=int, help="runs of which the median is taken (5)")
    parser.add_argument("--seconds", type=float, help="a run takes at least so long (1)")
    parser.add_argument(
        "--profile", type=Path, help="a folder for traces: profile each case of ours, too, with the first backend"
    )
    parser.add_argument("--seconds-left", type=float, help="begin nothing that may take longer than is left of these")
    parser.add_argument("--smoke", action="store_true", help="tiny networks, images and times: tries this script")
    parser.add_argument("--table", action="store_true", help="measure nothing, print the table of --out")
    args = parser.parse_args(argv)
    args.repeats = args.repeats or (2 if args.smoke else 5)
    args.seconds = (0.0 if args.smoke else 1.0) if args.seconds is None else args.seconds
    args.deadline = None if args.seconds_left is None else time.monotonic() + args.seconds_left
    fine = True if args.table else run(args)
    recipes = {name: case.images for name, case in CASES.items() if case.images}
    print(f"\n{table(read(args.out), recipes)}", end="")
    return 0 if fine else 3


if __name__ == "__main__":
    sys.exit(main())
