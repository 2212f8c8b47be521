"""Table 1 of the localization paper: AffNet and three other networks, each with and without pre-processing.

    python -m benchmarks.studies.affnet --out runs/affnet_study.jsonl      # on synthetic attention maps
    python -m benchmarks.studies.affnet --run runs/localize_cub --out runs/affnet_cub.jsonl

All predict the box around the values above tau = 0.3 of a 14x14 attention map. Synthetic maps are a few Gaussian blobs
over noise, of random places, sizes and scales. With `--run` they are a trained network's: the channel mean of its last
maps of whole images, of all its training images to train on and of its test images to test; their size follows from the
run, and where it is not 14x14 the parameters are not Table 1's.

Adam at 1e-3 and smooth L1; the paper names no optimizer. The rate falls to 0 along a cosine: where it is constant
(`--decay=constant`) the noise of the steps decides how many boxes pass IoU > 0.95. Steps and batches are by network, as
a CPU core allows (`--steps resnet50=2000`); a full ResNet-50 at 224x224 takes 8 GFLOP a map, and `--resnet50-size=56` a
sixteenth of that, which the row then says.

Prints a JSON line a row, and a Markdown table. Rows that are in the file of `--out` with the same settings are not run
again.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsjax.errors import UserError
from fsjax.methods.localization import smooth_l1
from fsjax.models.boxes import target_theta, theta_iou
from fsjax.models.theta_networks import THETA_NETWORKS, ThetaNetwork
from fsjax.training.xla import set_cpu_flags

TITLES = {"ffnn": "FFNN", "resnet_s": "ResNet-S", "resnet50": "ResNet-50", "affnet": "AffNet"}
# Table 1: smooth L1 times 1,000, share of IoU > 0.8 and > 0.95; without and with pre-processing.
PAPER = {
    "ffnn": ((6.4, 0.46, 0.00), (4.3, 0.61, 0.01)),
    "resnet_s": ((2.7, 0.80, 0.01), (1.1, 0.97, 0.09)),
    "resnet50": ((5.4, 0.47, 0.01), (1.9, 0.88, 0.02)),
    "affnet": ((2.7, 0.81, 0.02), (0.5, 0.98, 0.54)),
}
STEPS = {"ffnn": 10_000, "resnet_s": 3_000, "resnet50": 200, "affnet": 10_000}
BATCH = {"ffnn": 128, "resnet_s": 128, "resnet50": 32, "affnet": 128}
DECAYS = {"cosine": optax.cosine_decay_schedule, "constant": lambda rate, steps: rate}
TAU, THRESHOLDS = 0.3, (0.8, 0.95)
# Synthetic maps are the same whatever the seed of the training.
TRAIN_MAPS_SEED, TEST_MAPS_SEED = 0, 1


@dataclasses.dataclass(frozen=True)
class Maps:
    """Attention maps to learn from and to test on.

    Attributes:
      source: where they come from, in words.
      train, test: float32 `[n, h, w]`.
    """

    source: str
    train: np.ndarray
    test: np.ndarray


def synthetic_maps(count: int, *, seed: int, size: int = 14) -> np.ndarray:
    """Attention maps of one object each, positive, float32 `[count, size, size]`.

    An object is one to three Gaussian blobs about a common place, each with an amplitude and a width in both directions
    of its own; noise and a pedestal lie under it, and every map has its own scale.
    """
    rng, blobs = np.random.default_rng(seed), 3
    place = rng.uniform(0.2, 0.8, (count, 1, 2)) * (size - 1)
    spread = rng.uniform(0.03, 0.2, (count, 1, 1)) * size
    centers = place + spread * rng.normal(size=(count, blobs, 2))
    widths = size * np.exp(rng.uniform(np.log(0.05), np.log(0.18), (count, blobs, 2)))
    amplitudes = rng.uniform(0.4, 1.0, (count, blobs))
    amplitudes *= np.arange(blobs) < rng.integers(1, blobs + 1, (count, 1))
    bells = np.exp(-0.5 * ((np.arange(size)[:, None, None, None] - centers) / widths) ** 2)
    maps = np.einsum("nb,hnb,wnb->nhw", amplitudes, bells[..., 0], bells[..., 1])
    noise = rng.uniform(0.01, 0.06, (count, 1, 1)) * np.abs(rng.normal(size=maps.shape))
    pedestal = rng.uniform(0, 0.3, (count, 1, 1))
    scale = np.exp(rng.uniform(np.log(0.3), np.log(2.0), (count, 1, 1)))
    return (scale * (maps + noise + pedestal)).astype(np.float32)


def run_maps(path: Path, *, data_path: str, batch_size: int = 64) -> Maps:
    """The attention maps of a run's images, whole ones, by its trained network.

    Raises:
      UserError: if the run or its data cannot be read, or have no test images.
    """
    import fsjax
    from fsjax import data
    from fsjax.methods.localization import Localization
    from fsjax.models.localized import attention_of

    run = fsjax.restore(path)
    splits = run.splits(data_path=data_path)
    if splits.test is None:
        raise UserError(f"{path} has no test images: the study needs maps that it has not learned from")
    method = run.method

    @jax.jit
    def attention(params, collections, images):
        if not isinstance(method, Localization):
            return attention_of(method.encode(params, collections, images))
        return method.whole_image_attention(params, collections, images)

    def maps_of(examples: data.Examples) -> np.ndarray:
        found = []
        for start in range(0, len(examples), batch_size):
            # The last batch is filled up from the first image on, so that one size is compiled.
            index = np.arange(start, start + batch_size) % len(examples)
            images = data.normalize(data.images_at(examples, index), run.info)
            found.append(np.asarray(attention(run.params, run.collections, images)))
        return np.concatenate(found)[: len(examples)]

    return Maps(
        f"{run.config.name} ({run.info.name}), {run.workdir}, step {run.step}",
        maps_of(splits.train),
        maps_of(splits.test),
    )


def train(
    network: ThetaNetwork, maps: np.ndarray, *, steps: int, batch_size: int, learning_rate: float, decay: str, seed: int
) -> Any:
    """The network's variables after so many steps of Adam towards the maps' targets, on batches drawn at random."""
    optimizer = optax.adam(DECAYS[decay](learning_rate, steps))
    variables = jax.jit(functools.partial(network.init, train=False))(jax.random.key(seed), maps[:2])
    params, stats = variables["params"], variables["batch_stats"]
    maps = jnp.asarray(maps)
    targets = target_theta(maps, tau=TAU)

    def loss(params, stats, maps, targets):
        variables = {"params": params, "batch_stats": stats}
        theta, updated = network.apply(variables, maps, train=True, mutable=["batch_stats"])
        return jnp.mean(smooth_l1(theta, targets)), updated["batch_stats"]

    @jax.jit
    def step(params, stats, state, maps, targets, index):
        gradients, stats = jax.grad(loss, has_aux=True)(params, stats, maps[index], targets[index])
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), stats, state

    state, rng = optimizer.init(params), np.random.default_rng(seed)
    for _ in range(steps):
        params, stats, state = step(params, stats, state, maps, targets, rng.integers(0, len(maps), batch_size))
    return jax.block_until_ready({"params": params, "batch_stats": stats})


def scores(theta: np.ndarray, maps: np.ndarray) -> dict[str, float]:
    """Smooth L1 of predicted boxes `[n, 4]`, and the shares whose IoU with the maps' boxes is above the thresholds."""
    targets = target_theta(jnp.asarray(maps), tau=TAU)
    iou = theta_iou(jnp.asarray(theta), targets)
    shares = {f"iou_{threshold}": float(jnp.mean(iou > threshold)) for threshold in THRESHOLDS}
    return {"sl1": float(jnp.mean(smooth_l1(theta, targets))), **shares}


def milliseconds(function: Callable[[np.ndarray], jax.Array], maps: np.ndarray, repeats: int) -> float:
    """The median time of a call, after two that are not counted."""
    seconds = []
    for _ in range(2 + repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(maps))
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[2:])


def measure(network: ThetaNetwork, maps: Maps, recipe: dict[str, Any], *, repeats: int) -> dict[str, Any]:
    """Trains a network and returns what a row of the table says of it."""
    start = time.perf_counter()
    variables = train(network, maps.train, **recipe)
    seconds = time.perf_counter() - start
    predict = functools.partial(jax.jit(functools.partial(network.apply, train=False)), variables)
    size = min(recipe["batch_size"], len(maps.test))
    theta = [
        np.asarray(predict(maps.test[np.arange(first, first + size) % len(maps.test)]))
        for first in range(0, len(maps.test), size)
    ]
    return {
        "parameters": sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])),
        **scores(np.concatenate(theta)[: len(maps.test)], maps.test),
        "ms_one": round(milliseconds(predict, maps.test[:1], repeats), 3),
        "ms_batch": round(milliseconds(predict, maps.test[:size], repeats), 3),
        "train_seconds": round(seconds, 1),
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown, beside the paper's; numbers in brackets are Table 1's."""
    heads = ("Network", "Prep.", "Parameters", "SL1 ×10⁻³", *(f"IoU > {t}" for t in THRESHOLDS), "ms, one map")
    heads = (*heads, "ms, a batch", "steps × batch")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        sl1, *shares = PAPER[row["network"]][row["prep"]]
        size = row["settings"]["resnet50_size"]
        cells = [
            TITLES[row["network"]] + ("" if size in (None, 224) else f", reduced: at {size}×{size} for 224×224"),
            "✓" if row["prep"] else "",
            f"{row['parameters']:,}",
            f"{1000 * row['sl1']:.2f} [{sl1}]",
            *(f"{row[f'iou_{t}']:.3f} [{s:.2f}]" for t, s in zip(THRESHOLDS, shares, strict=True)),
            f"{row['ms_one']:.2f}",
            f"{row['ms_batch']:.2f}",
            f"{row['settings']['steps']:,} × {row['settings']['batch_size']}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_network(defaults: dict[str, int], given: Sequence[str]) -> dict[str, int]:
    """Numbers by network: the defaults, and over them those of `["resnet50=2000", ...]`.

    Raises:
      UserError: for what is not NAME=NUMBER, of a network and above 0.
    """
    found = dict(defaults)
    for text in given:
        name, _, number = text.partition("=")
        if name not in defaults or not number.isdigit() or not int(number):
            known = ", ".join(defaults)
            raise UserError(f"{text!r} must be NAME=NUMBER, with a number above 0 and a name of: {known}")
        found[name] = int(number)
    return found


def settings_of(name: str, maps: Maps, args: argparse.Namespace) -> dict[str, Any]:
    """All that a row's result depends on, but its network and pre-processing."""
    return {
        "maps": maps.source,
        "map_size": list(maps.train.shape[1:]),
        "train_maps": len(maps.train),
        "test_maps": len(maps.test),
        "resnet50_size": args.resnet50_size if name == "resnet50" else None,
        "steps": by_network(STEPS, args.steps)[name],
        "batch_size": by_network(BATCH, args.batch)[name],
        "learning_rate": args.learning_rate,
        "decay": args.decay,
        "seed": args.seed,
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=THETA_NETWORKS, default=list(THETA_NETWORKS))
    parser.add_argument("--run", type=Path, help="folder of a trained run; synthetic maps without")
    parser.add_argument("--data-path", default="", help="where the run's data lie here, if elsewhere than then")
    parser.add_argument("--train-maps", type=int, default=6000, help="synthetic maps to train on (6000)")
    parser.add_argument("--test-maps", type=int, default=2000, help="and to test on (2000)")
    parser.add_argument("--steps", nargs="+", default=[], metavar="NAME=N", help=f"{STEPS}")
    parser.add_argument("--batch", nargs="+", default=[], metavar="NAME=N", help=f"{BATCH}")
    parser.add_argument("--resnet50-size", type=int, default=224, help="side that its maps are enlarged to (224)")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--decay", choices=DECAYS, default="cosine", help="of the learning rate (cosine)")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--repeats", type=int, default=20, help="of each timed forward")
    parser.add_argument("--out", type=Path, help="a file of JSON lines to add to, and to go on from")
    args = parser.parse_args(argv)
    try:
        by_network(STEPS, args.steps), by_network(BATCH, args.batch)
    except UserError as error:
        parser.error(str(error))
    if min(args.train_maps, args.test_maps, args.repeats, args.resnet50_size) < 1:
        parser.error("--train-maps, --test-maps, --repeats and --resnet50-size must be at least 1")
    return args


def rows_of(maps: Maps, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows in order; those that `--out` lacks are measured, printed and added to it."""
    known = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out and args.out.exists() else []
    for name, prep in itertools.product(args.networks, (False, True)):
        settings = settings_of(name, maps, args)
        what = {"study": "affnet", "network": name, "prep": prep, "settings": settings}
        row = next((row for row in known if all(row.get(key) == value for key, value in what.items())), None)
        if row is None:
            options = {"size": args.resnet50_size} if name == "resnet50" else {}
            recipe = {key: settings[key] for key in ("steps", "batch_size", "learning_rate", "decay", "seed")}
            row = what | measure(THETA_NETWORKS[name](prep=prep, **options), maps, recipe, repeats=args.repeats)
            print(json.dumps(row), flush=True)
            if args.out:
                args.out.parent.mkdir(parents=True, exist_ok=True)
                with args.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        yield row


def main(argv: Sequence[str] | None = None) -> None:
    """Measures the rows that are missing, and prints the table."""
    args = arguments(argv)
    set_cpu_flags()
    if args.run:
        maps = run_maps(args.run, data_path=args.data_path)
    else:
        drawn = ((args.train_maps, TRAIN_MAPS_SEED), (args.test_maps, TEST_MAPS_SEED))
        maps = Maps("synthetic", *(synthetic_maps(count, seed=seed) for count, seed in drawn))
    if maps.train.shape[1:] != (14, 14):
        print(f"Maps are {maps.train.shape[1]}x{maps.train.shape[2]}: the parameters are not those of Table 1.")
    print(f"\n{table(list(rows_of(maps, args)))}")


if __name__ == "__main__":
    main()
