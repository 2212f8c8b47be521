"""The ResNet-12 of `fsjax.models.resnet12` in PyTorch, for benchmarks/resnet12.py to race against.

Eager, channels-last, as few-shot learning's PyTorch code has it (Meta-Baseline's `resnet12.py`, with swish).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Three 3x3 convolutions and a 1x1 shortcut, summed, activated and max-pooled."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        self.conv3, self.bn3 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut, self.shortcut_bn = nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[batch, c, h, w]` to `[batch, outputs, h // 2, w // 2]`."""
        y = F.silu(self.bn1(self.conv1(x)), inplace=True)
        y = F.silu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y)) + self.shortcut_bn(self.shortcut(x))
        return F.max_pool2d(F.silu(y, inplace=True), 2)


class ResNet12(nn.Module):
    """The blocks, and the mean over positions.

    Args:
      widths: output channels by block.
      backbone: parameters of the linen backbone, to start from the same weights; None: from PyTorch's own.
    """

    def __init__(self, widths: Sequence[int], backbone: Mapping[str, Any] | None = None):
        super().__init__()
        self.blocks = nn.ModuleList(Block(i, o) for i, o in zip((3, *widths), widths, strict=False))
        if backbone is None:
            return
        with torch.no_grad():
            for number, block in enumerate(self.blocks, 1):
                for name in ("conv1", "conv2", "conv3", "shortcut"):
                    kernel = np.array(backbone[f"stage{number}"][name]["conv"]["kernel"])
                    getattr(block, name).weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[batch, 3, h, w]` to `[batch, widths[-1]]` float32."""
        for block in self.blocks:
            x = block(x)
        return x.float().mean((2, 3))


def runs(
    widths: Sequence[int],
    backbone: Mapping[str, Any],
    weights: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    dtype: str,
    head: str,
) -> dict[str, Callable[[], Any]]:
    """The network's training step and its embedding, each a function without arguments.

    Args:
      widths: output channels by block.
      backbone: parameters of the linen backbone.
      weights: `[dim, classes]` of the classifier.
      images: `[batch, h, w, 3]` float32.
      labels: `[batch]` integers.
      dtype: "float32", or "bfloat16" by autocast.
      head: "linear" or "cosine" (temperature 10).

    Returns:
      "embed", which returns the `[batch, dim]` NumPy embeddings, and "train", which returns the loss.
    """
    network = ResNet12(widths, backbone).to(memory_format=torch.channels_last)
    classifier = nn.Parameter(torch.from_numpy(weights.copy()))
    optimizer = torch.optim.SGD([*network.parameters(), classifier], lr=0.01, momentum=0.9, nesterov=True)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).contiguous(memory_format=torch.channels_last)
    y = torch.from_numpy(labels.astype(np.int64))

    def features() -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            return network(x)

    def embed() -> np.ndarray:
        network.eval()
        with torch.inference_mode():
            return features().numpy()

    def train() -> float:
        network.train()
        optimizer.zero_grad()
        embedding = features()
        if head == "cosine":
            logits = 10 * F.normalize(embedding) @ F.normalize(classifier, dim=0)
        else:
            logits = embedding @ classifier
        loss = F.cross_entropy(logits, y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return {"embed": embed, "train": train}
