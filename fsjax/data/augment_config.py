"""The fields of `config.data.augment`, their defaults, and the checks on them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fsjax.data.errors import DataError
from fsjax.data.fields import check_choice, parse_fields

CROPS = ("none", "pad", "random_resized")


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """How training images are varied, in this order; formulas are in `fsjax.data.augment` and `fsjax.data.colors`.

    Attributes:
      rotate: degrees; the image is turned about its centre by an angle uniform in -rotate..rotate, bilinear, black
        outside; 0 is off. Crops of "random_resized" are turned after they are cut.
      crop: "pad" (black border of `pad` pixels, then a random crop of the old size), "random_resized" (a
        random 8-100 % of the area at aspect ratio 3/4-4/3, resized to `image_size`) or "none".
      pad: width in pixels of the border of crop "pad".
      flip: mirror left-right with probability 1/2.
      brightness, contrast, saturation: blend with black, with the image's mean grey, or with its grey version, by a
        factor uniform in 1-x..1+x; nothing is clipped, so their order has no effect. 0 is off.
      lighting: standard deviation of the noise along the main directions of ImageNet's colours (Krizhevsky et al.
        2012); 0 is off.
      cutout: side in pixels of a square about a centre uniform over the pixels of the image, which is set to 0 after
        normalisation: the mean colour of normalization "dataset" (DeVries & Taylor 2017); 0 is off. As in their code,
        `cutout // 2` pixels before the centre and as many from it on are cut out, so that an odd side is that of
        the even number below it, and what lies outside of the image is lost. Boxes are of no concern to it.
      mixup: alpha of mixup's Beta(alpha, alpha) (Zhang et al. 2018), of images with their holes; 0 is off.
    """

    rotate: float = 0.0
    crop: str = "none"
    pad: int = 0
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    lighting: float = 0.0
    cutout: int = 0
    mixup: float = 0.0

    @property
    def colors(self) -> bool:
        """Whether anything changes colours."""
        return bool(self.brightness or self.contrast or self.saturation or self.lighting)


def in_words(augment: AugmentConfig) -> str:
    """What is varied, such as "rotate=20, flip"; "" for nothing."""
    chosen = {name: value for name, value in vars(augment).items() if value != getattr(AugmentConfig, name)}
    return ", ".join(
        name if value is True else f"{name}={value}" if isinstance(value, str) else f"{name}={value:g}"
        for name, value in chosen.items()
    )


def parse_augmentation(augmentation: Mapping[str, Any]) -> AugmentConfig:
    """The checked augmentation of a mapping, as `fsjax.data.config.parse_config` for `config.data.augment`."""
    parsed = parse_fields(AugmentConfig, augmentation, "data.augment")
    check_augmentation(parsed)
    return parsed


def check_augmentation(augment: AugmentConfig) -> None:
    """Raise a `UserError` for an augmentation that cannot be meant."""
    check_choice("data.augment.crop", augment.crop, CROPS)
    if augment.pad < 0:
        raise DataError(f"data.augment.pad={augment.pad} must not be negative")
    if augment.pad and augment.crop != "pad":
        raise DataError(
            f'data.augment.pad={augment.pad} has no effect with crop="{augment.crop}": set crop="pad", or pad=0'
        )
    if not 0 <= augment.rotate <= 180:
        raise DataError(f"data.augment.rotate={augment.rotate:g} is a largest angle in degrees: 0 (off) to 180")
    for name in ("brightness", "contrast", "saturation"):
        amount = getattr(augment, name)
        if not 0 <= amount <= 1:
            raise DataError(f"data.augment.{name}={amount:g} varies a factor about 1: it must be in 0 (off) to 1")
    if augment.cutout < 0 or augment.cutout == 1:
        raise DataError(
            f"data.augment.cutout={augment.cutout} is the side of a square in pixels, half of it on either side of its "
            "centre: 0 (off) or at least 2"
        )
    for name in ("lighting", "mixup"):
        if getattr(augment, name) < 0:
            what = "the alpha of Beta(alpha, alpha)" if name == "mixup" else "a standard deviation"
            raise DataError(f"data.augment.{name}={getattr(augment, name)} is {what}: 0 (off) or more")


def check_images(augment: AugmentConfig, image_shape: tuple[int, int, int]) -> None:
    """Raise a `DataError` for what cannot be done to images of this height, width and number of channels."""
    height, width, channels = image_shape
    check_channels(augment, channels)
    # From here on it would cut out every pixel, wherever its centre lies.
    if augment.cutout and augment.cutout // 2 >= max(height, width):
        raise DataError(
            f"data.augment.cutout={augment.cutout} leaves nothing of images of {height}×{width} (height × width): set "
            f"it below {2 * max(height, width)}; half of their side is usual"
        )


def check_channels(augment: AugmentConfig, channels: int) -> None:
    """Raise a `DataError` for changes of colour in grey images."""
    for name in ("saturation", "lighting"):
        if getattr(augment, name) and channels != 3:
            raise DataError(
                f"data.augment.{name}={getattr(augment, name):g} changes colours, and the images are grey: set it to "
                "0, or data.channels=3"
            )
