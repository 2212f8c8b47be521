"""TensorFlow, which only reads data here: imported when first needed, quiet, off the accelerators."""

import contextlib
import functools
import os
from types import ModuleType


@functools.cache
def import_tensorflow() -> ModuleType:
    """The `tensorflow` module. `TF_CPP_MIN_LOG_LEVEL` is respected; unset, only errors are logged."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # It announces oneDNN at every start, whatever the log level; nothing here would use it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    # It would take all of a GPU's memory. A program that has used TensorFlow before has decided on this
    # itself.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    return tf
