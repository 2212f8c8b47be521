"""Networks that others trained, used as runs are."""

import dataclasses
import functools
from typing import ClassVar

from fsjax import data, networks
from fsjax.errors import UserError
from fsjax.methods.base import Method
from fsjax.run_summary import Summary, summarize_folder, summarize_network
from fsjax.runs.run import Run


class PublishedNetwork(Run):
    """A network that others trained; see `network`. It has no data of its own here."""

    # By a point or two the best on photographs of new classes, with one picture of each class as with ten.
    preferred_head: ClassVar[str] = "ridge"

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.info.image_shape))
        dim = self._shapes("embed").shape[1]
        return (
            f"Network({self.config.name!r}: {self.info.num_classes:,} classes of {self.info.name}, images {shape}, "
            f"embeddings {dim}-d)"
        )

    @property
    def _summary(self) -> Summary:
        dim = self._shapes("embed").shape[1]
        published = networks.NETWORKS[self.config.name]
        return summarize_network(published, info=self.info, params=self.params, method=self.method, dim=dim)

    def splits(self, *, data_path: str = "") -> data.Splits:
        """Refused: the data that it was trained on are not here."""
        raise UserError(
            f"{self.workdir} is no run of yours, and the images that it was trained on are not here: "
            "name other pictures (--source NAME, --data-path FOLDER)"
        )


@dataclasses.dataclass(frozen=True, repr=False, kw_only=True)
class FolderRun(PublishedNetwork):
    """A network of a folder, or of the hub; see `network`. It has no classes of its own.

    Attributes:
      source: where it is from, and what is known of it.
    """

    source: networks.FolderNetwork

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.info.image_shape))
        dim = self._shapes("embed").shape[1]
        return f"Network({self.source.name!r}: {self.source.layout.kind}, images {shape}, embeddings {dim}-d)"

    @functools.cached_property
    def method(self) -> Method:
        """As `Run.method`."""
        return self.source.method()

    @property
    def _summary(self) -> Summary:
        dim = self._shapes("embed").shape[1]
        return summarize_folder(self.source, info=self.info, params=self.params, method=self.method, dim=dim)
