"""How pictures of any size come to the network's size where nothing is drawn at random, and their boxes with them."""

import dataclasses

import numpy as np

from fsjax.data.config import DataConfig
from fsjax.data.pictures import centre_crop, stretch


@dataclasses.dataclass(frozen=True)
class View:
    """What evaluation sees of a picture, and training too but for its random crops.

    Attributes:
      image_size: side of the square; 0 leaves pictures as they are.
      fit: "crop" (the centred square) or "stretch" (the whole picture, whatever its aspect).
      share: of the shorter side that the centred square keeps.
      resize: the filter, one of `fsjax.data.config.RESIZE`.
    """

    image_size: int
    fit: str = DataConfig.fit
    share: float = 1.0
    resize: str = DataConfig.resize

    @property
    def cuts(self) -> bool:
        """Whether parts of pictures may be cut off, so that boxes depend on the pictures' sizes."""
        return bool(self.image_size) and self.fit == "crop"

    def image(self, picture: np.ndarray) -> np.ndarray:
        """uint8 `[height, width, channels]` as uint8 `[image_size, image_size, channels]`."""
        if not self.image_size:
            return picture
        if self.fit == "stretch":
            return stretch(picture, self.image_size, resize=self.resize)
        return centre_crop(picture, self.image_size, self.share, resize=self.resize)

    def boxes(self, boxes: np.ndarray, sizes: np.ndarray | None) -> np.ndarray:
        """Boxes of pictures as boxes of what is seen of them.

        Args:
          boxes: `[n, 4]`: ymin, xmin, ymax, xmax in 0..1 of the picture.
          sizes: `[n, 2]`, height and width of the pictures; used only if the view `cuts`.

        Returns:
          float32 `[n, 4]` in 0..1 of what is seen, NaN where it holds nothing of the box.
        """
        if not self.cuts:
            return boxes.astype(np.float32)
        if sizes is None:
            raise ValueError("a view that cuts parts off needs the pictures' sizes to say what is left of boxes")
        sides, start = self._squares(sizes)
        corners = (boxes.reshape(-1, 2, 2).astype(np.float64) * sizes[:, None] - start[:, None]) / sides[:, None]
        corners = corners.clip(0, 1)
        seen = (corners[:, 1] > corners[:, 0]).all(axis=1)
        return np.where(seen[:, None], corners.reshape(-1, 4), np.nan).astype(np.float32)

    def in_pictures(self, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """The inverse of `boxes`: boxes of what is seen, as boxes of the pictures; float64 `[n, 4]`."""
        boxes = boxes.astype(np.float64)
        if not self.cuts:
            return boxes
        sides, start = self._squares(sizes)
        return ((boxes.reshape(-1, 2, 2) * sides[:, None] + start[:, None]) / sizes[:, None]).reshape(-1, 4)

    def _squares(self, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Side `[n, 1]` and upper left corner `[n, 2]` in pixels of what is seen of pictures of these sizes."""
        sides = self.share * sizes.min(axis=1, keepdims=True)
        return sides, (sizes - sides) / 2
