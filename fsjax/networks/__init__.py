"""Networks that others trained, by name, folder or hub name: `fsjax.network("efficientnet_lite0")`.

To add one, write a `Published` in a file of its family, and add its line to `NETWORKS`.
"""

from fsjax.errors import unknown
from fsjax.networks import efficientnet, folder
from fsjax.networks.folder import FolderNetwork
from fsjax.networks.published import Opened, Published

__all__ = ["DEFAULT", "NETWORKS", "FolderNetwork", "Opened", "Published", "folder", "published"]

NETWORKS: dict[str, Published] = {one.name: one for one in (efficientnet.LITE0, efficientnet.LITE1, efficientnet.LITE2)}

# The network of `fsjax predict` where no other is named.
DEFAULT = "efficientnet_lite0"


def published(name: str) -> Published:
    """The network of this name.

    Raises:
      UserError: for an unknown name; it lists the known ones.
    """
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    return NETWORKS[name]
