"""Tasks per second of implants, 5-way 5-shot with 15 queries per class, beside a plain loop; a JSON line per size.

    python -m benchmarks.implants --sizes=32,84 --tasks=4 --repeats=5 --plain=3

Ours is the library's: the frozen ResNet-12 once over a task's 100 images, then the inner optimizer on its activations
for `--tasks` tasks at once, then the queries scored (prototypes by GAP, queries at every position). The plain loop is
what one would write first: real convolutions, the whole widened network forward in each of the 50 epochs, a jitted
step, one task at a time. Both start from the same implants, and the line says how far their results agree.

"from_images" is all of it. "from_activations" leaves the frozen network out: an evaluation of thousands of tasks draws
from a few thousand images and computes their activations once.

The floor is arithmetic: multiplications and additions over the rate of a large float32 matrix product in this run.
"""

import argparse
import json
import statistics
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fsjax.losses.leave_one_out import leave_one_out_loss
from fsjax.methods.implants import (
    Activations,
    ImplantOptions,
    base_activations,
    implant_loss,
    implant_maps,
    init_implants,
    train_implants,
)
from fsjax.methods.rules import class_scores
from fsjax.models import build_model
from fsjax.models.pooling import max_pool_2x2
from fsjax.training.xla import set_cpu_flags

WAY, SHOT, QUERY = 5, 5, 15
SUPPORT = WAY * SHOT
IMAGES = WAY * (SHOT + QUERY)
WIDTHS = (64, 128, 256, 512)
LABELS = np.repeat(np.arange(WAY), SHOT)
QUERY_LABELS = np.repeat(np.arange(WAY), QUERY)


class PlainImplants(nn.Module):
    """The implants in flax, on what the frozen network has computed."""

    channels: int

    @nn.compact
    def __call__(self, a: Activations, *, train: bool) -> jax.Array:
        """Returns the widened maps."""

        def layer(x, name):
            x = nn.Conv(self.channels, (3, 3), use_bias=False, name=name)(x)
            return nn.BatchNorm(use_running_average=not train, momentum=0.0, epsilon=1e-5, name=f"{name}_bn")(x)

        x = nn.swish(layer(a.inputs, "conv1"))
        x = nn.swish(layer(jnp.concatenate([a.conv1, x], -1), "conv2"))
        x = nn.swish(layer(jnp.concatenate([a.conv2, x], -1), "conv3"))
        return jnp.concatenate([a.output, max_pool_2x2(x)], -1)


def predictions(support_maps: jax.Array, query_maps: jax.Array) -> jax.Array:
    """Classes of a task's queries: prototypes of pooled maps, queries classified densely (Eq. 14)."""
    prototypes = jnp.mean(support_maps, axis=(1, 2)).reshape(WAY, SHOT, -1).mean(1)
    positions = query_maps.reshape(len(query_maps), -1, query_maps.shape[-1])
    return jnp.argmax(class_scores(positions, prototypes, similarity="cosine", tau=10.0, dense=True), axis=-1)


def plain_loop(encoder, variables, options):
    """The plain way: a function of a task's images and a key to predictions and the support's final maps."""
    network, optimizer = PlainImplants(options.channels), optax.adamw(options.learning_rate, weight_decay=5e-4)

    def forward(variables, weights, images, stats, *, train):
        a = base_activations(encoder, variables, images)
        return network.apply({"params": weights, "batch_stats": stats}, a, train=train, mutable=["batch_stats"])

    @jax.jit
    def step(variables, weights, stats, state, images):
        def loss(weights):
            maps, updated = forward(variables, weights, images, stats, train=True)
            pooled = jnp.mean(maps, axis=(1, 2))
            terms = {"num_classes": WAY, "tau": options.tau}
            losses = leave_one_out_loss(pooled, pooled[:, None], LABELS, jnp.ones(SUPPORT), **terms)
            return jnp.sum(losses), updated["batch_stats"]

        gradients, stats = jax.grad(loss, has_aux=True)(weights)
        updates, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), stats, state

    @jax.jit
    def score(variables, weights, stats, images):
        maps, updated = forward(variables, weights, images[:SUPPORT], stats, train=True)
        queries, _ = forward(variables, weights, images[SUPPORT:], updated["batch_stats"], train=False)
        return predictions(maps, queries), maps

    @jax.jit
    def start(key):
        layers = init_implants(key, options, in_channels=WIDTHS[-2], width=WIDTHS[-1])
        weights, stats = {}, {}
        for name, layer in layers.items():
            weights[name] = {"kernel": layer["kernel"]}
            weights[f"{name}_bn"] = {"scale": layer["scale"], "bias": layer["bias"]}
            stats[f"{name}_bn"] = {"mean": jnp.zeros(options.channels), "var": jnp.ones(options.channels)}
        return weights, stats, optimizer.init(weights)

    def run(images, key):
        weights, stats, state = start(key)
        for _ in range(options.steps):
            weights, stats, state = step(variables, weights, stats, state, images[:SUPPORT])
        return score(variables, weights, stats, images)

    return run


def library(encoder, variables, options):
    """The library's way in three parts: the frozen network, the inner optimizer, the scoring."""
    activations = jax.jit(lambda variables, images: base_activations(encoder, variables, images))

    def base(images):
        return [activations(variables, task) for task in images]

    @jax.jit
    def stack(tasks):
        tasks = jax.tree.map(lambda *x: jnp.stack(x), *tasks)
        return jax.tree.map(lambda x: x[:, :SUPPORT], tasks), jax.tree.map(lambda x: x[:, SUPPORT:], tasks)

    def train(support, keys):
        labels, mask = np.tile(LABELS, (len(keys), 1)), np.ones((len(keys), SUPPORT), np.float32)
        return train_implants(support, labels, mask, keys, options=options, num_ways=WAY)

    @jax.jit
    def score(trained, support, queries):
        maps = implant_maps(*trained, support, options)
        return jax.vmap(predictions)(maps, implant_maps(*trained, queries, options)), maps

    return base, stack, train, score


def flops(size: int, options: ImplantOptions) -> dict[str, float]:
    """Multiplications and additions of a task by part, those of the kernels' products alone."""
    base, side, before = 0, size, 3
    for width in WIDTHS:
        base += 2 * side**2 * width * (9 * before + 9 * width + 9 * width + before)
        side, before = side // 2, width
    frozen, own = 9 * (WIDTHS[-2] + 2 * WIDTHS[-1]), 9 * 2 * options.channels
    an_image = 2 * (size // 2 ** (len(WIDTHS) - 1)) ** 2 * options.channels
    forward = an_image * (frozen + own)
    backward = an_image * (frozen + 2 * own)  # the frozen stream needs no gradient
    return {
        "base": IMAGES * base,
        "train": SUPPORT * (options.steps * (forward + backward) + forward),
        "score": IMAGES * forward,
    }


def frozen_network(encoder, images: jax.Array) -> dict:
    """Variables of a fresh network whose batch norm has these images' statistics, as a trained one's would fit."""

    @jax.jit
    def make(images):
        variables = encoder.init(jax.random.key(0), images, train=False)
        fresh = {name: variables[name] for name in ("params", "batch_stats")}
        _, updated = encoder.apply(fresh, images, train=True, mutable=["batch_stats"])
        # Undo the momentum of 0.9.
        stats = jax.tree.map(lambda new, old: 10 * new - 9 * old, updated["batch_stats"], fresh["batch_stats"])
        return {"params": fresh["params"], "batch_stats": stats}

    return make(images)


def timed(function, *arguments):
    """The function's result and the seconds until it was there."""
    start = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - start


def measure(size: int, args: argparse.Namespace) -> dict:
    """Times both ways on the same tasks, in turn, and compares their results."""
    options = ImplantOptions(steps=args.steps)
    encoder = build_model("resnet12", options={"widths": WIDTHS})
    rng = np.random.default_rng(0)
    colours = rng.normal(size=(args.tasks, WAY, 1, 1, 3))[:, np.concatenate([LABELS, QUERY_LABELS])]
    images = 0.3 * colours + rng.normal(size=(args.tasks, IMAGES, size, size, 3))
    images = jnp.asarray(images, jnp.float32)
    variables = frozen_network(encoder, images[0, :SUPPORT])
    keys = jax.random.split(jax.random.key(1), args.tasks)
    plain, (base, stack, train, score) = plain_loop(encoder, variables, options), library(encoder, variables, options)
    square = jnp.ones((3000, 3000))
    product = jax.jit(jnp.matmul)

    seconds = {name: [] for name in ("product", "base", "stack", "train", "score", "plain")}
    for repeat in range(1 + max(args.repeats, args.plain)):  # the first one compiles
        seconds["product"].append(timed(product, square, square)[1])
        activations, spent = timed(base, images)
        seconds["base"].append(spent)
        (support, queries), spent = timed(stack, activations)
        seconds["stack"].append(spent)
        trained, spent = timed(train, support, keys)
        seconds["train"].append(spent)
        (predicted, maps), spent = timed(score, trained, support, queries)
        seconds["score"].append(spent)
        if repeat <= args.plain:
            (plain_predicted, plain_maps), spent = timed(plain, images[0], keys[0])
            seconds["plain"].append(spent)

    middle = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    rate = 2 * 3000**3 / min(seconds["product"][1:])
    needed = flops(size, options)
    floor = {name: value / rate for name, value in needed.items()}
    ours = {name: middle[name] / args.tasks for name in ("base", "stack", "train", "score")}
    from_images, from_activations = sum(ours.values()), ours["train"] + ours["score"]

    def final_loss(maps):
        return round(float(implant_loss(maps, LABELS, jnp.ones(SUPPORT), options, num_ways=WAY)) / SUPPORT, 5)

    return {
        "figure": "implants",
        "image": size,
        "from_images": {
            "tasks_per_s": round(1 / from_images, 3),
            "times_plain": round(middle["plain"] / from_images, 1),
            "times_floor": round(from_images / sum(floor.values()), 2),
        },
        "from_activations": {
            "tasks_per_s": round(1 / from_activations, 3),
            "times_plain": round(middle["plain"] / from_activations, 1),
            "times_floor": round(from_activations / (floor["train"] + floor["score"]), 2),
        },
        "plain_tasks_per_s": round(1 / middle["plain"], 4),
        "ms_a_task": {name: round(1000 * value, 1) for name, value in ours.items()},
        "floor_ms_a_task": {name: round(1000 * value, 1) for name, value in floor.items()},
        "gflop_a_task": {name: round(value / 1e9, 1) for name, value in needed.items()},
        "matmul_gflop_per_s": round(rate / 1e9),
        "agreement_on_the_first_task": {
            "final_loss": [final_loss(maps[0]), final_loss(plain_maps)],
            "accuracy": [round(float(np.mean(p == QUERY_LABELS)), 3) for p in (predicted[0], plain_predicted)],
            "same_predictions": round(float(np.mean(predicted[0] == plain_predicted)), 3),
            "relative_difference_of_maps": float(jnp.max(jnp.abs(maps[0] - plain_maps)) / jnp.max(jnp.abs(plain_maps))),
        },
        "steps": args.steps,
        "tasks_at_once": args.tasks,
        "repeats": [args.repeats, args.plain],
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }


def main() -> None:
    """Reads the flags and prints a line for each image size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--sizes", default="32,84", help="sides of the images, comma-separated")
    parser.add_argument("--tasks", type=int, default=4, help="tasks that the library trains at once")
    parser.add_argument("--steps", type=int, default=50, help="epochs of the inner optimizer, of both ways")
    parser.add_argument("--repeats", type=int, default=5, help="of ours, after a first that compiles")
    parser.add_argument("--plain", type=int, default=3, help="repeats of the plain loop, of one task each")
    args = parser.parse_args()
    if min(args.tasks, args.repeats, args.plain) < 1:
        parser.error("--tasks, --repeats and --plain must be at least 1")
    set_cpu_flags()
    for size in args.sizes.split(","):
        print(json.dumps(measure(int(size), args)), flush=True)


if __name__ == "__main__":
    main()
