"""What single papers measure: AFLM's gates, boxes of localization, sessions, RCAL."""
