"""TensorFlow, which only reads data here: imported when first needed, quiet, off the accelerators."""

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator
from types import ModuleType

_LEGACY = "TF_USE_LEGACY_KERAS"


@functools.cache
def import_tensorflow() -> ModuleType:
    """The `tensorflow` module. `TF_CPP_MIN_LOG_LEVEL` is respected; unset, only errors are logged."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # It announces oneDNN at every start, whatever the log level; nothing here would use it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    with _no_keras():
        import tensorflow as tf
    tf.__path__ = [part for part in tf.__path__ if part]  # where tf_keras would lie

    # It would take all of a GPU's memory. A program that has used TensorFlow before has decided on this
    # itself.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    return tf


@contextlib.contextmanager
def _no_keras() -> Iterator[None]:
    """Keep TensorFlow from importing Keras, and with it matplotlib and scikit-learn, as it starts.

    They take a third of its import, and reading data needs none of them. It looks for the older tf_keras meanwhile,
    whose absence it takes quietly; `tf.keras` is imported when something asks for it, as ever.
    """
    if _LEGACY in os.environ or importlib.util.find_spec("tf_keras"):
        yield
        return
    os.environ[_LEGACY] = "1"
    try:
        yield
    finally:
        del os.environ[_LEGACY]
