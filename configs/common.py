"""What the experiments share: every key of a config, and the companion losses' options as their papers give them.

A config file starts from `base()` and states its own recipe over it; nothing in `fsjax` has a default behind it.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def base() -> ConfigDict:
    """A config with every key; the values that an experiment must choose are empty."""
    config = ConfigDict()
    config.name = ""  # of the experiment; the default workdir is runs/NAME
    config.seed = 0
    config.start_from = ""  # folder of a run whose encoder this one starts from
    # Weights that training starts from, of a ResNet-50 or ResNet-101 in torchvision's layout: a .safetensors file, or a
    # name on the Hugging Face hub, "timm/resnet101.tv_in1k" or "timm/resnet101.tv_in1k@REVISION"; "": none.
    config.pretrained = ConfigDict({"network": "", "attnet": ""})  # of config.model; of localization's AttNet

    config.method = methods()

    config.model = models()

    config.loss = losses()

    config.data = ConfigDict()  # see `fsjax.data.config.DataConfig`
    # "digits", "folder", "csv", "cub", "cars", "aircraft", "planted", "fake" (noise), or a name of tensorflow_datasets.
    config.data.name = ""
    config.data.path = ""  # TFDS data_dir or prepared folder; root of "folder", "csv", "cub", "cars" or "aircraft"
    config.data.image_key = "image"
    config.data.label_key = "label"
    config.data.box_key = "bbox"  # the TFDS feature of one box an image, where there is one; "": read no boxes
    config.data.train_split = "train"
    config.data.test_split = "test"
    config.data.test_fraction = 0.2  # of sources without a test part
    config.data.validation = 0.0  # share of the training split that selects the checkpoint; 0: the last is taken
    # Novel classes instead of novel images: "" (off), "fc100", "cifar_fs", "mini_imagenet", "tiny_imagenet_fs",
    # "omniglot", a JSON file of lists, or "share": so much of the classes, drawn with this seed, not the run's.
    config.data.class_split = ConfigDict(
        {"name": "", "validation": 0.16, "test": 0.2, "seed": 0, "allow_missing": False}
    )
    config.data.base_holdout = 0  # images of each base class of a class split kept out to evaluate these classes
    config.data.longtail_ratio = 0.0  # largest over smallest class of the training split; 0: off
    config.data.image_size = 0  # side to resize to; 0: as they are
    config.data.fit = "crop"  # to that size: "crop" (the centred square) or "stretch" (all of it, whatever its aspect)
    config.data.resize = "bilinear"  # the filter of that: "bilinear", "bicubic", "lanczos" or "box"
    config.data.channels = 0  # 1 or 3; 0: as they are
    # In this order; rotate in degrees, brightness to saturation by a factor in 1 ± x, lighting by its deviation.
    config.data.augment = ConfigDict(
        {
            "rotate": 0.0, "crop": "none", "pad": 0, "flip": False, "brightness": 0.0, "contrast": 0.0,
            "saturation": 0.0, "lighting": 0.0, "mixup": 0.0,
        }
    )  # fmt: skip
    # "dataset" (its own mean and deviation), "half" ((x-128)/128), "imagenet" (its mean and deviation) or "none".
    config.data.normalization = "dataset"
    config.data.memory = "auto"  # "arrays" (decoded once), "stream" (decoded as needed) or "auto"
    config.data.on_error = "raise"  # unreadable images: "raise" or "skip"
    config.data.limit = ConfigDict({"train": 0, "test": 0})  # cut to so many examples; 0: all
    config.data.fake = ConfigDict(
        {"height": 32, "width": 32, "channels": 3, "num_classes": 10, "train": 100, "test": 50}
    )
    config.data.planted = ConfigDict(  # "planted": digits of smallest to largest pixels among clutter, with boxes
        {"size": 64, "smallest": 18, "largest": 36, "clutter": 12, "train": 4000, "test": 1000, "seed": 0}
    )

    # Of methods that train on episodes: (n,) is n; of a pair (least, most) the ways are drawn for each episode, shots
    # and queries for each class of it.
    config.episodes = ConfigDict({"way": (5,), "shot": (5,), "query": (15,), "per_step": 1})

    config.optimizer = ConfigDict()
    config.optimizer.name = "sgd"  # "sgd", "adam" (both with L2 decay) or "adamw"
    config.optimizer.learning_rate = 0.1
    config.optimizer.momentum = 0.9
    config.optimizer.nesterov = False
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8
    config.optimizer.weight_decay = 5e-4
    config.optimizer.decay_on = "all"  # "all" or "kernels"; a loss's own variances are never decayed
    config.optimizer.clip_norm = 0.0  # 0: no clipping

    config.schedule = ConfigDict()
    config.schedule.name = "step"  # "constant", "step", "cosine" or "linear"
    config.schedule.unit = "epochs"  # of warmup and boundaries: "steps" or "epochs"
    config.schedule.warmup = 0.0
    config.schedule.boundaries = ()
    config.schedule.factor = 0.1
    config.schedule.final = 0.0  # last rate of "cosine" and "linear", as a share of the first

    config.train = ConfigDict()
    config.train.steps = 0  # either this
    config.train.epochs = 0.0  # or this
    config.train.batch_size = 128
    config.train.accumulate = 1  # micro-batches a step
    config.train.steps_per_dispatch = 1
    config.train.log_every = 100  # steps, as all of these
    config.train.eval_every = 1000
    config.train.checkpoint_every = 1000
    config.train.progress = True

    config.eval = ConfigDict({"batch_size": 512})
    # The test of data whose classes are divided (`config.data.class_split`): see `fsjax.evaluation.protocol.Protocol`.
    config.few_shot = ConfigDict()
    config.few_shot.way = (5,)  # or a pair (least, most), as queries, and each of the shots
    config.few_shot.shots = (5, 1)  # the first, on the first of the classes, is the run's accuracy
    config.few_shot.query = (15,)
    config.few_shot.tasks = 10_000
    config.few_shot.implant_tasks = 5_000  # where implants are trained for each
    # "novel", "base", "both" (among all base classes and the task's novel ones), "validation", "reconstructed" (drawn
    # from novel and base classes alike) and "reconstructed_validation"; those with base classes need data.base_holdout.
    config.few_shot.classes = ("novel",)
    config.few_shot.seed = 0  # of the tasks, whatever the run's seed
    # "support/query" each, of "gap", "gmp", "flatten", "embedding", and for queries "dense"; none: the method's own.
    config.few_shot.poolings = ()
    config.few_shot.inference_tau = 0.0  # scale of dense queries; 0: the learned one
    config.few_shot.reconstructed = ConfigDict()  # of tasks of novel and base classes (AFLM paper, Sec. 4)
    config.few_shot.reconstructed.test_base = 0  # base classes beside the novel ones; 0: as many
    config.few_shot.reconstructed.validation_base = 0  # others, beside the validation classes; 0: as many
    config.few_shot.reconstructed.images = 0  # of each class, at most; 0: all
    config.few_shot.reconstructed.seed = 0  # of the choice of base classes and images, whatever the run's seed
    config.few_shot.validation = ConfigDict(  # these tasks choose the checkpoint
        {"classes": "validation", "way": (5,), "shot": (5,), "query": (15,), "tasks": 500}
    )  # of "validation" classes, or of base ones too: "reconstructed_validation"
    config.parallel = ConfigDict({"backend": "auto", "num_devices": 0})  # "shard_map" (auto) or "pmap"; 0: all
    config.figures = ConfigDict({"scatter": False})  # features.png, for 2-D features
    return config


def models() -> ConfigDict:
    """Options of every network, as `fsjax.models` has them: `--config.model.vgg13.widths=(24,48,96)`."""
    model = ConfigDict()
    model.name = ""
    model.dtype = "float32"  # of the computation: "float32" or "bfloat16"; parameters stay float32
    # Batch statistics over all devices, so that the number of devices changes nothing.
    model.sync_batch_norm = True
    small = {"stages": ((32, 32), (64, 64)), "prelu": False}
    model.cnn = ConfigDict({**small, "pool": "gap", "hidden": (), "dim": placeholder(int)})
    model.mnist_2d = ConfigDict({**small, "hidden": (256,), "dim": 2})
    model.mnist_100d = ConfigDict({"stages": ((32, 32), (64, 64), (128,)), "dim": 100, "prelu": False})
    pooled = {"pool": "gap", "dim": placeholder(int)}  # dim: of a last linear layer; none by default
    conv4 = {"last_relu": True, "pool": "flatten", "dim": placeholder(int)}
    model.c64f = ConfigDict({"widths": (64, 64, 64, 64), **conv4})
    model.c128f = ConfigDict({"widths": (64, 64, 128, 128), **conv4})
    model.vgg13 = ConfigDict({"widths": (96, 192, 384), "convs": (5, 4, 4), **pooled})
    model.resnet12 = ConfigDict(
        {"widths": (64, 128, 256, 512), "activation": "swish", "pool_padding": "valid", **pooled}
    )
    model.resnet18_cifar = ConfigDict({"width": 64, "blocks": (2, 2, 2, 2), **pooled})
    model.resnet32 = ConfigDict({"width": 16, "blocks": (5, 5, 5), **pooled})
    model.resnet32_bbn = ConfigDict({"width": 16, "blocks": (5, 5, 5), **pooled})
    model.wrn28_10 = ConfigDict({"depth": 28, "widen": 10, **pooled})
    model.resnet50 = ConfigDict({"width": 64, "blocks": (3, 4, 6, 3), "stem": "plain", **pooled})
    model.resnet101 = ConfigDict({"width": 64, "blocks": (3, 4, 23, 3), "stem": "plain", **pooled})
    return model


def methods() -> ConfigDict:
    """Options of every method: `--config.method.name=dense --config.method.dense.reduction=sum`."""
    method = ConfigDict()
    method.name = "classification"  # an embedding and a loss
    method.classification = ConfigDict()
    method.dense = ConfigDict({"reduction": "mean"})  # of the losses of all positions: "mean", or Eq. 10's "sum"
    # Stage 1 is dense classification; at the test, implants are trained for each task. Lifchitz et al. 2019; rate,
    # decay and normalisation are our reading, METHODS §2.2.
    method.implants = ConfigDict(
        {
            "reduction": "mean", "channels": 16, "steps": 50, "learning_rate": 1e-3, "weight_decay": 5e-4, "b1": 0.9,
            "b2": 0.999, "eps": 1e-8, "tau": 10.0, "norm": "bn", "shortcut": False, "support_pool": "gap",
            "query_pool": "gap", "statistics": "support",
        }
    )  # fmt: skip
    method.imprinted = ConfigDict()
    method.prototypical = ConfigDict({"similarity": "squared_euclid", "tau": 1.0, "learn_tau": False})
    method.meta_baseline = ConfigDict({"tau": 10.0})
    # Two branches of config.model, gated by each other: config.loss is the Global one's. See fsjax/methods/aflm.py.
    method.aflm = ConfigDict(
        {
            "attention": True, "fusion": "shared_concat", "gate_on": "source", "gate_slope": 0.1, "gate_reduction": 16,
            "tau": 10.0, "learn_tau": True, "reduction": "mean",
        }
    )  # fmt: skip
    # A crop learned with the classifier: see fsjax/methods/localization.py. crop_size 0: the images' own; emb_dim 0: no
    # embedding layer over the pooled maps.
    method.localization = ConfigDict(
        {
            "crop_size": 0, "emb_dim": 0, "att_width": 64, "att_blocks": 3, "aff_hidden": 128, "m_source": "full_image",
            "tau": 0.3, "binarize": "rescaled", "sharpness": 50.0, "align_corners": False, "padding": "zeros",
            "clip_theta": False, "beta_att": 1.0, "beta_aff": 1.0, "lambda_att": 16.0, "lambda_aff": 16.0,
        }
    )  # fmt: skip
    return method


def losses() -> ConfigDict:
    """Options of every loss, METHODS §4: `--config.loss.name=lgm --config.loss.lgm.alpha=0.3`."""
    loss = ConfigDict()
    loss.name = "icu"
    # ICU §4.1; the regulariser's mean over classes and dimensions stands for Eq. 14's sum, which at 100 classes and
    # 0.1 would drown the cross-entropy.
    loss.icu = ConfigDict(
        {
            "alpha": 1e-4, "gamma": 1e-3, "lambda_mu": 0.1, "lambda_sigma": 0.1, "margin_mode": "logdet_plus",
            "covariance": "diag", "variance_param": "log_var", "reg_reduction": "mean", "mode": "paper",
            "mean_init_std": placeholder(float),  # 1/sqrt(dim)
        }
    )  # fmt: skip
    # Wan et al. 2018, their CIFAR-100 settings but for alpha's schedule: identity covariance, alpha 0.1.
    loss.lgm = ConfigDict(
        {
            "alpha": 0.1, "alpha_max": 0.3, "alpha_double_every": 0, "lam": 0.1, "covariance": "identity",
            "logdet_in_logits": False, "mean_init_std": placeholder(float),
        }
    )  # fmt: skip
    loss.cosine = ConfigDict({"tau_init": 10.0})  # Lifchitz et al. 2019: 10 on miniImageNet, 100 on FC100
    loss.center = ConfigDict({"lam": 0.003, "rate": 0.5})  # Wen et al. 2016
    # Hanselmann & Ney 2020, their released code.
    loss.elope = ConfigDict(
        {
            "lam": 2.0, "gamma": 16.0, "margin": 0.75, "center_rate": 0.5, "center_step": "mean1",
            "grad_through_centers": True, "max_pairs": 256,
        }
    )  # fmt: skip
    # Liu et al. 2016, the schedule of beta as in the authors' MNIST files.
    loss.lsoftmax = ConfigDict({"m": 4, "beta": 1000.0, "beta_gamma": 2.5e-5, "beta_power": 35.0, "beta_min": 0.0})
    loss.focal = ConfigDict({"gamma": 2.0})  # Lin et al. 2017
    loss.class_balanced = ConfigDict(  # Cui et al. 2019
        {"beta": 0.9999, "base": "softmax", "gamma": 1.0, "normalize_by": "count"}
    )
    loss.mixup = ConfigDict({"mixup_alpha": 1.0})  # Zhang et al. 2018
    loss.softmax = ConfigDict()
    return loss


def choose(arg: str, variants: tuple[str, ...]) -> list[str]:
    """The parts of a config's argument, `:a,b`; raises a `ValueError` that lists the valid ones.

    Args:
      arg: what stands behind the colon, comma-separated.
      variants: what may stand there.
    """
    parts = [part for part in (arg or "").split(",") if part]
    for part in parts:
        if part not in variants:
            raise ValueError(f"no variant {part!r}; there are: {', '.join(variants)}")
    return parts


def shrink(
    config: ConfigDict,
    *,
    image_shape: tuple[int, int, int] | None = None,
    num_classes: int = 10,
    images_per_class: int = 4,
) -> None:
    """Make a config its `:smoke` variant in place: four steps, to see that it runs.

    Args:
      config: what to shrink.
      image_shape: if given, random images of this shape stand for the data, so that nothing is downloaded.
      num_classes: of the random images.
      images_per_class: how many of them are for training.
    """
    config.name += "_smoke"
    config.train.epochs = 0.0
    config.train.steps = 4
    config.train.batch_size = 8
    config.train.log_every = 2
    config.train.eval_every = 2
    config.train.checkpoint_every = 2
    config.eval.batch_size = 16
    if image_shape is None:
        return
    height, width, channels = image_shape
    config.data.name = "fake"
    config.data.test_split = "test"
    config.data.validation = 0.25 if config.data.validation else 0.0
    images = {"train": images_per_class * num_classes, "test": num_classes + 5}
    config.data.fake.update(height=height, width=width, channels=channels, num_classes=num_classes, **images)
