"""What feeds the train step, alone: decoding, drawing, augmenting, moving to the device."""

import importlib.util
import itertools
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax import lax

from fsjax.benchmarking.case import Case
from fsjax.benchmarking.machine import peak_bytes
from fsjax.benchmarking.timing import in_turns, in_words
from fsjax.data.config import BACKENDS
from fsjax.errors import UserError
from fsjax.training.experiment import Experiment, images_per_step
from fsjax.training.parallel import AXIS

logger = logging.getLogger("fsjax")

_HOST_NEEDS = "tensorflow"


def check_backend(name: str) -> None:
    """Raise a `UserError` for a backend whose packages are not installed."""
    if not _is_there(name):
        raise UserError(f"data.backend='host' needs {_HOST_NEEDS}, which is not installed: --backend device does not")


def _is_there(name: str) -> bool:
    return name != "host" or importlib.util.find_spec(_HOST_NEEDS) is not None


def measure(case: Case) -> Iterator[dict[str, Any]]:
    """Images per second, and seconds of the host's cores an image, of one backend or of all that can do it."""
    for one in _cases(case):
        name = one.config.data.backend
        length = one.config.train.steps_per_dispatch
        images = length * images_per_step(one.config, one.experiment.method)
        run = (_from_host if name == "host" else _on_device)(one.experiment, length)
        used: list[float] = []

        def counted(turns: int, run: Callable[[int], Any] = run, used: list[float] = used) -> Any:
            start = time.process_time()
            result = jax.block_until_ready(run(turns))
            used.append((time.process_time() - start) / turns)
            return result

        (spent,) = in_turns([counted], repeats=case.repeats, seconds=case.seconds)
        yield {
            "backend": name,
            "images_per_second": images / statistics.median(spent),
            **in_words([seconds / length for seconds in spent]),
            "cpu_seconds_per_image": statistics.median(used[-case.repeats :]) / images,
            **peak_bytes(),
            "devices": one.experiment.parallel.num_devices,
        }


def _cases(case: Case) -> Iterator[Case]:
    """The case with the backend that was chosen, or with each that is there and can do it."""
    names = (case.chosen,) if case.chosen else [name for name in BACKENDS if _is_there(name)]
    for name in names:
        check_backend(name)
        one = case.with_backend(name)
        try:
            one.experiment  # noqa: B018 (built for what it raises)
        except UserError as error:
            if name != "device" or len(names) == 1:
                raise
            logger.warning('input is not measured with data.backend="device": %s', error)
        else:
            yield one


def _from_host(experiment: Experiment, length: int) -> Callable[[int], Any]:
    """Batches on the devices, one after the other."""
    batches = iter(experiment.train_batches(0, itertools.repeat(length)))

    def run(turns: int) -> Any:
        batch = None
        for _ in range(turns):
            batch = jax.block_until_ready(next(batches))
        return batch

    return run


def _on_device(experiment: Experiment, length: int) -> Callable[[int], Any]:
    """The batches that the train step draws inside of itself."""
    feed, parallel = experiment.feed, experiment.parallel

    def made(batch: Any) -> Any:
        items, kept = feed.split(batch)
        steps, micro_batches = jax.tree.leaves(items)[0].shape[:2]
        places = itertools.product(range(steps), range(micro_batches))
        found = [feed.read(kept, jax.tree.map(lambda x, place=place: x[place], items)) for place in places]
        # Whole, as a network wants them: of a sum XLA would draw the pixels one by one inside of it.
        return lax.all_gather(found, AXIS, tiled=True)

    drawn = parallel.lift(made, batch_axis=feed.batch_axis, num_replicated=0)
    batches = iter(experiment.train_batches(0, itertools.repeat(length)))

    def run(turns: int) -> Any:
        return [drawn(next(batches)) for _ in range(turns)]

    return run
