#!/usr/bin/env bash
# Pillow 13.0.0 applies to grey of 8 bits what it leaves undone for other depths: a TIFF with WhiteIsZero is inverted at
# 8 bits and not at 16; values of a 12-bit TIFF come as 0 to 4095 in a mode, I;16, whose others reach 65535; and a PNG of
# 2 or 4 bits is spread over 0 to 255 while info["transparency"] keeps the value as stored, so that
# convert("RGBA") makes another grey transparent, or none.
# Seen: 8-bit WhiteIsZero 215 -> 40, 16-bit 55255 -> 55255; 12-bit 4095 -> 4095; 4-bit grey 3 (of 15) transparent: alpha of
# [3, 10, 0, 15] is [255, 255, 255, 255].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io, struct, sys, zlib
import numpy as np
from PIL import Image


def tiff(strip, width, bits, photometric):
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 1), (279, len(strip))]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + body + b"\0" * 4


def opened(content):
    return Image.open(io.BytesIO(content))


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


eight = np.asarray(opened(tiff(bytes([215, 215]), 2, 8, 0)))[0, 0]
sixteen = np.asarray(opened(tiff(struct.pack("<2H", 55255, 55255), 2, 16, 0)))[0, 0]
twelve = np.asarray(opened(tiff(bytes([255, 255, 255]), 2, 12, 1)))[0, 0]
png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 4, 0, 0, 0, 0)) + chunk(b"tRNS", b"\0\3")
png += chunk(b"IDAT", zlib.compress(b"\0\x3a\x0f")) + chunk(b"IEND", b"")
alpha = np.asarray(opened(png).convert("RGBA"))[0, :, 3].tolist()
print("WhiteIsZero at 8 bits: 215 ->", eight, "; at 16 bits: 55255 ->", sixteen)
print("12 bits: 4095 ->", twelve)
print("4 bits, grey 3 transparent: alpha of 3, 10, 0, 15 is", alpha)
sys.exit(not (eight == 40 and sixteen == 55255 and twelve == 4095 and alpha == [255] * 4))
PYTHON
