"""Dense classification whose network is widened by implants for each new task (Lifchitz et al. 2019, Sec. 3.2)."""

import dataclasses
from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from fsjax.methods.base import DataFacts
from fsjax.methods.dense import DenseClassification, dense_parts
from fsjax.methods.implant_network import ImplantOptions, check_network
from fsjax.options import read
from fsjax.options.methods import ImplantsOptions, ImplantTrainingOptions

# What the network itself decides.
_OF_NETWORK = ("activation", "pool_padding")


@dataclasses.dataclass(frozen=True)
class DenseImplants(DenseClassification):
    """Training is dense classification (stage 1); evaluation trains implants for each task as well (stage 2).

    Attributes:
      implants: how they look and train.
    """

    implants: ImplantOptions | None = None


def implant_options(encoder: nn.Module, **chosen: Any) -> ImplantOptions:
    """Options of implants beside the last block of this network.

    Args:
      encoder: a resnet12 without layers after its maps.
      **chosen: of `ImplantTrainingOptions`; what is left out has its default.

    Raises:
      UserError: for another network, or an option that cannot be.
    """
    backbone = check_network(encoder)
    own = {name: getattr(backbone, name) for name in _OF_NETWORK}
    return ImplantOptions(**chosen, **own)


def build(config: ConfigDict, info: DataFacts, *, axis_name: str | None) -> DenseImplants:
    """The method that a config describes; see `fsjax.methods.dense.build`."""
    chosen = read(ImplantsOptions, config.method.implants, "config.method.implants")
    encoder, loss = dense_parts(config, info, axis_name)
    training = {field.name: getattr(chosen, field.name) for field in dataclasses.fields(ImplantTrainingOptions)}
    implants = implant_options(encoder, **training)
    return DenseImplants(encoder, loss, reduction=chosen.reduction, implants=implants, axis_name=axis_name)
