"""Options of a run apart from its data, network, loss and method: how long it trains, how, and where."""

import dataclasses
from typing import Any

from fsjax.errors import UserError
from fsjax.options.declare import option
from fsjax.options.metrics import METRICS

_STEPS: dict[str, Any] = {"at_least": 1, "at_most": 10**9}
_SHARE: dict[str, Any] = {"at_least": 0, "below": 1}
# A batch of more would be a mistyped number: its images alone fill the memory of any machine.
_BATCH = 10**6
SEED: dict[str, Any] = {
    "at_least": 0,
    "at_most": 2**32 - 1,
}  # of more, the random numbers would be those of another seed
# Images or classes of an episode, and a pair of them, from which it is drawn.
COUNTS: dict[str, Any] = {"at_most": 100_000, "entries": (1, 2)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Of the run as a whole."""

    name: str = option("", "of the experiment; the default workdir is runs/NAME")
    seed: int = option(0, "of the weights at the start, and of what is drawn in training", **SEED)
    start_from: str = option("", "folder of a run whose encoder this one starts from; empty: none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainedOptions:
    """Weights that training starts from: of a published network, or of a ResNet in torchvision's layout.

    A name that `fsjax networks` lists; a .safetensors file; or a name on the Hugging Face hub, "timm/resnet101.tv_in1k"
    or "timm/resnet101.tv_in1k@REVISION".
    """

    network: str = option(
        "", "of config.model: a name of fsjax networks, a .safetensors file, or a name on the hub; empty: none"
    )
    attnet: str = option("", "of localization's AttNet: a .safetensors file, or a name on the hub")
    rate: float = option(
        1.0,
        "factor of the learning rate for what is loaded; 0: it stays as it is, batch statistics too",
        at_least=0,
        at_most=1,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """The teacher of the losses "kd", "nd" and "dual_head"."""

    run: str = option("", "folder of a run of the same data, whose network they learn from")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpisodesOptions:
    """Of methods that train on episodes: (n,) is n; of a pair (least, most) numbers are drawn."""

    way: tuple[int, ...] = option(
        (5,), "classes of an episode; of a pair, drawn for each episode", at_least=2, **COUNTS
    )
    shot: tuple[int, ...] = option(
        (5,), "support images of a class; of a pair, drawn for each class", at_least=1, **COUNTS
    )
    query: tuple[int, ...] = option((15,), "queries of a class; likewise", at_least=1, **COUNTS)
    per_step: int = option(1, "episodes of a step", at_least=1, at_most=100_000)

    def check_rules(self, at: str) -> None:
        """Raises UserError for pairs that do not rise."""
        for name in ("way", "shot", "query"):
            check_pair(f"{at}{name}", getattr(self, name))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """Of the optimizer, and what it does to gradients and weights."""

    name: str = option("sgd", "sgd and adam have L2 decay, adamw decoupled decay", choices=("sgd", "adam", "adamw"))
    learning_rate: float = option(0.1, "after the warm-up", above=0, at_most=1e3)
    momentum: float = option(0.9, "of sgd", **_SHARE)
    nesterov: bool = option(False, "of sgd: Nesterov's momentum")
    b1: float = option(0.9, "of adam and adamw: decay of the gradient's mean", **_SHARE)
    b2: float = option(0.999, "of adam and adamw: decay of its square's", **_SHARE)
    eps: float = option(1e-8, "of adam and adamw, outside of the root", above=0, at_most=1)
    weight_decay: float = option(
        5e-4, "of all or some weights; a loss's own variances are never decayed", at_least=0, at_most=10
    )
    decay_on: str = option(
        "all", "which weights decay: kernels are arrays of two or more dimensions", choices=("all", "kernels")
    )
    clip_norm: float = option(
        0.0, "largest global norm of the gradient; 0: no clipping", at_least=1e-6, at_most=1e6, or_=(0,)
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """Of the learning rate."""

    name: str = option("step", "how it falls", choices=("constant", "step", "cosine", "linear"))
    unit: str = option("epochs", "of warmup and boundaries", choices=("steps", "epochs"))
    warmup: float = option(0.0, "length of the linear rise from 0", at_least=0, at_most=1e9)
    boundaries: tuple[float, ...] = option((), "of step: where the rate is multiplied by factor", above=0, at_most=1e9)
    factor: float = option(0.1, "of step", above=0, at_most=10)
    final: float = option(0.0, "of cosine and linear: the last rate, as a share of the first", at_least=0, at_most=1)

    def check_rules(self, at: str) -> None:
        """Raises UserError for boundaries that do not rise."""
        if any(first >= second for first, second in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise UserError(f"{at}boundaries={self.boundaries} must rise")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Of the training loop."""

    steps: int = option(0, "length of the run: either this is above 0", at_least=0, at_most=10**9)
    epochs: float = option(0.0, "or this", at_least=0, at_most=1e6)
    batch_size: int = option(
        128, "images of a step, over all devices; 0: the method trains on episodes", at_least=0, at_most=_BATCH
    )
    accumulate: int = option(1, "micro-batches that a step is divided into", at_least=1, at_most=_BATCH)
    steps_per_dispatch: int = option(1, "steps that are sent to the devices at once", at_least=1, at_most=100_000)
    log_every: int = option(100, "steps between lines of the log", **_STEPS)
    eval_every: int = option(
        1000, "steps between evaluations on validation data; 0: only at the end", at_least=0, at_most=10**9
    )
    checkpoint_every: int = option(1000, "steps between checkpoints", **_STEPS)
    progress: bool = option(True, "whether there is a progress bar")

    def check_rules(self, at: str) -> None:
        """Raises UserError for a batch that cannot be divided."""
        if self.batch_size % self.accumulate:
            raise UserError(
                f"{at}batch_size={self.batch_size} cannot be divided into {at}accumulate={self.accumulate} parts"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """Of evaluation."""

    batch_size: int = option(512, "images through the network at once, over all devices", at_least=1, at_most=_BATCH)
    metrics: tuple[str, ...] = option((), "further metrics of classified splits, by name", choices=METRICS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelOptions:
    """Of the devices."""

    backend: str = option(
        "auto", "how a step is divided among devices; auto is shard_map", choices=("auto", "shard_map", "pmap")
    )
    num_devices: int = option(0, "how many are used; 0: all", at_least=0, at_most=10**6)
    shard_optimizer: bool = option(False, "whether each device keeps a part of the optimizer's state only")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FiguresOptions:
    """What is drawn at the end."""

    scatter: bool = option(False, "features.png, of 2-D features")


def check_pair(key: str, value: tuple[int, ...]) -> None:
    """Raises UserError for a pair (least, most) whose ends are the wrong way round."""
    if len(value) == 2 and value[0] > value[1]:
        raise UserError(f"{key}={value} is a pair (least, most): write ({value[1]}, {value[0]})")
