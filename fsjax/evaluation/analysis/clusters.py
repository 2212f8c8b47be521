"""Clusters of the training images by their embeddings (DatasetEquity, Shrivastava et al. 2023)."""

import numpy as np

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.analysis.scatter import unit_length
from fsjax.evaluation.over_split import over_examples
from fsjax.methods.base import Method, Variables


def cluster_training_images(
    method: Method,
    params: Variables,
    collections: Variables,
    splits: data.Splits,
    *,
    count: int,
    seed: int = 0,
    batch_size: int = 256,
) -> np.ndarray:
    """k-means of the embeddings of the training images, at length 1.

    Args:
      method: of a trained run.
      params, collections: its variables.
      splits: its data.
      count: how many clusters.
      seed: of the starts of k-means, of which the best of ten is taken.
      batch_size: images through the network at once.

    Returns:
      int32 `[n]`, the cluster of each image of the training split, 0 to `count - 1`.

    Raises:
      UserError: for fewer than two clusters, or more than images.
    """
    images = len(splits.train)
    if not 2 <= count <= images:
        raise UserError(
            f"{count} clusters of {images} training images: there must be at least 2, and an image for each"
        )
    (embeddings,) = over_examples(
        lambda x: (method.embed(params, collections, x),), splits.train, splits.info, batch_size=batch_size
    )
    embeddings = unit_length(embeddings)
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    # On one thread, so that the sums are of one order, and the clusters the same whatever else the machine does.
    with threadpool_limits(1):
        return KMeans(count, n_init=10, random_state=seed).fit_predict(embeddings).astype(np.int32)
