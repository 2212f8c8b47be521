"""Networks of `fsjax.models` in PyTorch, for benchmarks/accelerator_torch.py to time: VGG-13 and the ResNets.

Written as theirs are: convolutions without bias and padded by half of the kernel, batch normalisation, ReLU in place,
no fully connected layer. Modules have the names that the parameters of ours have, so that weights can be handed over.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.resnet12_torch import ResNet12


class ConvBN(nn.Module):
    """A convolution, batch normalisation, and a ReLU unless `relu` is False: `[batch, inputs, h, w]` to `outputs`."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, relu: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer."""
        x = self.bn(self.conv(x))
        return F.relu(x, inplace=True) if self.relu else x


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    EXPANSION = 1

    def __init__(self, inputs: int, features: int, stride: int):
        super().__init__()
        self.conv1 = ConvBN(inputs, features, stride=stride)
        self.conv2 = ConvBN(features, features, relu=False)
        self.shortcut = _shortcut(inputs, features, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[batch, inputs, h, w]` to `[batch, features, h / stride, w / stride]`."""
        return F.relu(self.conv2(self.conv1(x)) + self.shortcut(x), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolutions to four times the features, and a shortcut."""

    EXPANSION = 4

    def __init__(self, inputs: int, features: int, stride: int):
        super().__init__()
        self.conv1 = ConvBN(inputs, features, kernel=1)
        self.conv2 = ConvBN(features, features, stride=stride)
        self.conv3 = ConvBN(features, 4 * features, kernel=1, relu=False)
        self.shortcut = _shortcut(inputs, 4 * features, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[batch, inputs, h, w]` to `[batch, 4 * features, h / stride, w / stride]`."""
        return F.relu(self.conv3(self.conv2(self.conv1(x))) + self.shortcut(x), inplace=True)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return ConvBN(inputs, outputs, kernel=1, stride=stride, relu=False)


class Pooled(nn.Sequential):
    """Named layers one after the other, and the mean over positions: `[batch, 3, h, w]` to `[batch, dim]` float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The embeddings."""
        return super().forward(x).float().mean((2, 3))


def vgg13(*, widths: Sequence[int] = (96, 192, 384), convs: Sequence[int] = (5, 4, 4)) -> nn.Module:
    """`fsjax.models.vgg.vgg13`: 3x3 convolutions in three stages, 2x2 max-pooling between them."""
    network, inputs = Pooled(), 3
    for stage, (width, count) in enumerate(zip(widths, convs, strict=True), 1):
        if stage > 1:
            network.add_module(f"pool{stage - 1}", nn.MaxPool2d(2))
        for index in range(1, count + 1):
            network.add_module(f"stage{stage}_conv{index}", ConvBN(inputs, width))
            inputs = width
    return network


def _add_blocks(network: nn.Module, block: Any, inputs: int, width: int, blocks: Sequence[int]) -> None:
    """Stages of residual blocks; the first keeps the size, each other halves it and doubles the features."""
    for stage, count in enumerate(blocks, 1):
        features = width * 2 ** (stage - 1)
        for index in range(1, count + 1):
            stride = 2 if stage > 1 and index == 1 else 1
            network.add_module(f"stage{stage}_block{index}", block(inputs, features, stride))
            inputs = features * block.EXPANSION


def resnet18_cifar(*, width: int = 64, blocks: Sequence[int] = (2, 2, 2, 2)) -> nn.Module:
    """`fsjax.models.resnet_cifar.resnet18_cifar`: a 3x3 stem, no pooling, basic blocks."""
    network = Pooled()
    network.add_module("stem", ConvBN(3, width))
    _add_blocks(network, BasicBlock, width, width, blocks)
    return network


def resnet101(*, width: int = 64, blocks: Sequence[int] = (3, 4, 23, 3)) -> nn.Module:
    """`fsjax.models.resnet.resnet101`: torchvision's, with the plain 7x7 stem and its max-pooling."""
    network = Pooled()
    network.add_module("stem", ConvBN(3, width, kernel=7, stride=2))
    network.add_module("pool", nn.MaxPool2d(3, stride=2, padding=1))
    _add_blocks(network, Bottleneck, width, width, blocks)
    return network


def resnet12(*, widths: Sequence[int] = (64, 128, 256, 512)) -> nn.Module:
    """`fsjax.models.resnet12.resnet12` with swish."""
    return ResNet12(widths)


# By the name of the network of ours.
NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "resnet12": resnet12,
    "vgg13": vgg13,
    "resnet18_cifar": resnet18_cifar,
    "resnet101": resnet101,
}


class Classifier(nn.Module):
    """A network and a linear classifier: images and labels to the mean softmax cross-entropy.

    Args:
      network: images to `[batch, dim]` float32.
      classes: how many there are.
      dtype: "bfloat16" runs the network, and not the classifier, under autocast.
    """

    def __init__(self, network: nn.Module, classes: int, dtype: str):
        super().__init__()
        self.network, self.dtype = network, dtype
        self.head = nn.Linear(_dim(network), classes)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of `[batch, 3, h, w]` float32 images and `[batch]` labels."""
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self.dtype == "bfloat16"):
            features = self.network(images)
        return F.cross_entropy(self.head(features), labels)


def _dim(network: nn.Module) -> int:
    """Of the embedding: the channels of the last normalisation."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)][-1].num_features
