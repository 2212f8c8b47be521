"""What a run says while it trains: means of the metrics, validation results, and why it diverged."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsjax.errors import UserError
from fsjax.training import hosts
from fsjax.training.checkpoints import Checkpoints
from fsjax.training.experiment import Experiment, images_per_step
from fsjax.training.records import Progress, Records
from fsjax.training.state import CAUSES, Health, TrainState, reset_meters


class DivergedError(UserError):
    """Training met a number that is not finite; the message tells where, why, and what to try."""


class Reporter:
    """Fetches what a run has to say at a step, and passes it to the records, the progress line, the loop."""

    def __init__(
        self,
        experiment: Experiment,
        records: Records,
        progress: Progress,
        latest: Checkpoints,
        *,
        start_step: int,
    ) -> None:
        self._experiment, self._records, self._progress, self._latest = experiment, records, progress, latest
        self._logged_at, self._logged_step = time.perf_counter(), start_step

    def log(self, state: TrainState, step: int) -> TrainState:
        """Log the means since the last log; the state returned has its meters at zero."""
        experiment = self._experiment
        meters = {k: float(v) for k, v in self._fetch(state.meters).items()}
        count = meters.pop("count")
        figures = {name: value / count for name, value in sorted(meters.items())}
        figures["learning_rate"] = float(experiment.schedule(step - 1))
        # The clock knows the steps since the last log or resume only, the meters all since the last log.
        seconds, steps = time.perf_counter() - self._logged_at, step - self._logged_step
        rate = steps * images_per_step(experiment.config, experiment.method) / seconds
        self._records.add(step, "train", figures, {"images_per_second": rate, "seconds": seconds})
        self._progress.report(step, figures, rate, (experiment.steps - step) * seconds / max(steps, 1))
        self._logged_at, self._logged_step = time.perf_counter(), step
        return reset_meters(state)

    def validate(self, state: TrainState, step: int) -> tuple[TrainState, bool]:
        """Score the validation data; the state returned knows the best so far, and the bool if this is it."""
        experiment, begin = self._experiment, time.perf_counter()
        figures = experiment.scoring.validation(state)
        # Each process computed them by itself, and all must find the same best: what follows is done together.
        figures = hosts.by_first(lambda: figures)
        seconds = time.perf_counter() - begin
        self._logged_at += seconds
        self._records.add(step, "validation", figures, {"seconds": seconds})
        self._progress.say(f"step {step}: validation accuracy {figures['accuracy']:.4f}")
        best = self._fetch(state.best)
        # Of equals the later one: with few validation images many are, and it has learned for longer.
        improved = bool(np.float32(figures["accuracy"]) >= best.accuracy)
        if improved:
            best = best.replace(accuracy=jnp.float32(figures["accuracy"]), step=jnp.int32(step))
            state = state.replace(best=experiment.parallel.replicate(best))
        return state, improved

    def raise_if_diverged(self, state: TrainState) -> None:
        """Raise a `DivergedError` if any step was not finite; called before anything is saved."""
        health = self._fetch(state.health)
        if health.bad_step >= 0:
            rate = float(self._experiment.schedule(int(health.bad_step)))
            raise DivergedError(_diverged(health, rate, self._latest.newest()))

    def _fetch(self, tree: Any) -> Any:
        return jax.device_get(self._experiment.parallel.single(tree))


def _diverged(health: Health, learning_rate: float, good_step: int | None) -> str:
    bad = [name for name, bit in CAUSES.items() if int(health.causes) & bit]
    if "images" in bad:
        cause = "the images hold numbers that are not finite: look at the data and their normalisation"
    elif "features" in bad:
        cause = "the network's features overflowed: most likely the learning rate is too high for this network"
    elif "loss" in bad:
        cause = (
            f"the loss overflowed on finite features (largest {health.feature_max:.3g}): most likely the learning "
            "rate is too high for the parameters of the loss, or they lack weight decay or clipping"
        )
    else:
        cause = "the gradient overflowed while the loss was finite: most likely the learning rate is too high"
    kept = (
        f"the last good checkpoint is of step {good_step}" if good_step is not None else "no checkpoint was saved yet"
    )
    return (
        f"training diverged at step {int(health.bad_step)}: not finite: {', '.join(bad)} (gradient norm "
        f"{health.grad_norm:.3g}, learning rate {learning_rate:.3g}); {cause}. {kept[0].upper()}{kept[1:]}. Try "
        f"--config.optimizer.learning_rate={learning_rate / 10:.3g}, a longer --config.schedule.warmup, or "
        "--config.optimizer.clip_norm=1, with another --workdir"
    )
