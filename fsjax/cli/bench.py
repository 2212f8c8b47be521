"""How fast a config is on this machine: its training step, input, evaluation, implants, restoring.

    fsjax bench train input --config icu_cifar100 --synthetic 32x32x3:100 --dtype float32,bfloat16
    fsjax bench train --config dc_mini --synthetic 84x84x3:64 --backend device --out results.jsonl --table
    fsjax bench --out results.jsonl --table                                # earlier results, each beside its last one

Prints a JSON line per figure: medians of `--repeats` runs of at least `--seconds`, each waited for, after one that
compiles. Nothing is trained to any end; what is measured is what a run of the config does.

    train      the train step on a batch that is there; "fed_images_per_second" with the batches made meanwhile, as in a
               run, after those that a pipeline had made before, and "host_share", the share of the time that this adds
    input      what makes the batches, alone, by tf.data ("host") and inside of jit ("device", left out for what only
               the host does); "cpu_seconds_per_image"
    evaluate   the test images through the network; of few-shot data also tasks from their features
    implants   tasks with implants, from activations that are there
    restore    `fsjax.restore` of a checkpoint, and what writing it takes

"flops" are those of the matrix products and convolutions, all turns of all loops and all devices; of a train step those
that the model asks for: what model.remat computes a second time is in "executed_flops" only. "compiled_flops" is what
the compiler counts, on one device, and a loop's body once. "share_of_peak" is "flops" a second over "matmul_peak", what
a large square product of the same dtype reaches here, a device. "program_bytes" is the memory of the compiled step by
the compiler, "peak_bytes" the most that this process has had on the device so far, where the device counts it; a table
shows the first where there are both. Noise and planted pictures are never kept decoded (data.cache).
"""

import argparse
import itertools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from fsjax.cli.arguments import path_of
from fsjax.config import set_text
from fsjax.config_file import load_config, set_option
from fsjax.errors import UserError, unknown
from fsjax.files import check_writable
from fsjax.training.compilation import keep_compiled
from fsjax.training.xla import set_cpu_flags

if TYPE_CHECKING:
    from fsjax.benchmarking import Case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure: train, input, evaluate, ...")
    add_case(parser)
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the median is taken (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="a run takes at least so long (1)")
    parser.add_argument("--out", type=path_of, help="a .jsonl file that the lines are added to")
    parser.add_argument("--table", action="store_true", help="print a Markdown table of --out, or of these figures")


def add_case(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what is measured: those that `cases` reads."""
    parser.add_argument("--config", default="", metavar="CONFIG[:VARIANT]", help="a recipe or a config file")
    parser.add_argument("--model", default="", help="instead of config.model.name; several, comma-separated")
    parser.add_argument("--dtype", default="", help="instead of config.model.dtype; several, comma-separated")
    parser.add_argument("--batch", default="", help="instead of config.train.batch_size; several, comma-separated")
    parser.add_argument("--backend", choices=("host", "device"), default="", help="instead of config.data.backend")
    parser.add_argument(
        "--synthetic", default="", metavar="HxWxC:CLASSES", help="noise of this shape instead of the data"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="any key of the config: --set model.remat=True --set data.augment.flip=True",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Measure, print, and keep."""
    if args.out is not None:
        check_writable(args.out, what=f"--out={args.out}")
    if not args.names and not (args.table and args.out):
        raise UserError("name what to measure: fsjax bench train --config CONFIG; or --out FILE --table for a table")
    if args.names and not args.config:
        raise UserError("give the config to measure: --config icu_cifar100 --synthetic 32x32x3:100")
    set_cpu_flags()
    keep_compiled()
    from fsjax.benchmarking import BENCHMARKS, table

    for name in args.names:
        if name not in BENCHMARKS:
            raise unknown("benchmark", name, BENCHMARKS)
    earlier = table.read(args.out) if args.out else []
    found = []
    for line in _figures(args):
        found.append(line)
        text = json.dumps(line)
        print(text, flush=True)
        if args.out:
            with args.out.open("a") as file:
                file.write(text + "\n")
    if args.table:
        print(table.markdown([*earlier, *found]), end="")


def _figures(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The figures of every combination that the command line asks for."""
    from fsjax.benchmarking import benchmark

    for case in cases(args, repeats=args.repeats, seconds=args.seconds) if args.names else ():
        for name in args.names:
            yield from benchmark(name, case)


def cases(args: argparse.Namespace, **more: Any) -> "Iterator[Case]":
    """The case of every combination of networks, dtypes and batches, of the arguments of `add_case`.

    Args:
      args: the command line.
      **more: other attributes of a `Case`.
    """
    from fsjax.benchmarking import Case

    for model, dtype, batch in itertools.product(*(x.split(",") for x in (args.model, args.dtype, args.batch))):
        config = load_config(args.config)
        chosen = [("model.name", model), ("model.dtype", dtype)]
        for key, value in chosen:
            if value:
                set_text(config, key, value)
        if batch:
            _set_batch(config, batch)
        changes = dict(set_option(config, text) for text in args.set)
        yield Case.of(
            config, label=args.config, changes=changes, synthetic=args.synthetic, backend=args.backend, **more
        )


def _set_batch(config: ConfigDict, text: str) -> None:
    if not text.isdigit():
        raise UserError(f"--batch={text}: must be a number of images, or several: 64,128")
    if config.train.batch_size == 0:
        raise UserError(f"--batch={text}: this config trains on episodes: --set episodes.per_step=N")
    set_text(config, "train.batch_size", text)
