# SPDX-License-Identifier: Apache-2.0
"""A strict reader of PNG files with a palette: every chunk's checksum, all filters, no interlacing."""
import struct
import zlib


def chunks(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n", data[:8]
    at = 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4:at + 8], data[at + 8:at + 8 + length]
        assert len(body) == length, "cut"
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + body),), kind
        yield kind, body
        at += 12 + length


def paeth(left, up, corner):
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


def unfilter(kind, line, above):
    out = bytearray()
    for i, byte in enumerate(line):
        left, up, corner = (out[i - 1], above[i], above[i - 1]) if i else (0, above[i], 0)
        out.append((byte + (0, left, up, (left + up) // 2, paeth(left, up, corner))[kind]) & 255)
    return bytes(out)


def read(path):
    """(width, height, rows), each row a list of "#rrggbb"."""
    parts = list(chunks(path.read_bytes()))
    assert parts[0][0] == b"IHDR" and parts[-1] == (b"IEND", b""), [kind for kind, _ in parts]
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", parts[0][1])
    assert (colour, interlaced) == (3, 0), (colour, interlaced)
    palette = next(body for kind, body in parts if kind == b"PLTE")
    colours = ["#" + palette[i:i + 3].hex() for i in range(0, len(palette), 3)]
    data = zlib.decompress(b"".join(body for kind, body in parts if kind == b"IDAT"))
    stride = (width * depth + 7) // 8
    assert len(data) == height * (stride + 1), (len(data), height, stride)
    rows, above = [], bytes(stride)
    for at in range(0, len(data), stride + 1):
        line = data[at + 1:at + 1 + stride]
        above = line if data[at] == 0 else unfilter(data[at], line, above)
        pixels = [byte >> shift & ((1 << depth) - 1) for byte in above for shift in range(8 - depth, -1, -depth)]
        rows.append([colours[pixel] for pixel in pixels[:width]])
    return width, height, rows
