"""Data inside a jit: what `fsjax.data` draws on the host, drawn on the device, bit for bit.

Internal: no part of the public interface.
"""

from fsjax.device_data.episodes import draw_episodes

__all__ = ["draw_episodes"]
