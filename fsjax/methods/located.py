"""Where a method sees an object.

Internal: no part of the public interface.
"""

import flax
import jax


@flax.struct.dataclass
class Located:
    """Where an object is, by the parts of the method; boxes are (ymin, xmin, ymax, xmax) in 0..1 of the image.

    Attributes:
      box: `[batch, 4]`, what the classifier's crop shows: AffNet's.
      attention_box: `[batch, 4]`, the box of AttNet's map above tau, without AffNet.
      classifier_box: `[batch, 4]`, that of M, the classifier's own map of the whole image.
      attention: `[batch, h, w]`, AttNet's map.
      crop: `[batch, height, width, channels]`, normalised.
    """

    box: jax.Array
    attention_box: jax.Array
    classifier_box: jax.Array
    attention: jax.Array
    crop: jax.Array
