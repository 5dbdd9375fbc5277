import gzip
import struct

import numpy as np
import pytest

from minitorch_triton.data import read_idx


def idx_bytes(array, type_code):
    header = struct.pack(f">HBB{array.ndim}I", 0, type_code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize(
    ("type_code", "dtype"),
    [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")],
)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 4)])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_reads_every_type_and_shape(tmp_path, type_code, dtype, shape, compress):
    array = np.array(100 * np.random.default_rng(0).random(shape), dtype)
    path = tmp_path / "some-file"
    path.write_bytes(compress(idx_bytes(array, type_code)))
    result = read_idx(path)
    assert result.dtype == dtype
    assert result.flags.writeable
    np.testing.assert_array_equal(result, array)


GOOD = idx_bytes(np.arange(12, dtype="u1").reshape(3, 4), 0x08)
BAD_FILES = {
    "empty": (b"", "0 bytes, too short for an IDX header"),
    "three bytes": (GOOD[:3], "3 bytes, too short for an IDX header"),
    "half a header": (GOOD[:7], "7 bytes, too short for the 12-byte IDX header of 2 dimensions"),
    "a byte short": (GOOD[:-1], r"truncated: 23 bytes, expected 24 for uint8 .* \(3, 4\)"),
    "a byte long": (GOOD + b"\0", "too long: 25 bytes, expected 24"),
    "png": (b"\x89PNG\r\n\x1a\n", "not an IDX file: it starts with the bytes 89 50 4e 47"),
    "html": (b"<!DOCTYPE html>", "not an IDX file: it starts with the bytes 3c 21 44 4f"),
    "unknown type": (b"\0\0\x0a\x01" + GOOD[4:], "type codes 08, 09, 0b, 0c, 0d, 0e"),
    "huge header": (b"\0\0\x0e\x04" + b"\xff" * 16, "truncated: 20 bytes"),
    "truncated gzip": (gzip.compress(GOOD)[:-9], "damaged gzip file"),
    "gzip with a wrong checksum": (gzip.compress(GOOD)[:-8] + bytes(8), "damaged gzip file"),
    "gzip magic alone": (b"\x1f\x8b", "damaged gzip file"),
    "gzip of noise": (b"\x1f\x8b\x08" + bytes(range(200, 250)), "damaged gzip file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_says_what_is_wrong_with_a_file(tmp_path, name):
    content, message = BAD_FILES[name]
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")
