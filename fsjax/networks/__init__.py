"""Pretrained networks by name: what there is, without jax; `fsjax.networks.reading` makes each a finished run.

To add one: a line in `fsjax.networks.table.NETWORKS`, and its architecture in `fsjax.models`.
"""

from fsjax.networks.table import DEFAULT, NETWORKS, Pretrained, find

__all__ = ["DEFAULT", "NETWORKS", "Pretrained", "find"]
