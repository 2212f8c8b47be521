"""Images per second of a training step (forward, backward, SGD with momentum) of a network, without its data.

    python benchmarks/train_step.py --models vgg13,resnet18_cifar --batch 128 --dtypes float32,bfloat16

Prints one JSON line per figure: the median over `--steps` steps, each waited for, after `--warmup` steps, the
first of which compiles. The loss is softmax cross-entropy on random images. `--options` narrows a network:
`--models vgg13 --options '{"widths": [24, 48, 96]}'`.
"""

import argparse
import json
import statistics
import time
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from fsjax.models import DTYPES, MODELS, build_model


def measure(name: str, dtype: str, args: argparse.Namespace) -> dict[str, Any]:
    """Times the steps of one network and dtype."""
    model = build_model(name, dtype=dtype, options=json.loads(args.options))
    classifier = nn.Dense(args.classes)
    optimizer = optax.sgd(0.01, momentum=0.9, nesterov=True)
    images = jax.random.normal(jax.random.key(0), (args.batch, args.size, args.size, args.channels))
    labels = jax.random.randint(jax.random.key(1), (args.batch,), 0, args.classes)

    @jax.jit
    def init(images):
        variables = model.init(jax.random.key(2), images, train=False)
        features = model.apply(variables, images, train=False).embedding
        params = {"model": variables["params"], "head": classifier.init(jax.random.key(3), features)}
        return params, variables["batch_stats"], optimizer.init(params)

    @jax.jit
    def step(params, batch_stats, opt_state, images, labels):
        def loss(params):
            variables = {"params": params["model"], "batch_stats": batch_stats}
            out, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
            logits = classifier.apply(params["head"], out.embedding)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return jnp.mean(losses), updated["batch_stats"]

        gradients, batch_stats = jax.grad(loss, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), batch_stats, opt_state

    state, seconds = init(images), []
    for _ in range(args.warmup + args.steps):
        start = time.perf_counter()
        state = jax.block_until_ready(step(*state, images, labels))
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds[args.warmup :])
    return {
        "figure": "train_step",
        "model": name,
        "options": json.loads(args.options),
        "dtype": dtype,
        "image": [args.size, args.size, args.channels],
        "batch": args.batch,
        "images_per_s": round(args.batch / median, 1),
        "step_ms": round(1000 * median, 2),
        "steps": args.steps,
        "first_step_s": round(seconds[0], 1),
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }


def main() -> None:
    """Reads the flags and prints a line for each network and dtype."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--models", default="vgg13", help=f"comma-separated, of {', '.join(MODELS)}")
    parser.add_argument("--dtypes", default="float32", help=f"comma-separated, of {', '.join(DTYPES)}")
    parser.add_argument("--options", default="{}", help="JSON options of the networks")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    if args.warmup < 1 or args.steps < 1:
        parser.error("--warmup (the first step compiles) and --steps must be at least 1")
    for name in args.models.split(","):
        for dtype in args.dtypes.split(","):
            print(json.dumps(measure(name, dtype, args)), flush=True)


if __name__ == "__main__":
    main()
