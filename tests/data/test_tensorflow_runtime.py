"""TensorFlow as it is imported here."""

import pytest


@pytest.mark.slow
def test_keras_is_imported_only_where_it_is_asked_for(python):
    script = (
        "import os, sys\n"
        "from fsjax.data.tensorflow_runtime import import_tensorflow\n"
        "tf = import_tensorflow()\n"
        "assert not {'keras', 'matplotlib', 'sklearn'} & sys.modules.keys()\n"
        "assert 'TF_USE_LEGACY_KERAS' not in os.environ and None not in tf.__path__\n"
        "import tensorflow.keras.layers\n"
        "print(tf.keras.layers.Dense(2)(tf.ones((1, 3))).shape)\n"
    )
    assert python("-c", script).stdout.split("\n")[0] == "(1, 2)"
