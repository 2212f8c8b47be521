"""Colour jitter and lighting noise, as one affine map of colours an image.

fb.resnet.torch jitters in random order: brightness x -> f x, a blend with black; contrast x -> f x + (1 - f) g(m), with
the grey of the image's mean colour m; saturation x -> f x + (1 - f) g(x), with the pixel's own grey. There, as here,
nothing is clipped to 0..255 or rounded between the steps. Then the order is without effect (the weights of g add up to
1, so that saturation keeps every grey, and contrast turns the mean grey that brightness f left into f of its own): all
of it is a x + b g(x) + c g(m) + t, and applied to a batch at once by `fsjax.data.pipeline.augment.recolor`.
"""

import numpy as np

# ITU-R 601: what fb.resnet.torch and torchvision take for grey.
GREY = (0.299, 0.587, 0.114)
# Of the covariance of ImageNet's colours in 0..1, by red, green and blue: fb.resnet.torch's numbers.
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


def color_terms(factors: np.ndarray, lighting: np.ndarray) -> np.ndarray:
    """The terms of the map x -> a x + b g(x) + c g(m) + t of some images, with colours in 0..255.

    With factors f_b, f_c and f_s: a = f_b f_c f_s, b = f_b f_c (1 - f_s), c = f_b (1 - f_c). Lighting (Krizhevsky et
    al. 2012) is t = 255 Σ_k α_k λ_k v_k, with the eigenvalues λ and eigenvectors v of ImageNet's colours.

    Args:
      factors: `[n, 3]` of brightness, contrast and saturation; 1 changes nothing.
      lighting: `[n, 3]`, the α_k.

    Returns:
      float32 `[n, 6]`: a, b, c and t of red, green and blue.
    """
    brightness, contrast, saturation = np.asarray(factors, np.float64).T
    light = 255 * (np.asarray(lighting) * EIGENVALUES) @ np.transpose(EIGENVECTORS)
    terms = (brightness * contrast * saturation, brightness * contrast * (1 - saturation), brightness * (1 - contrast))
    return np.column_stack([*terms, light]).astype(np.float32)
