"""A checkpoint of the config's state: how long it takes to write, and `fsjax.restore` to read."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from fsjax.benchmarking.case import Case
from fsjax.benchmarking.timing import in_turns, in_words, timed
from fsjax.files import write_json
from fsjax.runs import restore
from fsjax.training.checkpoints import Checkpoints
from fsjax.version import __version__


def measure(case: Case) -> Iterator[dict[str, Any]]:
    """Seconds of a restore, the parameters on the device; of the first one, which compiles; and of a save."""
    experiment = case.experiment
    state = jax.block_until_ready(experiment.initial_state())
    facts = {
        "config": case.config.to_dict(), "data": experiment.splits.info.to_json(), "fsjax": __version__
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="fsjax_bench_") as name:
        folder = Path(name)
        write_json(folder / "config.json", facts["config"])
        write_json(folder / "data.json", facts["data"])
        with Checkpoints(folder / "checkpoints" / "latest", keep=1, metadata=facts) as checkpoints:

            def save() -> None:
                checkpoints.save(1, state)
                checkpoints.wait()

            saved = timed(save)

        def read(turns: int) -> Any:
            run: Any = None
            for _ in range(turns):
                run = restore(folder)
                jax.block_until_ready((run.params, run.collections))
            return run.params

        first = timed(lambda: read(1))
        (spent,) = in_turns([read], repeats=case.repeats, seconds=case.seconds)
    yield {
        **in_words(spent),
        "first_seconds": first,
        "save_seconds": saved,
        "bytes": sum(x.nbytes for x in jax.tree.leaves((state.params, state.collections))),
        "state_bytes": sum(x.nbytes for x in jax.tree.leaves(state)),
    }
