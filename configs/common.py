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
    # Weights that training starts from, of a ResNet-18, -50 or -101 in torchvision's layout: a .safetensors file, or a
    # name on the Hugging Face hub, "timm/resnet101.tv_in1k" or "timm/resnet101.tv_in1k@REVISION"; "": none.
    config.pretrained = ConfigDict({"network": "", "attnet": ""})  # of config.model; of localization's AttNet
    # Folder of a run of the same data whose network the losses "kd", "nd" and "dual_head" learn from.
    config.teacher = ConfigDict({"run": ""})

    config.method = methods()

    config.model = models()

    config.loss = losses()
    # Of the features that the loss sees in training: "none"; "multi_sample" (rate, samples: Inoue 2019, who finds no
    # more than 8 needed); "nested" (mu, sigma: the first k features, P(k) ~ exp(-((k-mu)/sigma)²); keep: how many are
    # read in evaluation, 0 for all).
    config.feature_dropout = ConfigDict(
        {"name": "none", "rate": 0.5, "samples": 8, "mu": 0.0, "sigma": 100.0, "keep": 0}
    )

    config.data = ConfigDict()  # see `fsjax.data.config.DataConfig`
    # "digits", "folder", "csv", "cub", "cars", "aircraft", "planted", "drawings", "fake" (noise), or a name of
    # tensorflow_datasets.
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
    # "omniglot", "fscil_cifar100", a JSON file of lists, or "share": so much of the classes, drawn with this seed, not
    # the run's.
    config.data.class_split = ConfigDict(
        {"name": "", "validation": 0.16, "test": 0.2, "seed": 0, "allow_missing": False}
    )
    config.data.base_holdout = 0  # images of each base class of a class split kept out to evaluate these classes
    config.data.keep_test = False  # the source's test part stays one under a class split, for sessions of new classes
    config.data.longtail_ratio = 0.0  # largest over smallest class of the training split; 0: off
    config.data.clusters = ""  # of training images: "class", or a file of `fsjax cluster`; for "dataset_equity"
    config.data.label_noise = 0.0  # share of the training labels that are made wrong at random, to study that
    config.data.image_size = 0  # side to resize to; 0: as they are
    config.data.fit = "crop"  # to that size: "crop" (the centred square) or "stretch" (all of it, whatever its aspect)
    config.data.resize = "bilinear"  # the filter of that: "bilinear", "bicubic", "lanczos" or "box"
    config.data.channels = 0  # 1 or 3; 0: as they are
    # In this order; rotate in degrees, brightness to saturation by a factor in 1 ± x, lighting by its deviation, cutout
    # the side of a square in pixels.
    config.data.augment = ConfigDict(
        {
            "rotate": 0.0, "crop": "none", "pad": 0, "flip": False, "brightness": 0.0, "contrast": 0.0,
            "saturation": 0.0, "lighting": 0.0, "cutout": 0, "mixup": 0.0,
        }
    )  # fmt: skip
    # "dataset" (its own mean and deviation), "half" ((x-128)/128), "imagenet" (its mean and deviation) or "none".
    config.data.normalization = "dataset"
    config.data.memory = "auto"  # "arrays" (decoded once), "stream" (decoded as needed) or "auto"
    # "host" (batches by tf.data) or "device" (images in its memory, drawn and varied inside the compiled step).
    config.data.backend = "host"
    config.data.cache = ""  # folder of decoded data sets; "": a user's own; "off": none
    config.data.on_error = "raise"  # unreadable images: "raise" or "skip"
    config.data.limit = ConfigDict({"train": 0, "test": 0})  # cut to so many examples; 0: all
    config.data.fake = ConfigDict(
        {"height": 32, "width": 32, "channels": 3, "num_classes": 10, "train": 100, "test": 50}
    )
    config.data.planted = ConfigDict(  # "planted": digits of smallest to largest pixels among clutter, with boxes
        {
            "size": 64,
            "smallest": 18,
            "largest": 36,
            "stretch": False,
            "clutter": 12,
            "train": 4000,
            "test": 1000,
            "seed": 0,
        }
    )
    # "drawings": so many random classes, with so many pictures of each.
    config.data.drawings = ConfigDict({"size": 64, "classes": 500, "train": 40, "test": 10, "seed": 0})

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
    config.parallel.shard_optimizer = False  # True: each device keeps a part of its state only
    config.figures = ConfigDict({"scatter": False})  # features.png, for 2-D features
    return config


def models() -> ConfigDict:
    """Options of every network, as `fsjax.models` has them: `--config.model.vgg13.widths=(24,48,96)`."""
    model = ConfigDict()
    model.name = ""
    model.dtype = "float32"  # of the computation: "float32" or "bfloat16"; parameters stay float32
    # Batch statistics over all devices, so that the number of devices changes nothing.
    model.sync_batch_norm = True
    # The gradient computes each block a second time in the place of keeping it: less memory, more time.
    model.remat = False
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
    model.resnet18 = ConfigDict({"width": 64, "blocks": (2, 2, 2, 2), **pooled})
    model.resnet50 = ConfigDict({"width": 64, "blocks": (3, 4, 6, 3), "stem": "plain", **pooled})
    model.resnet101 = ConfigDict({"width": 64, "blocks": (3, 4, 23, 3), "stem": "plain", **pooled})
    model.efficientnet_lite0 = ConfigDict(
        {"stem_width": 32, "widths": (16, 24, 40, 80, 112, 192, 320), "blocks": (1, 2, 2, 3, 3, 4, 1),
         "head_width": 1280, "momentum": 0.99, **pooled}
    )  # fmt: skip
    return model


def methods() -> ConfigDict:
    """Options of every method: `--config.method.name=dense --config.method.dense.reduction=sum`."""
    method = ConfigDict()
    method.name = "classification"  # an embedding and a loss
    method.classification = ConfigDict()
    # Of two networks; `forget` is the share of each batch that is left out, reached after so many steps.
    method.co_teaching = ConfigDict({"forget": 0.2, "gradual_steps": 0})
    method.dense = ConfigDict({"reduction": "mean"})  # of the losses of all positions: "mean", or Eq. 10's "sum"
    # Stage 1 is dense classification; at the test, implants are trained for each task. Lifchitz et al. 2019; rate,
    # decay and normalisation are our reading, docs/readings.md, "Implants".
    method.implants = ConfigDict(
        {
            "reduction": "mean", "channels": 16, "steps": 50, "learning_rate": 1e-3, "weight_decay": 5e-4, "b1": 0.9,
            "b2": 0.999, "eps": 1e-8, "tau": 10.0, "norm": "bn", "shortcut": False, "support_pool": "gap",
            "query_pool": "gap", "statistics": "support",
        }
    )  # fmt: skip
    method.imprinted = ConfigDict()
    # Similarity: "squared_euclid", "euclid" or "cosine". Losses, averaged: "cross_entropy", "proto_triplet" and "icnn",
    # their options as "SuSana Distancia" has them; icnn_on: "support", "query_to_support", "query_to_prototypes" and
    # "all".
    method.prototypical = ConfigDict(
        {
            "similarity": "squared_euclid", "tau": 1.0, "learn_tau": False, "losses": ("cross_entropy",),
            "triplet_margin": 0.5, "icnn_k": 4, "icnn_ipc": placeholder(int), "icnn_on": ("support",),
            "icnn_drop_nearest": True,
        }
    )  # fmt: skip
    # Prototypes of several depths of a network with residual blocks ("released"), or of its stages ("ends"); gamma is
    # what the released models of 1 shot have, which sweep it, and is trained with learn_gamma.
    method.msenet = ConfigDict({"stages": "released", "attention": True, "gamma": 0.2, "learn_gamma": False})
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
    """Options of every loss: `--config.loss.name=lgm --config.loss.lgm.alpha=0.3`. See docs/losses.md."""
    loss = ConfigDict()
    loss.name = "icu"
    # docs/readings.md, "Regularizer": the mean over classes and dimensions stands for Eq. 14's sum, which at 100
    # classes and 0.1 would drown the cross-entropy.
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
            "alpha": 0.1, "alpha_max": 0.3, "alpha_double_every": 0, "lam": 0.1, "ramp_steps": 0,
            "covariance": "identity", "logdet_in_logits": False, "mean_init_std": placeholder(float),
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
    loss.zloss = ConfigDict({"a": 1.0, "b": 0.0})  # de Brébisson & Vincent 2016, the authors' example
    # The same authors 2016; "spherical" or "taylor". They state no epsilon; the gradient grows as 1/sqrt(epsilon).
    loss.spherical = ConfigDict({"kind": "spherical", "epsilon": 1.0})
    # Baek et al. 2025 suggest n = sqrt(dim); p, of the Minkowski distance, from released code.
    loss.harmonic = ConfigDict(
        {
            "distance": "euclid", "n": placeholder(float), "p": 1.5, "precision": "diag", "bray_curtis": "abs",
        }
    )  # fmt: skip
    # Zhu et al. 2023: their script for CIFAR-100, but for ALDR's input, which there is "softplus".
    loss.ldr = ConfigDict({"lam": 10.0, "c": 0.1, "input": "softplus"})
    loss.aldr = ConfigDict({"lam": 10.0, "alpha": 2.0, "c": 0.1, "input": "mean_abs"})
    # Ranasinghe et al. 2021: weights as in the CIFAR script, the variant as in the paper.
    loss.opl = ConfigDict({"lam": 1.0, "gamma": 0.5, "variant": "abs_of_mean"})
    # They learn from config.teacher.run. Hinton et al. 2015, T as in the code of ND; Wang et al. 2023, released code;
    # Yang et al. 2024, released code. A warm-up of alpha is in steps.
    loss.kd = ConfigDict({"alpha": 1.0, "temperature": 4.0})
    loss.nd = ConfigDict({"alpha": 1.0, "temperature": 4.0, "warmup": 0, "beta": 2.0, "teacher_dim": 0, "dropout": 0.5})
    loss.dual_head = ConfigDict({"alpha": 1.0, "temperature": 2.0})
    # Boutros et al. 2022, but for beyond_pi: their formula, "cosine", rewards angles that a margin takes beyond pi.
    # Margin and sigma by kind and plus: 0.5/0.05 (arc), 0.35/0.05 (cos), plus 0.0175 and 0.02.
    loss.elasticface = ConfigDict(
        {
            "kind": "arc", "margin": placeholder(float), "scale": 64.0, "beyond_pi": "linear",
            "sigma": placeholder(float), "plus": False, "plus_assign": "released",
        }
    )  # fmt: skip
    loss.unpg = ConfigDict(  # Jung et al. 2022, on ArcFace's margin, 0.5
        {"kind": "arc", "margin": placeholder(float), "scale": 64.0, "beyond_pi": "linear", "whisker": 1.5}
    )
    loss.bias = ConfigDict({"alpha": 0.3, "beta": 0.3, "extent": "batch"})  # Abrahamyan et al. 2021
    loss.dataset_equity = ConfigDict({"eta": 1.0, "gamma": 5.0})  # Shrivastava et al. 2023; config.data.clusters
    loss.mlcd = ConfigDict({"kind": "mlcd", "scale": 16.0, "negatives": 0.1})  # An et al. 2024; the scale is ours
    loss.contrastive = ConfigDict({"lam": 1.0, "tau": 0.1, "hard": 0})  # Khosla et al. 2020; the weight lam is ours
    # Venkataramanan et al. 2022, their released code; the weight lam beside the cross-entropy is ours.
    loss.metrix = ConfigDict(
        {
            "kind": "contrastive", "lam": 1.0, "mix_weight": 0.4, "mix_alpha": 2.0, "margin": placeholder(float),
            "beta": 18.0, "gamma": 75.0,
        }
    )  # fmt: skip
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
