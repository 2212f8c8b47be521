#!/usr/bin/env bash
# orbax-checkpoint 0.12.8, training.Checkpointer of v1: each save_async whose response is dropped leaves a thread and
# three descriptors (an event loop) behind, also when wait() was called and the write is complete. Only result() of the
# response ends them. A loop that saves a thousand times and waits with wait() meets the usual limit of 1,024 descriptors.
# Seen: 10 saves with wait(): 30 descriptors and 10 threads more; with result() none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2 orbax-checkpoint==0.12.8
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - "$folder" 2>/dev/null <<'PYTHON'
import gc, os, sys, threading
import numpy as np
from orbax.checkpoint import v1 as ocp


def held():
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count()


grown = {}
for how in ("wait", "result"):
    policy = ocp.training.save_decision_policies.FixedIntervalPolicy(1)
    with ocp.training.Checkpointer(f"{sys.argv[1]}/{how}", save_decision_policy=policy) as writer:
        for step in range(13):
            response = writer.save_async(step, {"x": np.ones(10)})
            if how == "result":
                response.result()
            del response
            writer.wait()
            if step == 2:
                before = held()
        grown[how] = tuple(after - at for after, at in zip(held(), before))
print(grown)
sys.exit(not (grown["wait"][0] >= 20 and grown["wait"][1] >= 5 and grown["result"] <= (0, 0)))
PYTHON
