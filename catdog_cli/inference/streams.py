"""Input that comes through a pipe: a picture's bytes, or paths of pictures; the first bytes tell which."""

import re
from dataclasses import dataclass
from typing import IO

from ..images.suffixes import SNIFF_BYTES, sniff_image

MAX_IMAGE_BYTES = 500_000_000
READ_BYTES = 1 << 20
STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
# What a file of a picture may begin with; after anything else no more is read than has come: paths may come
# one by one.
MAY_BEGIN = re.compile(rb"[\xff\x89\0]|GI|RI|II|MM|BM|P[1-7]|8B")


@dataclass(frozen=True)
class ImageBytes:
    """A picture that has been read already; `path` says from where."""

    path: str
    content: bytes


def is_stream(argument: str) -> bool:
    """Say whether an argument is stdin, or an open pipe such as a shell's <(...): it can be read but once."""
    return argument in STDIN or re.fullmatch(r"/dev/fd/\d+|/proc/self/fd/\d+", argument) is not None


class PeekedStream:
    """A binary stream whose first bytes have been looked at, and are still to be read."""

    def __init__(self, file: IO[bytes]):
        """Read as much as it takes to know a picture."""
        self._read = getattr(file, "read1", file.read)
        self.head = b""
        while len(self.head) < SNIFF_BYTES and (len(self.head) < 2 or MAY_BEGIN.match(self.head)):
            block = self._read(SNIFF_BYTES - len(self.head))
            if not block:
                break
            self.head += block

    @property
    def is_image(self) -> bool:
        """Whether a picture follows, of a kind that is read or another; no list of paths begins so."""
        return sniff_image(self.head) is not None or self.head.startswith((b"\0", b"8BPS\0"))

    def read1(self, size: int) -> bytes:
        """Return up to `size` bytes as they come, b"" at the end."""
        if self.head:
            block, self.head = self.head[:size], self.head[size:]
            return block
        return bytes(self._read(size))

    def read_image(self, name: str) -> ImageBytes | None:
        """Return the picture, None if it is larger than any that can be meant."""
        blocks, left = [], MAX_IMAGE_BYTES
        while left >= 0 and (block := self.read1(READ_BYTES)):
            blocks.append(block)
            left -= len(block)
        return None if left < 0 else ImageBytes(name, b"".join(blocks))
