"""End-to-end localization (Hanselmann & Ney, "Fine-Grained Visual Classification with Efficient End-to-end
Localization"): a crop is learned with the classifier that sees it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jax import lax
from ml_collections import ConfigDict

from fsjax.errors import UserError
from fsjax.methods.base import DataFacts, Variables, build_encoder, only
from fsjax.methods.classification import Classification, build_config_loss
from fsjax.methods.located import Located
from fsjax.models import Encoded, Encoder
from fsjax.models.affnet import AffNet, Preprocess
from fsjax.models.attnet import AttNet
from fsjax.models.boxes import by_edges, corners_of_theta, target_theta, theta_iou
from fsjax.models.crop import affine_crop
from fsjax.models.localized import Localized, LocalizedEncoder, attention_of
from fsjax.options import read
from fsjax.options.methods import LocalizationOptions


@dataclasses.dataclass(frozen=True)
class Localization(Classification):
    """Classification of crops; AttNet and AffNet learn from its loss and from two self-supervised ones (Eq. 1).

    AttNet learns to predict M, the mean of the classifier's last maps, and AffNet the box of M's values above tau. No
    label but the class is read, and no gradient of these two losses reaches the classifier.

    Attributes:
      m_source: where M comes from: "full_image", a second forward pass of the classifier over the whole image;
        "crop_remapped", its map of the crop, put back to where it is in the image; "crop", that map as if it were the
        whole image's.
      tau: the threshold of the box, in units of the min-max normalised M.
      lambda_att, lambda_aff: weights of the two losses.
    """

    m_source: str
    tau: float
    lambda_att: float
    lambda_aff: float

    pretrained: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "network": ("classifier", "backbone"),
        "attnet": ("attnet", "trunk"),
    }

    def encode(self, params: Variables, collections: Variables, images: jax.Array) -> Localized:
        """Where the crops of normalised images `[batch, h, w, c]` are, and what `Method.encode` says of them."""
        return cast(Localized, super().encode(params, collections, images))

    def auxiliary(
        self, params: Variables, collections: Variables, images: jax.Array, encoded: Encoded
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """L_att + L_aff (Eq. 2 and 7) of the global batch, and what the log says of the localizer.

        Metrics: "att" and "aff", the smooth L1 losses without their weights (0 where both weights are 0); "iou_target",
        mean IoU of the predicted boxes with those of M; "scale", the mean of the crops' scales.
        """
        encoded = cast(Localized, encoded)
        theta = self.gather(encoded.theta)
        metrics = {"scale": jnp.mean(theta[:, :2])}
        if not (self.lambda_att or self.lambda_aff):
            zero = jnp.zeros(())
            return zero, {**metrics, "att": zero, "aff": zero, "iou_target": zero}
        attention, target = (self.gather(x) for x in self.targets(params, collections, images, encoded))
        att = jnp.mean(smooth_l1(self.gather(encoded.attention), attention))
        aff = jnp.mean(smooth_l1(theta, target))
        iou = theta_iou(self._by_edges(theta, images), self._by_edges(target, images))
        metrics |= {"att": att, "aff": aff, "iou_target": jnp.mean(iou)}
        return self.lambda_att * att + self.lambda_aff * aff, metrics

    def targets(
        self, params: Variables, collections: Variables, images: jax.Array, encoded: Localized
    ) -> tuple[jax.Array, jax.Array]:
        """The attention maps M `[batch, h, w]` and their boxes `[batch, 4]`, without gradient.

        Args:
          params, collections: the method's variables.
          images: `[batch, h, w, c]` normalised, this device's.
          encoded: what the encoder says of them.
        """
        if self.m_source == "full_image":
            attention = self.whole_image_attention(params, collections, images)
            return attention, self.box(attention)
        attention = lax.stop_gradient(attention_of(encoded))
        if self.m_source == "crop":
            return attention, self.box(attention)
        return self._remapped(attention, self.box(attention), self.encoder.sampled(lax.stop_gradient(encoded.theta)))

    def whole_image_attention(self, params: Variables, collections: Variables, images: jax.Array) -> jax.Array:
        """M `[batch, h, w]` of normalised whole images, batch norm in inference mode, without gradient."""
        variables = lax.stop_gradient({"params": params["encoder"], **only(collections, "batch_stats")})
        attention = cast(jax.Array, self.encoder.apply(variables, images, method="whole_image_attention"))
        return lax.stop_gradient(attention)

    def box(self, attention: jax.Array) -> jax.Array:
        """theta `[batch, 4]` of the values above tau of maps `[batch, h, w]`, without gradient."""
        theta = target_theta(attention, tau=self.tau, align_corners=self.encoder.align_corners)
        if not self.encoder.align_corners:
            return theta
        # From centre to centre a box of one row has no height, and the crop of it would show nothing.
        height, width = attention.shape[1:]
        return theta.at[:, :2].max(jnp.array([1 / width, 1 / height]))

    locates = True

    def locate(self, params: Variables, collections: Variables, images: jax.Array) -> Located:
        """Where the networks see the object in normalised images `[batch, h, w, c]`, batch norm in inference mode."""
        encoded = self.encode(params, collections, images)
        of_classifier = self.whole_image_attention(params, collections, images)
        return Located(
            self._corners(self.encoder.sampled(encoded.theta), images),
            self._corners(self.box(encoded.attention), images),
            self._corners(self.box(of_classifier), images),
            encoded.attention,
            encoded.crop,
        )

    def _corners(self, theta: jax.Array, images: jax.Array) -> jax.Array:
        """(ymin, xmin, ymax, xmax) in 0..1 of the images, what lies outside of them cut off."""
        return jnp.clip(corners_of_theta(self._by_edges(theta, images)), 0, 1)

    def _by_edges(self, theta: jax.Array, images: jax.Array) -> jax.Array:
        """theta of the encoder's convention in that of `align_corners=False`."""
        _, height, width, _ = images.shape
        return by_edges(theta, (height, width), self.encoder.crop_size) if self.encoder.align_corners else theta

    def _remapped(self, attention: jax.Array, box: jax.Array, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A map of crops theta, and a box in it, in the coordinates of the images; the map is 0 beside the crop."""
        scale, shift = theta[:, :2], theta[:, 2:]
        own_scale, own_shift = box[:, :2], box[:, 2:]
        # Of a mirrored crop the box is where it is, but not mirrored: no target is.
        boxes = jnp.concatenate([jnp.abs(scale) * own_scale, shift + scale * own_shift], axis=1)
        # A crop of (nearly) no size has no inverse: its map then fills all.
        safe = jnp.where(jnp.abs(scale) < 1e-3, 1, scale)
        inverse = jnp.concatenate([1 / safe, -shift / safe], axis=1)
        _, height, width = attention.shape
        placed = affine_crop(
            attention[..., None], inverse, size=(height, width), align_corners=self.encoder.align_corners
        )
        return placed[..., 0], boxes

    def weight_decay_mask(self, params: Variables) -> Any:
        """No decay of the threshold, nor of the biases that begin as the identity: the crop would shrink to nothing."""

        def decays(path: tuple, allowed: bool) -> bool:
            names = tuple(entry.key for entry in path)
            return allowed and names[:2] != ("encoder", "preprocess") and names[-2:] != ("theta", "bias")

        return jax.tree_util.tree_map_with_path(decays, super().weight_decay_mask(params))


def smooth_l1(a: jax.Array, b: jax.Array) -> jax.Array:
    """Half the square of differences below 1, and |difference| - 1/2 of others (Girshick 2015), elementwise."""
    size = jnp.abs(a - b)
    return jnp.where(size < 1, 0.5 * jnp.square(size), size - 0.5)


def build(config: ConfigDict, info: DataFacts, *, axis_name: str | None) -> Localization:
    """The method that a config describes.

    Args:
      config: a run's config; `model` (the classifier), `loss` and `method.localization` are read.
      info: the data's `DataInfo`.
      axis_name: the mapped axis that holds the devices, or None for one device without an axis.

    Raises:
      UserError: for an unknown model, loss or option, or a value out of range.
    """
    chosen = read(LocalizationOptions, config.method.localization, "config.method.localization")
    height, width, channels = info.image_shape
    crop_size = (chosen.crop_size,) * 2 if chosen.crop_size else (height, width)
    classifier, encoded = build_encoder(config, (*crop_size, channels), axis_name)
    dim = encoded.embedding.shape[-1]
    if chosen.emb_dim:
        dim = chosen.emb_dim
        classifier = _with_embedding(classifier, dim, config.model.name)
    sync = axis_name if config.model.sync_batch_norm else None
    _, rows, columns, _ = list(encoded.maps.values())[-1].shape
    encoder = LocalizedEncoder(
        classifier,
        AttNet(
            (rows, columns),
            chosen.att_width,
            chosen.att_blocks,
            classifier.dtype,
            sync,
        ),
        Preprocess(chosen.tau, chosen.binarize, chosen.sharpness),
        AffNet(chosen.aff_hidden, sync),
        crop_size,
        chosen.align_corners,
        chosen.padding,
        chosen.clip_theta,
        chosen.beta_att,
        chosen.beta_aff,
    )
    loss = build_config_loss(config, info, dim, offers=Localization.OFFERS)
    switches = (chosen.m_source, chosen.tau, chosen.lambda_att, chosen.lambda_aff)
    return Localization(encoder, loss, *switches, axis_name=axis_name)


def _with_embedding(classifier: Encoder, dim: int, name: str) -> Encoder:
    """The network with ELoPE's embedding layer on top: linear, batch normalisation, PReLU."""
    if classifier.goes_on:
        raise UserError(
            f"config.method.localization.emb_dim={dim} puts an embedding layer on the pooled maps, but model {name!r} "
            "has layers of its own there: set emb_dim=0, or the model's dim to None, hidden to () and prelu to False"
        )
    return classifier.clone(dim=dim, dim_bn=True, prelu=True)
