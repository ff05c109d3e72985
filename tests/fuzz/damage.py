"""Files as a bad disk, a broken copy or an ill will leaves them."""

import io
import zipfile
from collections.abc import Callable

import numpy as np

HEADER = 512
CHUNK = 64


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The file with one or two kinds of damage; it is never what it was."""
    new = data
    while new == data:
        for _ in range(rng.integers(1, 3)):
            new = KINDS[rng.integers(len(KINDS))](new, rng)
    return new


def damaged_member(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    """A zip archive with damage in the member whose name ends so, and checksums that fit."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            new.writestr(member, damaged(content, rng) if member.endswith(name) else content)
    return out.getvalue()


def _flip(data: bytes, rng: np.random.Generator, end: int | None = None) -> bytes:
    values = np.frombuffer(data, np.uint8).copy()
    if len(values):
        places = rng.integers(len(values[:end]), size=rng.integers(1, 9))
        values[places] ^= (1 << rng.integers(8, size=len(places))).astype(np.uint8)
    return values.tobytes()


def _flip_header(data: bytes, rng: np.random.Generator) -> bytes:
    return _flip(data, rng, HEADER)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data) + 1)]


def _swap(data: bytes, rng: np.random.Generator) -> bytes:
    """Two chunks in each other's place."""
    if len(data) < 2 * CHUNK:
        return data[::-1]
    i, j = sorted(rng.integers(len(data) - CHUNK, size=2))
    if j - i < CHUNK:
        return data
    first, second = data[i : i + CHUNK], data[j : j + CHUNK]
    return data[:i] + second + data[i + CHUNK : j] + first + data[j + CHUNK :]


def _blank(data: bytes, rng: np.random.Generator) -> bytes:
    """A hole of zeros, as of a file that was not fetched to its end."""
    i, n = rng.integers(len(data) + 1), rng.integers(1, 4 * CHUNK)
    return data[:i] + bytes(min(n, len(data) - i)) + data[i + n :]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    i = rng.integers(len(data) + 1)
    return data[:i] + rng.bytes(int(rng.integers(1, CHUNK))) + data[i:]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    """A chunk written twice, as by a transfer that was taken up again."""
    i = rng.integers(len(data) + 1)
    return data[: i + CHUNK] + data[i:]


def _edit(data: bytes, rng: np.random.Generator) -> bytes:
    """Other characters among those that texts are made of, other numbers among numbers."""
    signs = b'",\t\n\r;.-0123456789eE{}[]\x00\xff\xef'
    values = bytearray(data)
    for i in rng.integers(max(len(values), 1), size=rng.integers(1, 9)):
        if values:
            values[i] = signs[rng.integers(len(signs))]
    return bytes(values)


KINDS: list[Callable[[bytes, np.random.Generator], bytes]] = [
    _flip,
    _flip_header,
    _cut,
    _swap,
    _blank,
    _insert,
    _repeat,
    _edit,
]
