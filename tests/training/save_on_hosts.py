"""A script of the tests: two folders of checkpoints written at unequal steps, by one of two processes.

Arguments: folder, rounds, coordinator, number of processes, index. A round opens the folders anew and saves 20 times.
"""

import sys
from pathlib import Path

import numpy as np

from fsjax.training.checkpoints import Checkpoints, steps_in
from fsjax.training.connect import connect
from fsjax.training.parallel import DataParallel


def main(folder: Path, rounds: int) -> None:
    parallel = DataParallel()
    state = parallel.replicate({"x": np.arange(100_000, dtype=np.float32), "step": np.int32(0)})
    for number in range(rounds):
        places = [folder / str(number) / name for name in ("latest", "best")]
        with Checkpoints(places[0], keep=2) as latest, Checkpoints(places[1], keep=1) as best:
            for step in range(1, 21):
                # As of a run that is validated more often than it is saved: the last write may not be done.
                best.save(step, parallel.single(state))
                if step % 3 == 0:
                    best.wait()
                    latest.save(step, parallel.single(state))
        assert [steps_in(place) for place in places] == [[15, 18], [20]]
    print("saved", flush=True)


if __name__ == "__main__":
    folder, rounds, coordinator, count, index = sys.argv[1:]
    connect(coordinator=coordinator, num_processes=int(count), process_id=int(index))
    main(Path(folder), int(rounds))
