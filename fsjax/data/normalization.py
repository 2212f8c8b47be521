"""The mean and the deviation that images are normalised by."""

import numpy as np

from fsjax.data import random
from fsjax.data.errors import DataError
from fsjax.data.examples import ArrayExamples, Examples

# Of a stream, so many training images (drawn with a fixed seed) give the mean and the standard deviation.
STATISTICS_IMAGES = 10_000
FIXED_SEED = 0
# Of ImageNet's training images, as torchvision and fb.resnet.torch have them: what pretrained networks expect.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def mean_and_deviation(name: str, train: Examples, notes: list[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by channel, of images in 0..1.

    Args:
      name: one of `fsjax.data.config.NORMALIZATIONS`.
      train: the training split.
      notes: appended to, where they are those of a sample, or ImageNet's.

    Raises:
      DataError: for ImageNet's with images that have no three channels.
    """
    channels = (train.images.shape if isinstance(train, ArrayExamples) else train.reference.shape)[-1]
    if name == "imagenet":
        if channels != 3:
            raise DataError(
                f'data.normalization="imagenet" is by red, green and blue, and the images have {channels} channel: set '
                'data.channels=3, or normalization="dataset"'
            )
        notes.append("mean and deviation are those of ImageNet, as pretrained networks expect")
        return IMAGENET
    if name == "half":
        return (128 / 255,) * channels, (128 / 255,) * channels
    if name == "lite":
        return (127 / 255,) * channels, (128 / 255,) * channels
    if name == "none":
        return (0.0,) * channels, (1.0,) * channels
    # A histogram a channel: exact, and without a float copy of the images.
    counts = np.zeros((channels, 256), np.int64)
    if isinstance(train, ArrayExamples):
        for start in range(0, len(train), 1000):
            _count_values(counts, train.images[start : start + 1000])
    else:
        order = random.permutation(random.fold(random.key(FIXED_SEED), random.STATISTICS), len(train))
        sample = order[:STATISTICS_IMAGES]
        if len(sample) < len(train):
            notes.append(f"mean and deviation are those of {len(sample):,} training images, drawn at random")
        for position in sample:
            _count_values(counts, train.image(position))
    values = np.arange(256) / 255
    total = counts.sum(axis=1)
    mean = counts @ values / total
    variance = counts @ np.square(values) / total - np.square(mean)
    # A constant channel has no deviation to divide by; one grey level stands for it.
    std = np.sqrt(np.maximum(variance, (1 / 255) ** 2))
    return tuple(mean.tolist()), tuple(std.tolist())


def _count_values(counts: np.ndarray, images: np.ndarray) -> None:
    for channel, row in enumerate(counts):
        row += np.bincount(images[..., channel].ravel(), minlength=256)
