"""What single papers measure: AFLM's gates, boxes of localization, sessions, RCAL."""

__all__ = ["gate_plot", "gate_statistics", "gates", "incremental", "localization", "rcal", "sessions"]
