"""What several losses compute: distances, similarities, Gaussians, pairs."""
