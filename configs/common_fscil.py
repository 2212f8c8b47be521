"""Few-shot class-incremental learning: a cosine classifier of the base classes, as TEEN trains it (Wang et al. 2023).

The network is trained on the base classes and stays as it is; `fsjax sessions RUN` then adds novel classes a few at a
time, and tests all that were seen so far on the data set's own test images.
"""

from ml_collections import ConfigDict

from fsjax.configs.common import base, choose, shrink


def incremental(name: str, arg: str) -> ConfigDict:
    """What the data sets share; a config states its data and its network over it, then `finished`.

    Args:
      name: of the experiment.
      arg: the config's: "smoke" or nothing.
    """
    config = base()
    choose(arg, ("smoke",))
    config.name = name
    config.method.name = "classification"
    config.loss.name = "cosine"
    config.data.keep_test = True
    config.data.augment.update(crop="pad", flip=True)
    config.optimizer.update(name="sgd", learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.schedule.name = "cosine"
    config.schedule.unit = "epochs"
    # Tasks of novel, and of base classes on test images, beside the sessions.
    config.few_shot.update(shots=(5, 1), query=(15,), classes=("novel", "base"))
    return config


def finished(config: ConfigDict, arg: str, *, size: int) -> ConfigDict:
    """The config, or its `:smoke` variant: four steps of a narrow network on noise.

    Args:
      config: of `incremental`, with its data and network.
      arg: the config's.
      size: side of the images.
    """
    if "smoke" in choose(arg, ("smoke",)):
        shrink(config, image_shape=(size, size, 3), num_classes=20, images_per_class=16)
        config.data.fake.test = 20 * 8
        config.data.class_split.update(name="share", validation=0.0, test=0.5)
        config.data.path = ""
        config.model.resnet32.blocks = (1, 1, 1)
        config.model.resnet12.widths = (4, 8)
        config.few_shot.update(shots=(2,), query=(3,), tasks=20)
    return config
