"""Pictures of kinds that pillow does not read by itself as they are shown: the values are counted by hand."""

import io
import os
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from fsjax.data.errors import DataError
from fsjax.data.pictures import decode, head_of
from fsjax.picture_files import PictureError, opened, upright

RAMP = np.arange(96, dtype=np.uint8).reshape(8, 12)
TURNS = {
    1: RAMP, 2: RAMP[:, ::-1], 3: RAMP[::-1, ::-1], 4: RAMP[::-1], 5: RAMP.T, 6: np.rot90(RAMP, -1),
    7: RAMP[::-1, ::-1].T, 8: np.rot90(RAMP),
}  # fmt: skip
# What the pixels of the ramp are in pillow's modes, as arrays that pillow takes.
OF_MODE = {
    "1": lambda a: a % 2 * np.uint8(255),
    "L": lambda a: a,
    "P": lambda a: a,
    "RGB": lambda a: np.stack([a, a + 100, 255 - a], -1),
    "RGBA": lambda a: np.stack([a, a + 100, 255 - a, np.full_like(a, 255)], -1),
    "CMYK": lambda a: np.stack([a, a * 0, a * 0, a * 0], -1),
    "I;16": lambda a: a.astype(np.uint16) * 257,
    "F": lambda a: a.astype(np.float32) / 255,
}


def shown(mode):
    """What the picture of this mode shows: grey, or colour."""
    if mode in ("RGB", "RGBA"):
        return lambda a: OF_MODE["RGB"](a)
    if mode == "CMYK":
        return lambda a: np.stack([255 - a, np.full_like(a, 255), np.full_like(a, 255)], -1)
    return lambda a: np.repeat((OF_MODE["1"](a) if mode == "1" else a)[..., None], 3, -1)


def picture(mode):
    if mode == "P":
        image = Image.fromarray(RAMP, "P")
        image.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
        return image
    if mode == "1":
        return Image.fromarray(OF_MODE["1"](RAMP)).convert("1")
    return Image.fromarray(OF_MODE[mode](RAMP), mode if mode == "CMYK" else None)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("mode", OF_MODE)
def test_tiffs_are_turned_by_path_and_by_content(mode, turn, compression, tmp_path):
    file = tmp_path / "a.tiff"
    picture(mode).save(file, tiffinfo={274: turn}, compression=compression)
    expected = shown(mode)(TURNS[turn])
    for source in (str(file), file.read_bytes()):
        np.testing.assert_array_equal(decode(source, 3), expected)
        assert head_of(source) == (expected.shape[:2], turn)


def png(rows, *, bits, colour=0, clear=None):
    """A PNG of rows of bytes: grey (0) or RGB (2) of so many bits, with the value that is transparent."""
    height, width = len(rows), 8 * len(rows[0]) // (bits * (3 if colour == 2 else 1))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))]
    chunks += [(b"tRNS", b"".join(struct.pack(">H", value) for value in clear))] if clear else []
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))), (b"IEND", b"")]
    framed = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_the_transparent_grey_of_a_png_is_white():
    """10,000 of 65,535 is 39 of 255; grey of 1, 2 and 4 bits is spread over 255 by 255, 85 and 17."""
    sixteen = png([struct.pack(">4H", 10_000, 10_001, 0, 65_535)], bits=16, clear=[10_000])
    np.testing.assert_array_equal(decode(sixteen, 1)[0, :, 0], [255, 39, 0, 255])
    eight = png([[7, 8, 0, 255]], bits=8, clear=[7])
    np.testing.assert_array_equal(decode(eight, 1)[0, :, 0], [255, 8, 0, 255])
    four = png([[0x3A, 0x0F]], bits=4, clear=[3])
    np.testing.assert_array_equal(decode(four, 1)[0, :, 0], [255, 170, 0, 255])
    two = png([[0b00_01_10_11]], bits=2, clear=[1])
    np.testing.assert_array_equal(decode(two, 1)[0, :, 0], [0, 255, 170, 255])
    one = png([[0b00110101]], bits=1, clear=[0])
    np.testing.assert_array_equal(decode(one, 1)[0, :, 0], [255] * 8)
    opaque = png([[0b00110101]], bits=1)
    np.testing.assert_array_equal(decode(opaque, 1)[0, :, 0], [0, 0, 255, 255, 0, 255, 0, 255])
    colour = png([[1, 2, 3, 1, 2, 4]], bits=8, colour=2, clear=[1, 2, 3])
    np.testing.assert_array_equal(decode(colour, 3)[0], [[255, 255, 255], [1, 2, 4]])


def test_a_transparent_colour_of_16_bits_is_refused():
    """Pillow keeps 8 bits of each, and two colours that differ in the others are one."""
    values = struct.pack(">6H", 1000, 2000, 3000, 1000, 2000, 3001)
    with pytest.raises(DataError, match="a colour of 16 bits is transparent"):
        decode(png([values], bits=16, colour=2, clear=[1000, 2000, 3000]), 3)
    np.testing.assert_array_equal(decode(png([values], bits=16, colour=2), 3)[0], [[3, 7, 11]] * 2)


def tiff(values, *, bits, white_is_zero=False):
    """An uncompressed grey TIFF of one strip, little-endian; 12 bits are packed."""
    height, width = values.shape
    if bits == 12:
        packed = bytearray()
        for row in values:
            for first, second in row.reshape(-1, 2).tolist():
                packed += bytes([first >> 4, (first & 15) << 4 | second >> 8, second & 255])
        strip = bytes(packed)
    else:
        strip = values.astype(f"<u{bits // 8}").tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 0 if white_is_zero else 1), (277, 1)]
    tags += [(273, 8), (278, height), (279, len(strip))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + b"\0" * 4


def test_grey_of_12_and_16_bits_is_scaled_from_its_range():
    np.testing.assert_array_equal(decode(tiff(np.array([[642, 1445]]), bits=12), 1)[0, :, 0], [40, 90])
    sixteen = np.array([[40 * 257, 90 * 257]])
    np.testing.assert_array_equal(decode(tiff(sixteen, bits=16), 1)[0, :, 0], [40, 90])
    np.testing.assert_array_equal(decode(tiff(sixteen, bits=16, white_is_zero=True), 1)[0, :, 0], [215, 165])
    np.testing.assert_array_equal(decode(tiff(65_535 - sixteen, bits=16, white_is_zero=True), 1)[0, :, 0], [40, 90])
    eight = tiff(np.array([[215, 165]]), bits=8, white_is_zero=True)
    np.testing.assert_array_equal(decode(eight, 1)[0, :, 0], [40, 90])


@pytest.mark.parametrize("dark", [True, False])
def test_the_same_grey_is_the_same_in_every_file_of_16_bits(dark, tmp_path):
    """Values of 40 and 90 of 65,535 are black: what a picture's largest value is, decides nothing."""
    values = np.array([[40, 90]], np.uint16) * (1 if dark else 257)
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(values).save(tmp_path / "b.tiff")
    Image.fromarray(values.astype(np.int32)).save(tmp_path / "c.tiff")
    (tmp_path / "d.pgm").write_bytes(b"P5 2 1 65535\n" + values.astype(">u2").tobytes())
    (tmp_path / "e.tiff").write_bytes(tiff(values, bits=16))
    for file in tmp_path.iterdir():
        np.testing.assert_array_equal(decode(str(file), 1)[0, :, 0], [0, 0] if dark else [40, 90], err_msg=file.name)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (
            np.float32([[0, 1.5]]),
            "its values are 0 to 1.5, and floats are read as shares of white, 0 to 1: scale them first",
        ),
        (np.float32([[-0.2, 1]]), "its values are -0.2 to 1, and"),
        (np.float32([[np.nan, 1]]), "some of its values are no finite numbers"),
        (np.float32([[np.inf, 1]]), "some of its values are no finite numbers"),
        (np.int32([[0, 65_536]]), "its values are 0 to 65536, and grey of 32 bits is read as of 16, 0 to 65,535"),
        (np.int32([[-1, 5]]), "its values are -1 to 5, and"),
    ],
)
def test_values_that_would_have_to_be_guessed_are_refused(values, what, tmp_path):
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match=what):
        decode(str(tmp_path / "a.tiff"), 1)
    with pytest.raises(PictureError, match=what), opened(tmp_path / "a.tiff") as image:
        upright(image, 1)


def test_floats_are_shares_of_white(tmp_path):
    levels = np.arange(30, dtype=np.float32).reshape(6, 5) * 8
    Image.fromarray(levels / 255).save(tmp_path / "a.tiff")
    np.testing.assert_array_equal(decode(str(tmp_path / "a.tiff"), 1)[..., 0], levels)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    said = []

    def read():
        try:
            decode(str(tmp_path / "a.jpg"), 3)
        except DataError as error:
            said.append(str(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert said == ["it is no file with content"]


def test_streams_are_read():
    stream = io.BytesIO()
    Image.fromarray(RAMP).save(stream, "png")
    stream.seek(0)
    np.testing.assert_array_equal(decode(stream, 1)[..., 0], RAMP)
