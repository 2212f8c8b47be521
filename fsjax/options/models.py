"""The networks by name, each with its options: `--config.model.name=vgg13 --config.model.vgg13.widths=(24,48,96)`.

To add one: a file in `fsjax/models`, and here its options and its line in `MODELS`.
"""

import dataclasses
from typing import Any

from fsjax.errors import UserError
from fsjax.options.declare import option
from fsjax.options.table import Choice, Table

# What is pooled from the last feature maps: their mean, maximum, mean of the 4 largest, or all.
POOLS = ("gap", "gmp", "kmax4", "flatten")
_SIZE: dict[str, Any] = {"at_least": 1, "at_most": 100_000}  # of a layer
_DEPTH: dict[str, Any] = {"at_least": 1, "at_most": 1_000}  # layers of a stage
_STAGES: dict[str, Any] = {"entries": (1, 50)}


def _pool(default: str) -> Any:
    return option(default, "how the last feature maps become a vector", choices=POOLS)


def _dim() -> Any:
    return option(None, "width of a linear layer after the pooling; None: no such layer", **_SIZE)


def _prelu() -> Any:
    return option(False, "whether a PReLU follows the embedding")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CnnOptions:
    """Of a small convolutional network."""

    stages: tuple[tuple[int, ...], ...] = option(
        ((32, 32), (64, 64)), "for each stage the output channels of its 3x3 convolutions", **_SIZE, **_STAGES
    )
    prelu: bool = _prelu()
    pool: str = _pool("gap")
    hidden: tuple[int, ...] = option((), "widths of fully connected layers after the pooling", **_SIZE)
    dim: int | None = _dim()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mnist2dOptions:
    """Of the ICU paper's 2-D network for MNIST, which leaves widths and poolings open."""

    stages: tuple[tuple[int, ...], ...] = option(
        ((32, 32), (64, 64)), "for each stage the output channels of its 3x3 convolutions", **_SIZE, **_STAGES
    )
    prelu: bool = _prelu()
    hidden: tuple[int, ...] = option((256,), "widths of the fully connected layers before the last", **_SIZE)
    dim: int = option(2, "width of the last, linear layer", **_SIZE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mnist100dOptions:
    """Of the ICU paper's 100-D network for MNIST, which leaves widths and poolings open."""

    stages: tuple[tuple[int, ...], ...] = option(
        ((32, 32), (64, 64), (128,)), "for each stage the output channels of its 3x3 convolutions", **_SIZE, **_STAGES
    )
    dim: int = option(100, "width of the fully connected layer", **_SIZE)
    prelu: bool = _prelu()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conv4Options:
    """Of Conv-4."""

    widths: tuple[int, ...] = option((64, 64, 64, 64), "output channels by stage", **_SIZE, **_STAGES)
    last_relu: bool = option(
        True, "whether the last stage has its ReLU; Gidaris & Komodakis leave it out before their cosine classifier"
    )
    pool: str = _pool("flatten")
    dim: int | None = _dim()


@dataclasses.dataclass(frozen=True, kw_only=True)
class C128fOptions(Conv4Options):
    """Of Gidaris & Komodakis 2018's wider Conv-4."""

    widths: tuple[int, ...] = option((64, 64, 128, 128), "output channels by stage", **_SIZE, **_STAGES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vgg13Options:
    """Of the L-GM recipe's network of 13 convolutions."""

    widths: tuple[int, ...] = option((96, 192, 384), "output channels by stage", **_SIZE, **_STAGES)
    convs: tuple[int, ...] = option((5, 4, 4), "convolutions by stage", **_DEPTH, **_STAGES)
    pool: str = _pool("gap")
    dim: int | None = _dim()

    def check_rules(self, at: str) -> None:
        """Raises UserError for stages without both."""
        if len(self.widths) != len(self.convs):
            raise UserError(
                f"{at}widths={self.widths} and {at}convs={self.convs}: vgg13 takes a width and a number of "
                "convolutions for each stage"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNet12Options:
    """Of ResNet-12, the residual network of few-shot learning."""

    widths: tuple[int, ...] = option(
        (64, 128, 256, 512),
        "output channels by stage; dense classification's WIDE network ends with 528",
        **_SIZE,
        **_STAGES,
    )
    activation: str = option(
        "swish",
        "swish as in dense classification, leaky (slope 0.1) as in Meta-Baseline",
        choices=("swish", "leaky", "relu"),
    )
    pool_padding: str = option(
        "valid",
        "an odd last row or column of a max-pooling: dropped, or a window of its own",
        choices=("valid", "same"),
    )
    pool: str = _pool("gap")
    dim: int | None = _dim()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNetCifarOptions:
    """Of residual networks for images of 32x32."""

    width: int = option(64, "channels of the first stage; doubles with every stage", **_SIZE)
    blocks: tuple[int, ...] = option((2, 2, 2, 2), "basic blocks by stage", **_DEPTH, **_STAGES)
    pool: str = _pool("gap")
    dim: int | None = _dim()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNet32Options(ResNetCifarOptions):
    """Of ResNet-32; n blocks in each stage give a ResNet-(6n + 2)."""

    width: int = option(16, "channels of the first stage; doubles with every stage", **_SIZE)
    blocks: tuple[int, ...] = option((5, 5, 5), "basic blocks by stage", **_DEPTH, **_STAGES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WideResNetOptions:
    """Of wide residual networks."""

    depth: int = option(28, "6n + 4, for n blocks in each of the three groups", at_least=10, at_most=1_000)
    widen: int = option(10, "the factor on the groups' 16, 32 and 64 channels", at_least=1, at_most=1_000)
    pool: str = _pool("gap")
    dim: int | None = _dim()

    def check_rules(self, at: str) -> None:
        """Raises UserError for another depth."""
        if (self.depth - 4) % 6:
            raise UserError(
                f"{at}depth={self.depth}: depths are 6n + 4 for n blocks in each group: 10, 16, 22, 28, 34, 40, ..."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNet18Options:
    """Of ResNet-18, torchvision's."""

    width: int = option(64, "channels of the stem; all others are multiples of it", **_SIZE)
    blocks: tuple[int, ...] = option((2, 2, 2, 2), "basic blocks by stage", **_DEPTH, **_STAGES)
    pool: str = _pool("gap")
    dim: int | None = _dim()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNet50Options:
    """Of ResNet-50, torchvision's."""

    width: int = option(64, "channels of the stem; all others are multiples of it", **_SIZE)
    blocks: tuple[int, ...] = option((3, 4, 6, 3), "bottleneck blocks by stage", **_DEPTH, **_STAGES)
    stem: str = option("plain", "a 7x7 convolution, or the three of 3x3 of ResNet-C", choices=("plain", "C"))
    pool: str = _pool("gap")
    dim: int | None = _dim()

    def check_rules(self, at: str) -> None:
        """Raises UserError for a width that has no half."""
        if self.stem == "C" and self.width % 2:
            raise UserError(f"{at}width={self.width} must be even with the stem 'C', whose first convolutions halve it")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNet101Options(ResNet50Options):
    """Of ResNet-101, torchvision's."""

    blocks: tuple[int, ...] = option((3, 4, 23, 3), "bottleneck blocks by stage", **_DEPTH, **_STAGES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EfficientNetLiteOptions:
    """Of EfficientNet-Lite; the defaults are Lite0's (Tan & Le 2019, Table 1)."""

    stem_width: int = option(32, "channels of the stem", **_SIZE)
    widths: tuple[int, ...] = option(
        (16, 24, 40, 80, 112, 192, 320), "output channels by group of blocks", **_SIZE, entries=(1, 7)
    )
    blocks: tuple[int, ...] = option((1, 2, 2, 3, 3, 4, 1), "inverted residuals by group", **_DEPTH, entries=(1, 7))
    head_width: int = option(1280, "channels of the last maps", **_SIZE)
    momentum: float = option(
        0.99,
        "how much of batch normalisation's running statistics a step keeps; PyTorch calls the rest momentum",
        at_least=0,
        at_most=1,
    )
    pool: str = _pool("gap")
    dim: int | None = _dim()

    def check_rules(self, at: str) -> None:
        """Raises UserError for groups without both."""
        if len(self.widths) != len(self.blocks):
            raise UserError(
                f"{at}widths={self.widths} and {at}blocks={self.blocks}: an EfficientNet takes a width and a number of "
                "blocks for each group"
            )


MODELS = Table(
    "models",
    {
        "cnn": Choice(CnnOptions, "fsjax.models.convnet:cnn"),
        "mnist_2d": Choice(Mnist2dOptions, "fsjax.models.convnet:mnist_2d"),
        "mnist_100d": Choice(Mnist100dOptions, "fsjax.models.convnet:mnist_100d"),
        "c64f": Choice(Conv4Options, "fsjax.models.convnet:conv4"),
        "c128f": Choice(C128fOptions, "fsjax.models.convnet:conv4"),
        "vgg13": Choice(Vgg13Options, "fsjax.models.vgg:vgg13"),
        "resnet12": Choice(ResNet12Options, "fsjax.models.resnet12:resnet12"),
        "resnet18_cifar": Choice(ResNetCifarOptions, "fsjax.models.resnet_cifar:resnet18_cifar"),
        "resnet32": Choice(ResNet32Options, "fsjax.models.resnet_cifar:resnet32"),
        "resnet32_bbn": Choice(ResNet32Options, "fsjax.models.resnet_cifar:resnet32_bbn"),
        "wrn28_10": Choice(WideResNetOptions, "fsjax.models.wide_resnet:wide_resnet"),
        "resnet18": Choice(ResNet18Options, "fsjax.models.resnet:resnet18"),
        "resnet50": Choice(ResNet50Options, "fsjax.models.resnet:bottleneck_resnet"),
        "resnet101": Choice(ResNet101Options, "fsjax.models.resnet:bottleneck_resnet"),
        "efficientnet_lite0": Choice(EfficientNetLiteOptions, "fsjax.models.efficientnet:efficientnet_lite0"),
    },
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which network, and how it computes."""

    name: str = option("", "the network", choices=MODELS)
    dtype: str = option(
        "float32",
        "of the computation; parameters, statistics and embeddings stay float32",
        choices=("float32", "bfloat16"),
    )
    sync_batch_norm: bool = option(
        True, "whether batch statistics are over all devices, so that the number of devices changes nothing"
    )
    remat: bool = option(
        False, "whether the gradient computes each block again instead of keeping it: less memory, more time"
    )
