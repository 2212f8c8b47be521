"""A classifier that looks at a crop of the image, where AttNet and AffNet say (Hanselmann & Ney, Fig. 1)."""

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.models.affnet import AffNet, Preprocess
from fsjax.models.attnet import AttNet
from fsjax.models.crop import affine_crop, scale_gradient
from fsjax.models.encoder import Encoded, Encoder

# Of the crop's scales, with `clip_theta`.
SCALES = (0.05, 1.5)


@flax.struct.dataclass
class Localized(Encoded):
    """What a `LocalizedEncoder` says about images: embedding and maps of their crops, and where these are.

    Attributes:
      attention: `[batch, h, w]` float32, AttNet's map of the whole image, not normalised.
      theta: `[batch, 4]` float32, AffNet's box (see `fsjax.models.boxes`), not clipped.
      crop: `[batch, *crop_size, channels]`, normalised images, in float32.
    """

    attention: jax.Array
    theta: jax.Array
    crop: jax.Array


class LocalizedEncoder(nn.Module):
    """Image -> attention map -> box -> crop -> classifier.

    Attributes:
      classifier: the network that sees the crop.
      attnet, preprocess, affnet: the localizer.
      crop_size: (height, width) that the box is resized to.
      align_corners, padding: see `fsjax.models.crop.affine_crop`.
      clip_theta: whether the crop's scales are kept within `SCALES`.
      beta_att, beta_aff: factors of the gradients that come back to the attention map from all that follows it, and to
        theta from the classifier (Eq. 3 and 8). What reads this module's `attention` and `theta` is not scaled.
    """

    classifier: Encoder
    attnet: AttNet
    preprocess: Preprocess
    affnet: AffNet
    crop_size: tuple[int, int]
    align_corners: bool
    padding: str
    clip_theta: bool
    beta_att: float
    beta_aff: float

    @property
    def pool(self) -> str:
        """Of the classifier's last maps."""
        return self.classifier.pool

    @property
    def goes_on(self) -> bool:
        """Whether the embedding is more than pooled maps."""
        return self.classifier.goes_on

    def __call__(self, images: jax.Array, *, train: bool) -> Localized:
        """What the networks say of normalised images `[batch, h, w, c]`; `train` as for `Encoder`."""
        attention = self.attnet(images, train=train)
        prepared = self.preprocess(scale_gradient(attention, self.beta_att))
        theta = self.affnet(prepared, train=train)
        crop = self.cropped(images, scale_gradient(theta, self.beta_aff))
        seen = self.classifier(crop, train=train)
        return Localized(seen.embedding, seen.maps, attention, theta, crop)

    def cropped(self, images: jax.Array, theta: jax.Array) -> jax.Array:
        """The boxes of images as the classifier sees them, `[batch, *crop_size, c]`."""
        return affine_crop(
            images, self.sampled(theta), size=self.crop_size, align_corners=self.align_corners, padding=self.padding
        )

    def sampled(self, theta: jax.Array) -> jax.Array:
        """theta `[batch, 4]` as the crop is made of it: clipped, with `clip_theta`."""
        if not self.clip_theta:
            return theta
        return jnp.concatenate([jnp.clip(theta[:, :2], *SCALES), theta[:, 2:]], axis=1)

    def whole_image_attention(self, images: jax.Array) -> jax.Array:
        """M of whole images: `attention_of` the classifier's maps of them, batch norm in inference mode."""
        whole = jnp.broadcast_to(jnp.array([1.0, 1.0, 0.0, 0.0]), (images.shape[0], 4))
        return attention_of(self.classifier(self.cropped(images, whole), train=False))


def attention_of(encoded: Encoded) -> jax.Array:
    """M, the mean over the channels of the last feature maps (Zhou et al. 2016): `[batch, h, w]`, float32."""
    return jnp.mean(list(encoded.maps.values())[-1].astype(jnp.float32), axis=-1)
