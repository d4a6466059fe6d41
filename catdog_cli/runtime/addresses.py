"""Which texts are addresses, and the paths that file:// ones mean. Nothing is opened here."""

import os
import urllib.parse


def is_address(text: str) -> bool:
    """Say whether `text` is an http(s) address rather than a path."""
    return text.lower().startswith(("http://", "https://"))


def is_file_address(text: str) -> bool:
    """Say whether `text` is a file:// address, as browsers and file managers give a path."""
    return text.lower().startswith("file://")


def path_of_address(address: str) -> str:
    """Return the path that a file:// address means, its percent signs decoded.

    Raises:
        ValueError: it names another machine.
    """
    parts = urllib.parse.urlsplit(address.replace("#", "%23").replace("?", "%3F"))
    if parts.hostname not in (None, "localhost") or not parts.path:
        raise ValueError(
            f"Cannot open {address!r}: give a path of this machine, such as file:///home/me/cat.jpg."
        )
    return os.fsdecode(urllib.parse.unquote_to_bytes(os.fsencode(parts.path)))
