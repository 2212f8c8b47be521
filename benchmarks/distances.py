"""How fast ICU trains with distances by matrix products, and by differences; one JSON line per figure.

    python benchmarks/distances.py --batch=256 --classes=100 --dim=384

Forward and backward of the whole loss: gradients by the features, the means and the log-variances.
"""

import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp

from fsjax.losses import icu
from fsjax.losses.arithmetic import gaussian
from fsjax.losses.softmax import softmax_cross_entropy


def loss_by_products(features, means, log_var, labels):
    """The library's loss at the paper's numbers."""
    margins = {"alpha": 1e-4, "gamma": 1e-3, "margin_mode": "logdet_plus"}
    logits = icu.training_logits(features, labels, means, log_var, **margins)
    return jnp.mean(softmax_cross_entropy(logits, labels)) + regularizer(features, means, log_var, labels)


def loss_by_differences(features, means, log_var, labels):
    """The same with a `[batch, classes, dim]` array of differences."""
    squared = jnp.sum(jnp.square(features[:, None] - means) * jnp.exp(-log_var), axis=-1)
    log_determinant = gaussian.log_determinant(log_var, features.shape[-1])
    own = jax.nn.one_hot(labels, len(means), dtype=bool)
    with_margin = 0.5 * (1 + 1e-4) * (squared + log_determinant + jnp.log1p(1e-3))
    logits = -jnp.where(own, with_margin, 0.5 * (squared + log_determinant))
    return jnp.mean(softmax_cross_entropy(logits, labels)) + regularizer(features, means, log_var, labels)


def regularizer(features, means, log_var, labels):
    """The moments' term, the same in both."""
    weights = {"lambda_mu": 0.1, "lambda_sigma": 0.1, "reduction": "mean"}
    return sum(icu.moment_regularizer(features, labels, means, log_var, **weights))


def seconds_a_step(loss, arguments, runs):
    """Median seconds of a forward and backward pass, after a first run that compiles; and its loss."""
    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    value, _ = jax.block_until_ready(step(*arguments))
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        jax.block_until_ready(step(*arguments))
        times.append(time.perf_counter() - start)
    return statistics.median(times), float(value)


def main():
    """Runs both and prints their rates and ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--runs", type=int, default=11)
    args = parser.parse_args()

    keys = jax.random.split(jax.random.key(0), 4)
    arguments = (
        jax.random.normal(keys[0], (args.batch, args.dim)),
        jax.random.normal(keys[1], (args.classes, args.dim)),
        0.1 * jax.random.normal(keys[2], (args.classes, args.dim)),
        jax.random.randint(keys[3], (args.batch,), 0, args.classes),
    )
    setting = {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        **{key: getattr(args, key) for key in ("batch", "classes", "dim", "runs")},
    }
    seconds = {}
    for name, loss in (("products", loss_by_products), ("differences", loss_by_differences)):
        seconds[name], value = seconds_a_step(loss, arguments, args.runs)
        figure = {"figure": f"icu_distances_by_{name}", "samples_per_s": round(args.batch / seconds[name])}
        print(json.dumps({**figure, "loss": value, **setting}), flush=True)
    ratio = seconds["differences"] / seconds["products"]
    print(json.dumps({"figure": "icu_distances_speedup", "ratio": round(ratio, 1), **setting}))


if __name__ == "__main__":
    main()
