#!/usr/bin/env bash
# jax 0.10.2 on a CPU: lax.top_k sorts a NaN whose sign bit is set below all numbers, and one without it above. 0/0 as
# x86 computes it has its sign set, so a mean of the k largest values hides a NaN that was computed, and shows one that
# was written as a constant. jnp.max gives NaN for both.
# Seen: top_k([1, -NaN, 3], 2) = [3, 1]; top_k([1, +NaN, 3], 2) = [NaN, 3]; jnp.max NaN and NaN.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PYTHON'
import sys
import jax, jax.numpy as jnp, numpy as np

found = {}
for name, sign in (("-NaN", -1.0), ("+NaN", 1.0)):
    x = jnp.asarray(np.array([1.0, np.copysign(np.nan, sign), 3.0], np.float32))
    found[name] = np.asarray(jax.lax.top_k(x, 2)[0]).tolist()
    print(f"top_k([1, {name}, 3], 2) = {found[name]}; max {float(jnp.max(x))}")
sys.exit(not (found["-NaN"] == [3.0, 1.0] and np.isnan(found["+NaN"][0])))
PYTHON
