"""A run as a folder that needs jax alone: its network as StableHLO, its classes as small arrays.

    from fsjax.export import export
    export(fsjax.restore("runs/icu"), "icu_export")

`fsjax.exported` reads it; a copy of that package goes along.
"""

from fsjax.export.write import DEFAULT_PLATFORMS, PLATFORMS, Report, export

__all__ = ["DEFAULT_PLATFORMS", "PLATFORMS", "Report", "export"]
