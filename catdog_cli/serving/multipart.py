"""The pictures in a form, from memory to memory: no file is written."""

import logging
from dataclasses import dataclass, field
from typing import Any

from ..errors import require
from .limits import RefusedError

HEADER_BYTES = 2048  # of one part
SILENT = logging.Logger(
    "catdog.multipart", logging.CRITICAL
)  # or each damaged form would be a line on stderr


@dataclass
class _Part:
    """One part of a form while it is read."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    header_bytes: int = 0
    content: bytearray = field(default_factory=bytearray)


class _Reader:
    """What the parser tells of a form."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.parts: list[_Part] = []
        self.is_complete = False

    def callbacks(self) -> dict[str, Any]:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._take_header("name", data[start:end]),
            "on_header_value": lambda data, start, end: self._take_header("value", data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self.parts[-1].content.extend(data[start:end]),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) == self.most:
            raise RefusedError(413, f"The form has more than {self.most} pictures: send them in several.")
        self.parts.append(_Part())

    def _take_header(self, place: str, data: bytes) -> None:
        part = self.parts[-1]
        part.header_bytes += len(data)
        if part.header_bytes > HEADER_BYTES:
            raise RefusedError(400, "A part of the form has headers that are too long.")
        getattr(part, place).extend(data)

    def _end_header(self) -> None:
        part = self.parts[-1]
        part.headers[bytes(part.name).lower()] = bytes(part.value)
        part.name.clear()
        part.value.clear()

    def _end(self) -> None:
        self.is_complete = True


def read_form(content_type: str, body: bytes, most: int) -> list[tuple[str, bytes]]:
    """Return the pictures of a multipart/form-data body with the names of their files, in order.

    Raises:
        RefusedError: it is damaged, holds a field that is no file, or more than `most` pictures or none.
    """
    library = require("python_multipart", "serve")
    parse = require("python_multipart.multipart", "serve").parse_options_header
    boundary = parse(content_type)[1].get(b"boundary", b"")
    reader = _Reader(most)
    try:
        parser = library.MultipartParser(boundary or b"-", reader.callbacks())
        parser.logger = SILENT
        parser.write(body)
        parser.finalize()
    except RefusedError:
        raise
    except Exception as error:  # of damaged forms the parser raises its own errors, but not for all
        raise RefusedError(400, "The form is damaged.") from error
    if not reader.is_complete:
        raise RefusedError(400, "The form is damaged: it breaks off.")
    if not reader.parts:
        raise RefusedError(400, "The form holds no picture.")
    return [_name_file(part, parse) for part in reader.parts]


def _name_file(part: _Part, parse: Any) -> tuple[str, bytes]:
    options = parse(part.headers.get(b"content-disposition", b"").decode("latin-1"))[1]
    if b"filename" not in options:
        raise RefusedError(400, "A field of the form is no file: send pictures alone.")
    return options[b"filename"].decode("utf-8", "replace"), bytes(part.content)
