"""The IDX file format of the MNIST database: a big-endian header, then the elements in C order.

Header: two zero bytes, a type code, the number of dimensions, then each dimension as a 32-bit
unsigned integer. Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten
digits", section "File formats".
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

_DTYPES: dict[int, np.dtype] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the array in the IDX file `path`, which may be gzip-compressed whatever its name.

    The array is writable and has the file's shape and its element type in the machine's byte order.
    A file that is not IDX, is damaged, or holds fewer or more bytes than its header says raises
    ValueError with the file's name, what it holds and what was expected.
    """
    path = Path(path)
    content = path.read_bytes()
    if content.startswith(_GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: damaged gzip file: {error}") from error

    if len(content) < 4:
        raise ValueError(f"{path}: {len(content)} bytes, too short for an IDX header")
    zero, type_code, ndim = struct.unpack_from(">HBB", content)
    if zero != 0 or type_code not in _DTYPES:
        codes = ", ".join(f"{code:02x}" for code in _DTYPES)
        raise ValueError(
            f"{path}: not an IDX file: it starts with the bytes {content[:4].hex(' ')}, expected "
            f"00 00, one of the type codes {codes}, and the number of dimensions"
        )
    header_size = 4 + 4 * ndim
    if len(content) < header_size:
        raise ValueError(
            f"{path}: {len(content)} bytes, too short for the {header_size}-byte IDX header of "
            f"{ndim} dimensions"
        )
    shape = struct.unpack_from(f">{ndim}I", content, 4)
    dtype = _DTYPES[type_code]
    expected = header_size + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        verb = "truncated" if len(content) < expected else "too long"
        raise ValueError(
            f"{path}: {verb}: {len(content)} bytes, expected {expected} for {dtype.name} elements "
            f"of shape {shape}"
        )
    elements = np.frombuffer(content, dtype, offset=header_size).reshape(shape)
    return elements.astype(dtype.newbyteorder("="))
