"""HTML that needs no file beside it: templates, filled in and escaped, and images as data URIs."""

import base64
import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: Path, **values: object) -> str:
    """Return a Jinja template filled in with `values`, which are escaped; it may import its neighbours."""
    return _open_folder(template.parent).get_template(template.name).render(values)


def data_uri(image: bytes, kind: str = "png") -> str:
    """Return what stands in `src` for an image given as the bytes of a file: "png" or "jpeg"."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


@functools.cache
def _open_folder(folder: Path) -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
