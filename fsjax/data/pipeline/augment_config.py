"""The options of `config.data.augment`, and what of them images do not allow."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fsjax.data.errors import DataError
from fsjax.options import option, read


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """How training images are varied, in this order; formulas are in `augment` and `colors` beside it.

    An image is turned about its centre by an angle uniform in -rotate..rotate, bilinear, black outside; crops of
    "random_resized" are turned after they are cut. The crop "pad" is a black border and a random crop of the old size;
    "random_resized" is a random 8-100 % of the area at aspect ratio 3/4-4/3, resized to `image_size`. Brightness,
    contrast and saturation blend with black, with the image's mean grey, or with its grey version; nothing is clipped,
    so their order has no effect. The noise of lighting is along the main directions of ImageNet's colours (Krizhevsky
    et al. 2012).

    A square of cutout lies about a centre uniform over the pixels of the image, and is set to 0 after normalisation:
    the mean colour of normalization "dataset" (DeVries & Taylor 2017). As in their code, `cutout // 2` pixels before
    the centre and as many from it on are cut out, so that an odd side is that of the even number below it, and what
    lies outside of the image is lost. Boxes are of no concern to it. Mixup (Zhang et al. 2018) is of images with their
    holes.
    """

    rotate: float = option(0.0, "largest angle in degrees; 0: off", at_least=0, at_most=180)
    crop: str = option("none", "see pad; random_resized crops full images", choices=("none", "pad", "random_resized"))
    pad: int = option(0, "width in pixels of the border of crop pad", at_least=0, at_most=1_000)
    flip: bool = option(False, "mirror left-right with probability 1/2")
    brightness: float = option(0.0, "by a factor uniform in 1-x..1+x; 0: off", at_least=0, at_most=1)
    contrast: float = option(0.0, "by a factor uniform in 1-x..1+x; 0: off", at_least=0, at_most=1)
    saturation: float = option(0.0, "by a factor uniform in 1-x..1+x; 0: off", at_least=0, at_most=1)
    lighting: float = option(0.0, "standard deviation of the noise; 0: off", at_least=0, at_most=10)
    cutout: int = option(0, "side in pixels of a square that is cut out; 0: off", at_least=2, at_most=10_000, or_=(0,))
    mixup: float = option(0.0, "alpha of the Beta(alpha, alpha) of the shares; 0: off", at_least=0, at_most=100)

    def check_rules(self, at: str) -> None:
        """Raise a `DataError` for a border without its crop."""
        if self.pad and self.crop != "pad":
            raise DataError(
                f'{at}pad={self.pad} has no effect with {at}crop="{self.crop}": set {at}crop="pad", or {at}pad=0'
            )

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
    return read(AugmentConfig, augmentation, "config.data.augment")


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
