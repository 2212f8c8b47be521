"""What embeddings look like: their geometry, clusters, widths, and pictures of them."""
