"""The service as an ASGI application: which path answers what, and what every request goes through."""

import asyncio
import contextlib
import dataclasses
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CatdogError
from ..images.facts import read_area
from ..images.formats.turns import HUGE_PIXELS
from ..inference.prediction import Prediction
from ..inference.streams import ImageBytes
from ..page import FILES, OF_EXPORT
from ..runtime.parallel import usable_cores
from .access import Access
from .batcher import Batcher
from .http_server import Reply, make_application
from .limits import Body, ClientLeftError, Held, Limits, RefusedError, check_headers
from .metrics import KIND, Metrics
from .models import Models
from .multipart import read_form
from .openapi import describe_api
from .static_files import list_files

PAGE = Path(__file__).with_name("page")  # of programs; that of people is catdog_cli.page
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; script-src 'self' "
    "'wasm-unsafe-eval'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
PERMISSIONS = {"Permissions-Policy": "camera=(self), microphone=(), geolocation=()"}
TOP_K = 5
FORM = "multipart/form-data"
BINARY = "application/octet-stream"
KNOWN_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
INLINE_BYTES = 200_000  # whose headers are read at once; those of more, in a thread
CLIENT_LEFT = 499  # as nginx logs it; nobody gets it


@dataclass
class RequestRecord:
    """What the log says of a request: nothing of a picture but its class."""

    time: float  # when it came, in seconds since 1970
    method: str
    path: str
    client: str  # its address
    status: int = 0
    seconds: float = 0.0
    num_bytes: int = 0  # of its body
    model: str | None = None
    top: list[str] = field(default_factory=list)  # each picture's likeliest class, "unknown" or "error"


@dataclass(frozen=True)
class Asked:
    """A picture of a request, and how many of its classes are wanted."""

    image: ImageBytes
    top_k: int


OnRequest = Callable[[RequestRecord], None]
Endpoint = Callable[[Any, Body, RequestRecord], Awaitable[Reply]]


class Service:
    """An ASGI application that answers with checkpoints; see `catdog_cli.app` for its arguments."""

    def __init__(
        self,
        models: Models,
        access: Access,
        limits: Limits,
        page: Path | None = None,
        on_request: OnRequest = lambda record: None,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Make it ready; `page` is a folder to be served at /."""
        self.models, self.access, self.limits = models, access, limits
        self.on_request, self.log = on_request, log
        self.held = Held(limits.held_bytes)
        self.batcher = Batcher(
            usable_cores(),
            (limits.queue, limits.huge),
            self._run,
            lambda name: models.get(name).batch_sizes,
            self._count,
        )
        self.metrics = Metrics(lambda: len(self.batcher.waiting))
        own = {**list_files(FILES, OF_EXPORT), **list_files(PAGE)}
        self.files = {**own, **(list_files(page) if page is not None else {})}
        self.files["/docs"] = self.files["/docs.html"]
        self.starts: list[Callable[[], None]] = []  # called in the event loop before the first request
        self.endpoints: dict[str, dict[str, Endpoint]] = {
            "/predict": {"POST": self._predict},
            "/model": {"GET": self._model},
            "/health": {"GET": self._health},
            "/metrics": {"GET": self._metrics},
            "/reload": {"POST": self._reload},
            "/openapi.json": {"GET": self._openapi},
            **{path: {"GET": self._file} for path in self.files},
        }
        self._open = {"/health", "/openapi.json", *self.files}  # without the token: nothing secret
        self._application = make_application(self._answer, POLICY, self._start, self._stop)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer as ASGI 3 asks."""
        await self._application(scope, receive, send)

    async def reload(self) -> list[str]:
        """Load the checkpoints whose files have changed; return their names.

        Raises:
            CatdogError: one cannot be loaded, and all stays as it was.
        """
        try:
            changed = await asyncio.to_thread(self.models.reload)
        except CatdogError as error:
            self.metrics.count_reload("error")
            self.log(f"Not reloaded, the old ones stay: {error}")
            raise
        self.metrics.count_reload("ok")
        self.log(f"Reloaded: {', '.join(changed)}." if changed else "Reloaded: nothing has changed.")
        return changed

    async def _start(self) -> None:
        for start in self.starts:
            start()

    async def _stop(self) -> None:
        self.batcher.close()

    async def _answer(self, request: Any) -> Reply:
        """Answer a request whatever happens, and log it."""
        started = time.perf_counter()
        client = request.client.host if request.client else ""
        record = RequestRecord(time.time(), request.method, request.url.path, client)
        body = Body(request, self.limits, self.held)
        with body.kept():
            reply = await self._answer_or_refuse(request, body, record)
            if not body.is_complete:
                with contextlib.suppress(ClientLeftError):
                    await body.drain()
        record.status, record.num_bytes = reply.status, body.num_bytes
        record.seconds = time.perf_counter() - started
        method = record.method if record.method in KNOWN_METHODS else "other"
        path = record.path if record.path in self.endpoints else "other"
        self.metrics.count_request(method, path, reply.status, record.seconds, body.num_bytes)
        self.on_request(record)
        last = {} if body.is_complete else {"Connection": "close"}
        return dataclasses.replace(reply, headers={**PERMISSIONS, **reply.headers, **last})

    async def _answer_or_refuse(self, request: Any, body: Body, record: RequestRecord) -> Reply:
        try:
            return await self._find_endpoint(request)(request, body, record)
        except RefusedError as refused:
            return refused.to_reply()
        except ClientLeftError:
            return Reply(b"", status=CLIENT_LEFT)
        except CatdogError as error:
            return Reply.of_json({"error": str(error)}, 500)
        except Exception:  # a bug, which must not end the service
            self.log(traceback.format_exc())
            return Reply.of_json({"error": "Something went wrong here: the log says what."}, 500)

    def _find_endpoint(self, request: Any) -> Endpoint:
        """Return what answers a request.

        Raises:
            RefusedError: nothing does, or not for this client.
        """
        path, method = request.url.path, request.method
        check_headers(request.headers, self.limits)
        self.access.check_host(request.headers)
        methods = self.endpoints.get(path)
        if methods is None:
            raise RefusedError(404, "There is nothing here.")
        endpoint = methods.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            raise RefusedError(405, f"Only {', '.join(methods)} is answered here.", Allow=", ".join(methods))
        if method == "POST":
            self.access.check_page(request.headers)
        if path not in self._open:
            self.access.check_token(request.headers)
        return endpoint

    async def _predict(self, request: Any, body: Body, record: RequestRecord) -> Reply:
        model = self.models.get(request.query_params.get("model", self.models.default))
        top_k = _read_top_k(request.query_params.get("top_k"))
        self.batcher.check_room()  # before the body is read for nothing
        sources = await self._read_pictures(request, body)
        asked = [Asked(source, top_k) for source in sources]
        found = await self._ask(request, model.name, asked, await _find_huge(sources))
        record.model, record.top = model.name, list(map(_name_outcome, found))
        for prediction in found:
            self.metrics.count_picture(model.name, _kind_of_outcome(prediction))
        rows = [prediction.to_dict() for prediction in found]
        return Reply.of_json(rows, 422 if all(row["status"] == "error" for row in rows) else 200)

    async def _read_pictures(self, request: Any, body: Body) -> list[ImageBytes]:
        """Return the pictures of a request, by the names that stand in its answer.

        Raises:
            RefusedError: there are none, or too many, or the body is of another kind.
        """
        headers = request.headers
        given = headers.get("content-type", "")
        kind = given.partition(";")[0].strip().lower()
        if headers.get("content-encoding", "identity") != "identity":
            raise RefusedError(415, "A compressed body is not read: send the file as it is.")
        if kind != FORM and kind != BINARY and not kind.startswith("image/"):
            raise RefusedError(
                415,
                "Send the bytes of a picture with its Content-Type, such as image/jpeg, or a form "
                f"({FORM}) of pictures.",
            )
        content = await body.read()
        if kind != FORM:
            return [ImageBytes("-", content)]
        parts = await asyncio.to_thread(read_form, given, content, self.limits.pictures)
        return [ImageBytes(name, part) for name, part in parts]

    async def _ask(
        self, request: Any, model: str, sources: Sequence[Asked], huge: Sequence[bool]
    ) -> list[Prediction]:
        """Return what a model says of pictures, unless the client leaves.

        Raises:
            RefusedError: the queue is full, or it takes too long.
            ClientLeftError: nobody waits for the answer.
        """
        asking = asyncio.ensure_future(self.batcher.ask(model, sources, huge))
        leaving = asyncio.ensure_future(_wait_for_end(request))
        try:
            await asyncio.wait(
                {asking, leaving}, timeout=self.limits.answer_s, return_when=asyncio.FIRST_COMPLETED
            )
            if asking.done():
                return asking.result()
            if leaving.done():
                raise ClientLeftError
            raise RefusedError(503, "It takes too long: try again.", Retry_After="5")
        finally:
            asking.cancel()
            leaving.cancel()

    def _run(self, model: str, sources: list[Asked]) -> list[Prediction]:
        """Return what a model says of pictures, each with the number of classes that it asked for."""
        images = [each.image for each in sources]
        found = self.models.get(model).predict(images, max(each.top_k for each in sources))
        return [
            dataclasses.replace(each, predictions=each.predictions[: asked.top_k], source=None)
            for each, asked in zip(found, sources, strict=True)
        ]

    def _count(self, size: int) -> None:
        self.metrics.count_batch(size)

    async def _model(self, request: Any, body: Body, record: RequestRecord) -> Reply:
        described = [model.describe() for model in self.models]
        return Reply.of_json({"default": self.models.default, "models": described})

    async def _health(self, request: Any, body: Body, record: RequestRecord) -> Reply:
        return Reply.of_json({"status": "ok", "waiting": len(self.batcher.waiting)})

    async def _metrics(self, request: Any, body: Body, record: RequestRecord) -> Reply:
        return Reply(self.metrics.write(), KIND)

    async def _reload(self, request: Any, body: Body, record: RequestRecord) -> Reply:
        if not self.access.wants_token:
            raise RefusedError(403, "Only a service with a token reloads when asked: send it SIGHUP instead.")
        try:
            return Reply.of_json({"reloaded": await self.reload()})
        except CatdogError as error:
            return Reply.of_json({"error": str(error)}, 409)

    async def _openapi(self, request: Any, body: Body, record: RequestRecord) -> Reply:
        return Reply.of_json(describe_api([model.name for model in self.models], self.limits))

    async def _file(self, request: Any, body: Body, record: RequestRecord) -> Reply:
        file = self.files[request.url.path]
        return await asyncio.to_thread(file.reply, request.headers.get("if-none-match"))


async def _find_huge(images: Sequence[ImageBytes]) -> list[bool]:
    """Return which pictures say that they are of a size that takes seconds."""

    def look() -> list[bool]:
        return [read_area(image.content) >= HUGE_PIXELS for image in images]

    small = sum(len(image.content) for image in images) < INLINE_BYTES
    return look() if small else await asyncio.to_thread(look)


async def _wait_for_end(request: Any) -> None:
    """Return when the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _read_top_k(given: str | None) -> int:
    if given is None:
        return TOP_K
    if not (given.isascii() and given.isdecimal() and int(given[:6]) > 0 and len(given) < 6):
        raise RefusedError(400, "top_k must be a whole number of at least 1.")
    return int(given)


def _kind_of_outcome(prediction: Prediction) -> str:
    if prediction.error is not None:
        return "error"
    return "known" if prediction.known is None or prediction.known.is_known else "unknown"


def _name_outcome(prediction: Prediction) -> str:
    """Return what the log says of a picture."""
    kind = _kind_of_outcome(prediction)
    if kind != "known":
        return kind
    said = prediction.predictions[:1] if prediction.labels is None else prediction.labels[:1]
    return said[0].class_name if said else "none"
