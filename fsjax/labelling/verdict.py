"""Whether labels can be trusted at all: how the support pictures do against guessing, and against raw pixels."""

import dataclasses

import numpy as np

from fsjax.evaluation.few_shot.statistics import wilson_interval
from fsjax.labelling.held_out import HeldOut, leave_one_out
from fsjax.methods.rules import Rule

# Of raw pixels: pictures are averaged to about this side before they are compared.
_SIDE = 16
# Where this share is right, nothing is said of raw pixels: the classes differ by colour, say.
_CLEAR = 0.9


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How the support pictures left out were labelled, beside what needs no network.

    Attributes:
      right, tested: so many of so many.
      guessing: share that the largest class alone would give.
      pixels: share that the nearest mean of raw pixels labels rightly, of the same pictures.
    """

    right: int
    tested: int
    guessing: float
    pixels: float

    @property
    def doubt(self) -> str:
        """Why these labels cannot be trusted, and what to do; "" where nothing speaks against them."""
        share = self.right / self.tested
        low, _ = wilson_interval(self.right, self.tested)
        found = (
            f"of {self.tested} support pictures left out, {100 * share:.0f} % are labelled rightly, and "
            f"{{}}: do not rely on these labels. Give more support pictures of each class, fewer or more different "
            "classes, or a network that knows such pictures (fsjax networks, --run)"
        )
        if low <= self.guessing:
            return found.format(f"guessing gives {100 * self.guessing:.0f} %")
        if share < _CLEAR and low <= self.pixels:
            return found.format(f"comparing raw pixels, without any network, {100 * self.pixels:.0f} %")
        return ""


def verdict_of(held_out: HeldOut | None, images: np.ndarray, num_classes: int, copies: np.ndarray) -> Verdict | None:
    """The verdict on a classifier; None where no picture can be left out.

    Args:
      held_out: the classifier's.
      images: uint8 `[n, h, w, c]`, the support pictures.
      num_classes: how many classes.
      copies: see `fsjax.labelling.held_out.first_copies`.
    """
    if held_out is None or not held_out.tested.any():
        return None
    labels, tested = held_out.labels, held_out.tested
    rule = Rule("squared_euclid", "embedding", "embedding", 1.0)
    pixels = leave_one_out({"embedding": _small(images)}, labels, num_classes, rule, copies=copies)
    counts = np.bincount(labels[tested])
    return Verdict(held_out.right, int(tested.sum()), float(counts.max() / counts.sum()), pixels.right / tested.sum())


def _small(images: np.ndarray) -> np.ndarray:
    """Pictures as vectors of the means of their blocks, float32 `[n, ...]`."""
    step = max(1, -(-min(images.shape[1:3]) // _SIDE))
    height, width = (side // step * step for side in images.shape[1:3])
    blocks = images[:, :height, :width].reshape(len(images), height // step, step, width // step, step, -1)
    return np.asarray(blocks.mean((2, 4), dtype=np.float32).reshape(len(images), -1))
