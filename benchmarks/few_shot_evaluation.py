"""Few-shot evaluation: episodes per second from embeddings, its memory, and from images, a JSON line per figure.

    python -m benchmarks.few_shot_evaluation
    python -m benchmarks.few_shot_evaluation --parts=cached --repeats=9

"cached": 5-way 5-shot with 15 queries per class, cosine to the prototypes, over 512-d embeddings of 20 classes of 600
images, sampling included. Four ways in turn, in one process: the library's `score_tasks`; the same with episodes that
`jax.random.permutation` draws; and where torch is installed, a loop over episodes as easy-few-shot-learning has it
(without its data loader, which would cost more), and a vectorised version as one would write it by hand.

"memory": how far the resident memory grows, at most, while so many episodes are evaluated.

"images": the library's evaluator, by which every image goes through the network once, against sending each episode's
images through it, for a full-width ResNet-12 at 32x32. Hours are not spent: the seconds of some images and of a few
episodes are measured, and multiplied; the line holds the one under "measured", the other under "extrapolated".
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import random
import statistics
import threading
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from fsjax.data import ArrayExamples, DataInfo, Episodes, EpisodeSpec, Splits, draw_episodes, normalize
from fsjax.evaluation.few_shot.evaluator import Evaluator, extractor
from fsjax.evaluation.few_shot.tasks import Bank, score_tasks
from fsjax.methods.classification import Classification
from fsjax.methods.rules import Rule, class_scores, prototypes
from fsjax.models import build_model
from fsjax.training.xla import set_cpu_flags

SPEC = EpisodeSpec(way=5, shot=5, query=15)
CLASSES, IMAGES_A_CLASS, DIM = 20, 600, 512
RULE = Rule("cosine", "gap", "gap", 10.0)
LABELS = np.repeat(np.arange(CLASSES), IMAGES_A_CLASS).astype(np.int32)
NAMES = tuple(map(str, range(CLASSES)))
# Episodes that a way evaluates at once; for the vectorised torch, the fastest of 16, 64, 256 and 1,024.
PERMUTED_AT_ONCE = 1024
TORCH_AT_ONCE = 64

Way = Callable[[int, int], float]  # seed and number of episodes -> mean accuracy


def embeddings() -> np.ndarray:
    """Gaussian classes that overlap, float32 `[images, dim]`."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, DIM))
    return (0.2 * centres[LABELS] + rng.normal(size=(len(LABELS), DIM))).astype(np.float32)


def library(bank: Bank) -> Way:
    """What the library does."""

    def run(seed: int, tasks: int) -> float:
        (scores,) = score_tasks(bank, [RULE], spec=SPEC, seed=seed, tasks=tasks)
        return float(scores.accuracy.mean())

    return run


def permuted(bank: Bank) -> Way:
    """The library's head and counts, on episodes from `jax.random.permutation`."""

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        of_classes, of_images = jax.random.split(key)
        classes = jax.random.permutation(of_classes, CLASSES)[: SPEC.way]
        keys = jax.random.split(of_images, SPEC.way)
        images = jax.vmap(lambda key: jax.random.permutation(key, IMAGES_A_CLASS)[: SPEC.images])(keys)
        return classes, classes[:, None] * IMAGES_A_CLASS + images

    @jax.jit
    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vmap(one)(jax.random.split(key, PERMUTED_AT_ONCE))

    def run(seed: int, tasks: int) -> float:
        key = jax.random.key(seed)
        parts = [draw(jax.random.fold_in(key, i)) for i in range(-(-tasks // PERMUTED_AT_ONCE))]
        classes, images = (np.concatenate([np.asarray(part[i]) for part in parts])[:tasks] for i in range(2))
        episodes = Episodes(classes, images[..., : SPEC.shot], images[..., SPEC.shot :])
        (scores,) = score_tasks(bank, [RULE], spec=SPEC, seed=0, tasks=tasks, episodes=episodes)
        return float(scores.accuracy.mean())

    return run


def torch_loop(features: np.ndarray) -> Way:
    """One episode after the other, as in easy-few-shot-learning's task sampler and prototypical networks."""
    import torch

    features = torch.from_numpy(features)
    members = {label: np.flatnonzero(LABELS == label).tolist() for label in range(CLASSES)}
    support_labels = torch.arange(SPEC.way).repeat_interleave(SPEC.shot)
    query_labels = torch.arange(SPEC.way).repeat_interleave(SPEC.query)

    @torch.no_grad()
    def run(seed: int, tasks: int) -> float:
        generator, hits = random.Random(seed), 0
        for _ in range(tasks):
            classes = generator.sample(range(CLASSES), SPEC.way)
            images = torch.tensor([generator.sample(members[label], SPEC.images) for label in classes])
            support = features[images[:, : SPEC.shot].reshape(-1)]
            queries = features[images[:, SPEC.shot :].reshape(-1)]
            means = torch.cat([support[support_labels == way].mean(0).reshape(1, -1) for way in range(SPEC.way)])
            scores = torch.nn.functional.normalize(queries, dim=1) @ torch.nn.functional.normalize(means, dim=1).T
            hits += (scores.argmax(1) == query_labels).sum().item()
        return hits / (tasks * len(query_labels))

    return run


def torch_vectorised(features: np.ndarray) -> Way:
    """Many episodes at once: the largest of uniform numbers choose, batched products classify."""
    import torch

    features = torch.from_numpy(features)
    labels = torch.arange(SPEC.way).repeat_interleave(SPEC.query)

    @torch.no_grad()
    def run(seed: int, tasks: int) -> float:
        generator, hits = torch.Generator().manual_seed(seed), 0
        for start in range(0, tasks, TORCH_AT_ONCE):
            count = min(TORCH_AT_ONCE, tasks - start)
            classes = torch.rand(count, CLASSES, generator=generator).topk(SPEC.way, dim=1).indices
            images = torch.rand(count, SPEC.way, IMAGES_A_CLASS, generator=generator).topk(SPEC.images, dim=2).indices
            images = images + classes[..., None] * IMAGES_A_CLASS
            means = features[images[..., : SPEC.shot]].mean(2)
            queries = features[images[..., SPEC.shot :].reshape(count, -1)]
            means, queries = (torch.nn.functional.normalize(x, dim=-1) for x in (means, queries))
            hits += (torch.bmm(queries, means.mT).argmax(-1) == labels).sum().item()
        return hits / (tasks * len(labels))

    return run


def from_embeddings(args: argparse.Namespace, setting: dict) -> None:
    """Runs all ways in turn, and prints a line for each, with its rate and the library's ratio to it."""
    features = embeddings()
    bank = Bank.of({"gap": features}, LABELS, NAMES, "the novel classes")
    ways = {"library": (library(bank), args.tasks), "permutation": (permuted(bank), args.slow_tasks)}
    if importlib.util.find_spec("torch"):
        if args.torch_threads:
            importlib.import_module("torch").set_num_threads(args.torch_threads)
        ways["torch_loop"] = (torch_loop(features), args.slow_tasks // 4)
        ways["torch_vectorised"] = (torch_vectorised(features), args.slow_tasks)
    seconds, processor, accuracies = ({name: [] for name in ways} for _ in range(3))
    for repeat in range(1 + args.repeats):  # the first one compiles
        for name, (run, tasks) in ways.items():
            start, used = time.perf_counter(), time.process_time()
            accuracies[name].append(run(repeat, tasks))
            seconds[name].append((time.perf_counter() - start) / tasks)
            processor[name].append((time.process_time() - used) / tasks)
    median = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    for name, (_, tasks) in ways.items():
        figure = {
            "figure": f"episodes_from_embeddings_by_{name}",
            "episodes_per_s": round(1 / median[name]),
            "slowest_and_fastest": [round(1 / max(seconds[name][1:])), round(1 / min(seconds[name][1:]))],
            # Of all threads: what other programs on the machine take changes it less.
            "episodes_per_processor_s": round(1 / statistics.median(processor[name][1:])),
            "library_is_times_faster": round(median[name] / median["library"], 2),
            "episodes": tasks,
            "accuracy": round(statistics.fmean(accuracies[name]), 4),
        }
        print(json.dumps({**figure, **setting}), flush=True)


def growth_in_mb(function: Callable[[], object]) -> float:
    """How far the resident memory of the process is above that at the start while the function runs, at most."""
    page, most, done = os.sysconf("SC_PAGE_SIZE"), [0], threading.Event()

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * page

    def watch() -> None:
        while not done.wait(0.002):
            most[0] = max(most[0], resident())

    before, watcher = resident(), threading.Thread(target=watch)
    watcher.start()
    function()
    done.set()
    watcher.join()
    return (max(most[0], resident()) - before) / 1e6


def memory(args: argparse.Namespace, setting: dict) -> None:
    """Prints how far the memory grows with each number of episodes."""
    run = library(Bank.of({"gap": embeddings()}, LABELS, NAMES, "the novel classes"))
    run(0, args.tasks)
    grown = {tasks: round(growth_in_mb(lambda tasks=tasks: run(1, tasks)), 1) for tasks in (20_000, 100_000)}
    features_of_all = {tasks: round(tasks * SPEC.rows * DIM * 4 / 1e6) for tasks in grown}
    figure = {"figure": "memory_growth_mb", "by_episodes": grown, "features_of_all_episodes_at_once": features_of_all}
    print(json.dumps({**figure, **setting}), flush=True)


def evaluator(images: np.ndarray, labels: np.ndarray, batch_size: int) -> Evaluator:
    """The evaluator of an untrained ResNet-12 over these images as novel classes."""
    encoder = build_model("resnet12", options={})
    method = Classification(encoder, loss=None)
    variables = dict(jax.jit(lambda x: encoder.init(jax.random.key(0), x, train=False))(jnp.zeros((2, 32, 32, 3))))
    params = {"encoder": variables.pop("params"), "loss": {}}
    facts = {"counts": {}, "class_counts": (), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    info = DataInfo("noise", NAMES, (32, 32, 3), test_classes=NAMES, **facts)
    examples = ArrayExamples(images, labels)
    splits = Splits(train=examples, validation=None, test=examples, info=info)
    return Evaluator(method, params, variables, splits, extractor(method, params, variables), batch_size)


def through_the_network(of_run: Evaluator) -> Callable[[np.ndarray, np.ndarray], float]:
    """Each episode's images go through the network, and one program does the rest; a function of image positions."""
    images, info = of_run.splits.test.images, of_run.splits.info

    @jax.jit
    def hits(batch: jax.Array) -> jax.Array:
        features = of_run.method.embed(of_run.params, of_run.collections, batch).reshape(SPEC.way, SPEC.images, -1)
        means, queries = prototypes(features[:, : SPEC.shot]), features[:, SPEC.shot :].reshape(-1, DIM)
        scores = class_scores(queries, means, similarity="cosine", tau=1.0)
        return jnp.mean(jnp.argmax(scores, -1) == jnp.repeat(jnp.arange(SPEC.way), SPEC.query))

    def run(support: np.ndarray, query: np.ndarray) -> float:
        index = np.concatenate([support, query], axis=1).reshape(-1)
        return float(hits(normalize(images[index], info)))

    return run


def from_images(args: argparse.Namespace, setting: dict) -> None:
    """Measures images and episodes through the network, and prints what `args.episodes` episodes would take."""
    rng = np.random.default_rng(0)
    labels = np.resize(np.arange(CLASSES), args.images).astype(np.int32)
    of_run = evaluator(rng.integers(0, 256, (args.images, 32, 32, 3), np.uint8), labels, args.batch)
    run = through_the_network(of_run)
    bank = Bank.of({"gap": embeddings()}, LABELS, NAMES, "the novel classes")
    drawn = draw_episodes(of_run.bank("novel", ("gap",)).table, SPEC, seed=0, start=0, count=args.through)
    seconds = {"images": [], "episode": [], "tasks": []}
    for _ in range(1 + args.repeats):  # the first one compiles
        of_run._banks.clear()
        start = time.perf_counter()
        of_run.bank("novel", ("gap",))
        seconds["images"].append(time.perf_counter() - start)
        start = time.perf_counter()
        for support, query in zip(drawn.support, drawn.query, strict=True):
            run(support, query)
        seconds["episode"].append((time.perf_counter() - start) / args.through)
        start = time.perf_counter()
        library(bank)(0, args.episodes)
        seconds["tasks"].append(time.perf_counter() - start)
    median = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    once = median["images"] / args.images * len(LABELS) + median["tasks"]
    each = median["episode"] * args.episodes
    figure = {
        "figure": "evaluation_from_images",
        "measured": {
            "seconds_to_embed": round(median["images"], 3),
            "images_embedded": args.images,
            "seconds_an_episode_through_the_network": round(median["episode"], 4),
            "episodes_through_the_network": args.through,
            "seconds_of_tasks_on_embeddings": round(median["tasks"], 3),
            "tasks_on_embeddings": args.episodes,
        },
        "extrapolated": {
            "evaluation": f"{args.episodes} episodes of {SPEC} over {len(LABELS)} images",
            "how": "linearly: seconds an image times images, seconds an episode times episodes",
            "seconds_by_the_library": round(once, 1),
            "seconds_through_the_network": round(each, 1),
            "library_is_times_faster": round(each / once, 1),
        },
        "batch": args.batch,
    }
    print(json.dumps({**figure, **setting}), flush=True)


PARTS = {"memory": memory, "cached": from_embeddings, "images": from_images}


def main() -> None:
    """Reads the flags and runs the parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated")
    parser.add_argument("--repeats", type=int, default=5, help="after a first that compiles")
    parser.add_argument("--tasks", type=int, default=20_000, help="episodes of a run of the library's")
    parser.add_argument("--slow_tasks", type=int, default=2048, help="of the other ways; of torch's loop a quarter")
    parser.add_argument("--torch_threads", type=int, default=0, help="0: as many as torch takes, one a core")
    parser.add_argument("--images", type=int, default=512, help="embedded to measure; at least 20 a class")
    parser.add_argument("--through", type=int, default=3, help="episodes that go through the network")
    parser.add_argument("--episodes", type=int, default=10_000, help="of the evaluation from images")
    parser.add_argument("--batch", type=int, default=128, help="images at once")
    args = parser.parse_args()
    parts = args.parts.split(",")
    for part in parts:
        if part not in PARTS:
            parser.error(f"--parts: unknown {part!r}; known: {', '.join(PARTS)}")
    if args.images < CLASSES * SPEC.images:
        parser.error(f"--images must be at least {CLASSES * SPEC.images}")
    set_cpu_flags()
    setting = {
        "spec": str(SPEC),
        "repeats": args.repeats,
        "torch_threads": args.torch_threads,
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "jax": jax.__version__,
        **({"torch": importlib.metadata.version("torch")} if importlib.util.find_spec("torch") else {}),
    }
    for part in parts:
        PARTS[part](args, setting)


if __name__ == "__main__":
    main()
