"""What several losses compute: distances, similarities, Gaussians, pairs."""

__all__ = ["distances", "gaussian", "pairs", "similarity"]
