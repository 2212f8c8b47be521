#!/usr/bin/env bash
# Pillow 13.0.0: an uncompressed TIFF whose orientation (tag 274) turns it a quarter is one picture from bytes and
# another by its path. By path Pillow maps the file into memory under the sides of the turned picture, so that the rows
# are cut at the wrong places, and leaves them unturned; Image.size is that of the turned picture before loading, so
# that what swaps the sides by the tag (as for JPEG) swaps them twice.
# Seen: 8x12 ramp, orientation 6, mode L: from bytes np.rot90(a, -1); by path, unlike it; size (8, 12) before loading.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import io, sys
import numpy as np
from PIL import Image

ramp = np.arange(96, dtype=np.uint8).reshape(8, 12)
path = sys.argv[1] + "/a.tiff"
Image.fromarray(ramp).save(path, tiffinfo={274: 6})
right = np.rot90(ramp, -1)
with open(path, "rb") as file:
    of_bytes = np.asarray(Image.open(io.BytesIO(file.read())))
with Image.open(path) as image:
    size = image.size
    by_path = np.asarray(image)
print("from bytes as np.rot90(a, -1):", np.array_equal(of_bytes, right))
print("by path as np.rot90(a, -1):", by_path.shape == right.shape and np.array_equal(by_path, right))
print("size before loading:", size)
same = by_path.shape == right.shape and np.array_equal(by_path, right)
sys.exit(not (np.array_equal(of_bytes, right) and not same and size == (8, 12)))
PYTHON
