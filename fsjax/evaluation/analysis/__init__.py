"""What embeddings look like: their geometry, clusters, widths, and pictures of them."""

__all__ = [
    "activation_maps",
    "clusters",
    "contrastive",
    "embedding_maps",
    "geometry",
    "linear",
    "neural_collapse",
    "plots",
    "scatter",
    "widths",
]
