"""What the processes of a run compare of their data: each reads its own copy of them."""

import hashlib
import json
from typing import Any

import numpy as np

from fsjax import data

WAY_OUT = (
    "all processes need the same data: give all the same --config.data.path and --config.data.cache, on a shared file "
    "system or as equal copies (damaged or partial ones: remove them), and the same packages that decode images"
)
# Of each split: enough to see another copy or another decoder, not to find one damaged file.
_IMAGES = 32


def facts(splits: data.Splits) -> dict[str, Any]:
    """What is said of the data, and digests of labels, of the images chosen, and of the bytes of a few of them.

    Args:
      splits: of the run.

    Returns:
      JSON-able values by name, the long ones as digests.
    """
    info = splits.info.to_json()
    for name in ("mean", "std"):  # their last bit is the processor's
        info[name] = [round(value, 9) for value in info[name]]
    found = {f"data: {name}": _short(value) for name, value in info.items()}
    for split in ("train", "validation", "test", "base", "support"):
        examples = getattr(splits, split)
        if examples is None:
            continue
        sample = np.unique(np.linspace(0, len(examples) - 1, _IMAGES).astype(np.int64))
        found[f"data: labels of {split}"] = _digest(np.asarray(examples.labels, np.int32))
        found[f"data: images of {split}"] = _digest(data.images_at(examples, sample))
        if isinstance(examples, data.StreamExamples):
            found[f"data: items of {split}"] = _digest(np.asarray(examples.part.items, np.int64))
    for name, of_train in (("items", splits.items), ("cluster shares", splits.cluster_shares)):
        if of_train is not None:
            found[f"data: {name} of train"] = _digest(of_train)
    return found


def _short(value: Any) -> Any:
    text = json.dumps(value)
    return value if len(text) < 80 else hashlib.sha256(text.encode()).hexdigest()[:12]


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(str(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()[:12]
