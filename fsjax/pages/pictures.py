"""Pictures inside a page, as data URIs."""

import base64
import io

import numpy as np

from fsjax.pages.markup import Html, tag

JPEG_QUALITY = 85


def picture(image: np.ndarray, *, alt: str, width: int | None = None, lossy: bool = False, class_: str = "") -> Html:
    """An image as `<img>`, its data inside the page.

    Args:
      image: uint8 `[h, w]`, `[h, w, 1]` or `[h, w, 3]`.
      alt: what it shows, in words.
      width: in CSS pixels; the height follows. None: the image's own. Never wider than its place. Enlarged images are
        not smoothed: each of their pixels is seen.
      lossy: JPEG of quality 85 instead of PNG: smaller, for photographs.
      class_: class of the element.

    Raises:
      ValueError: for an array that is no such image.
    """
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or 0 in image.shape:
        raise ValueError(f"a picture is uint8 [h, w], [h, w, 1] or [h, w, 3], not {image.dtype} {list(image.shape)}")
    height, own_width = image.shape[:2]
    width = own_width if width is None else width
    classes = " ".join(filter(None, (class_, "enlarged" if width > own_width else "")))
    return tag(
        "img",
        src=data_uri(image, lossy=lossy),
        alt=alt,
        width=width,
        height=max(1, round(height * width / own_width)),
        class_=classes or None,
        decoding="async",
    )


def data_uri(image: np.ndarray, *, lossy: bool = False) -> str:
    """An image, uint8 `[h, w]` or `[h, w, 3]`, as the text of a `data:` address: PNG, or JPEG if `lossy`."""
    from PIL import Image

    buffer = io.BytesIO()
    if lossy:
        Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    else:
        Image.fromarray(image).save(buffer, "PNG")
    kind = "jpeg" if lossy else "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
