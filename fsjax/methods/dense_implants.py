"""Dense classification whose network is widened by implants for each new task (Lifchitz et al. 2019, Sec. 3.2)."""

import dataclasses
from typing import Any

from fsjax.methods.base import options
from fsjax.methods.dense import DenseClassification, chosen_reduction, dense_parts
from fsjax.methods.implant_network import ImplantOptions, check_network
from fsjax.models import Encoder

# What the network itself decides.
_OF_NETWORK = ("activation", "pool_padding")
OPTIONS = tuple(field.name for field in dataclasses.fields(ImplantOptions) if field.name not in _OF_NETWORK)


@dataclasses.dataclass(frozen=True)
class DenseImplants(DenseClassification):
    """Training is dense classification (stage 1); evaluation trains implants for each task as well (stage 2).

    Attributes:
      implants: how they look and train.
    """

    implants: ImplantOptions | None = None


def implant_options(encoder: Encoder, **chosen: Any) -> ImplantOptions:
    """Options of implants beside the last block of this network.

    Args:
      encoder: a resnet12 without layers after its maps.
      **chosen: of `OPTIONS`; what is left out is the paper's.

    Raises:
      UserError: for another network, or an option that cannot be.
    """
    check_network(encoder)
    own = {name: getattr(encoder.backbone, name) for name in _OF_NETWORK}
    return ImplantOptions(**chosen, **own)


def build(config: Any, info: Any, *, axis_name: str | None) -> DenseImplants:
    """The method that a config describes; see `fsjax.methods.dense.build`."""
    chosen = options(config, "implants", ("reduction", *OPTIONS))
    encoder, loss = dense_parts(config, info, axis_name)
    implants = implant_options(encoder, **{name: chosen[name] for name in OPTIONS})
    return DenseImplants(encoder, loss, reduction=chosen_reduction(chosen), implants=implants, axis_name=axis_name)
