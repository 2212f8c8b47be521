"""Whether pictures may be none of the classes: what can be asked for, and the threshold."""

import math

import numpy as np

from fsjax.errors import UserError
from fsjax.labelling.calibration import Threshold, choose_threshold
from fsjax.labelling.classifier import Classifier
from fsjax.labelling.support import Support

NONE_OF_THESE = "none of these"


def check_reject(reject: bool | float) -> None:
    """Raise a `UserError` unless this is a threshold, or says whether there is one."""
    if not isinstance(reject, bool) and not math.isfinite(reject):
        raise UserError(f"reject={reject} must be a number, the least similarity of a picture of a class")


def check_rejection(known: Support, reject: bool | float, *, implants: bool) -> None:
    """Raise a `UserError` for a class called as rejected pictures are, or too few pictures to choose a threshold."""
    if reject is not False and NONE_OF_THESE in known.class_names:
        raise UserError(f"a class folder is called {NONE_OF_THESE!r}, as rejected pictures are: rename it")
    counts = known.different
    if reject is True and ((min(counts) < 3) if implants else (max(counts) < 2)):
        least = "every class needs at least 3 with implants" if implants else "at least one class needs 2 or more"
        least += ", copies not counted" if counts != known.counts else ""
        raise UserError(
            "a threshold of 'none of these' is chosen by leaving support pictures out of their class, and there are "
            f"too few: {least}; add some, or give the threshold"
        )


def threshold_of(classifier: Classifier, reject: bool | float) -> Threshold | None:
    """The threshold given, or for True one chosen on the support pictures left out; for False None.

    Args:
      classifier: fitted on pictures that `check_rejection` has passed.
      reject: see `fsjax.labelling.label`.
    """
    if reject is False:
        return None
    if reject is not True:
        return Threshold(float(reject))
    held_out = classifier.held_out
    assert held_out is not None, "check_rejection has seen to it"
    unknown = held_out.unknown[np.isfinite(held_out.unknown)]
    implants = classifier.network is not classifier.frozen
    return choose_threshold(held_out.known[held_out.tested], unknown, implants=implants)
