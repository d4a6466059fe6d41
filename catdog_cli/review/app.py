"""What the page of a review asks for, and what it gets: files of the page, pictures by number, decisions."""

import json
from pathlib import Path
from typing import Any

from ..errors import CatdogError
from ..images.preview import encode_small
from ..images.read import ImageError
from ..serving.loopback import Handler, Reply, Request
from .session import Review

PAGE = Path(__file__).with_name("page")
FILES = {  # the path that is asked for: the file and its kind
    "": ("review.html", "text/html; charset=utf-8"),
    "review.js": ("review.js", "text/javascript; charset=utf-8"),
    "review.css": ("review.css", "text/css; charset=utf-8"),
}
SIDE_PX = 1400  # of the larger side: what a screen shows
QUALITY = 88


def make_handler(review: Review) -> Handler:
    """Return what answers the page of a review; pictures are known by number, never by path."""

    def handle(request: Request) -> Reply:
        if request.method == "POST":
            return _change(review, request)
        name, _, number = request.path.partition("/")
        if request.path in FILES:
            file, kind = FILES[request.path]
            return Reply((PAGE / file).read_bytes(), kind)
        if request.path == "state":
            return Reply.of_json(review.describe())
        if request.path == "cell":
            return Reply.of_json(review.describe_cell(_whole(request, "row"), _whole(request, "column")))
        if name == "image" and number.isdecimal() and len(number) < 12:
            return _show(review, int(number))
        return Reply.of_json({"error": "There is nothing here."}, 404)

    return handle


def _show(review: Review, number: int) -> Reply:
    try:
        return Reply(encode_small(review.source(number), SIDE_PX, QUALITY)[0], "image/jpeg")
    except ImageError as error:
        return Reply.of_json({"error": str(error)}, 415)


def _change(review: Review, request: Request) -> Reply:
    """Take a decision, or take one back; the answer holds the picture as it stands now."""
    if request.path == "decide":
        asked = _read(request)
        number = review.decide(asked.get("picture"), asked.get("decision"), asked.get("labels", []))
        return Reply.of_json({"pictures": review.describe_pictures([number]), "classes": review.class_names})
    if request.path == "undo":
        undone = review.undo()
        pictures = {} if undone is None else review.describe_pictures([undone])
        return Reply.of_json({"picture": undone, "pictures": pictures, "classes": review.class_names})
    return Reply.of_json({"error": "There is nothing here."}, 404)


def _read(request: Request) -> dict[str, Any]:
    try:
        found = json.loads(request.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CatdogError("The page sent something that is not a decision: load it again.")
    return found


def _whole(request: Request, name: str) -> int:
    value = request.query.get(name, "")
    if not (value.isdecimal() and len(value) < 9):
        raise CatdogError(f"{name} must be a whole number.")
    return int(value)
