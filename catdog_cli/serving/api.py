"""`app` and `serve`: a checkpoint, or several by name, as a service."""

import contextlib
import signal
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CatdogError, SettingsError, UnavailableError
from ..inference.known import UNKNOWN_RATE
from ..runtime.files import expand_home
from .access import Access
from .app import OnRequest, Service
from .http_server import Patience, listen, make_server
from .limits import Limits
from .models import DEFAULT, Models

if TYPE_CHECKING:
    from ..inference.predictor import Predictor

HOST, PORT = "127.0.0.1", 8000


def app(
    checkpoint: str | Path | None = None,
    *,
    models: Mapping[str, str | Path] | None = None,
    host: str = HOST,
    allow_hosts: Iterable[str] = (),
    token: str | None = None,
    page: str | Path | None = None,
    limits: Limits | None = None,
    on_request: OnRequest = lambda record: None,
    log: Callable[[str], None] = lambda text: None,
    calibrated: bool = True,
    tta: bool | None = None,
    looks: str | None = None,
    category_names: str | Path | Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: str = "auto",
    unknown_rate: float = UNKNOWN_RATE,
    sure: float | None = None,
    sets: str = "lac",
) -> Service:
    """Return an ASGI application that answers with checkpoints, for any ASGI server; `serve` brings its own.

    Args:
        checkpoint: a file or a run directory, which answers where a request names no model.
        models: more of them by name.
        host: the address that the server listens on: if others than this machine reach it, `allow_hosts` is
            needed.
        allow_hosts: the names and addresses by which clients may call the server, besides localhost.
        token: what `Authorization: Bearer` must hold; None: nobody is asked.
        page: a folder of static files to be served at /, instead of the page that is built in.
        limits: bytes, seconds and pictures of a request, and how many may wait.
        on_request: told of each request when it is answered.
        log: gets what whoever runs it should know.
        calibrated, tta, looks, category_names, device, precision, unknown_rate, sure, sets: as of `predict`.

    Raises:
        SettingsError: an option makes no sense, or there is nothing to serve.
        CatdogError: a checkpoint cannot be used, or a package of catdog[serve] is missing.
    """
    paths = {} if checkpoint is None else {DEFAULT: checkpoint}
    for name, path in (models or {}).items():
        if name in paths:
            raise SettingsError(f"The model {name!r} was given twice: choose another name.")
        paths[name] = path
    access = Access(host, allow_hosts, token)

    def load(path: Path) -> "Predictor":
        from ..inference.predictor import Predictor

        return Predictor.load(
            path,
            device=device,
            precision=precision,
            calibrated=calibrated,
            category_names=category_names,
            mirror=tta,
            looks=looks,
            unknown_rate=unknown_rate,
            sure=sure,
            sets=sets,
        )

    folder = None if page is None else Path(expand_home(page))
    if folder is not None and not (folder / "index.html").is_file():
        raise UnavailableError(f"{str(folder)!r} has no index.html: give the folder of a page.")
    found = Models(paths, load)
    return Service(found, access, limits or Limits(), folder, on_request, log)


def serve(
    checkpoint: str | Path | None = None,
    *,
    host: str = HOST,
    port: int = PORT,
    tls_cert: str | Path | None = None,
    tls_key: str | Path | None = None,
    patience: Patience | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
    log: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> None:
    """Serve checkpoints until SIGTERM or Ctrl-C; what was asked by then is answered first.

    SIGHUP loads the checkpoints whose files have changed, without dropping a request.

    Args:
        checkpoint: a file or a run directory.
        host: the address to listen on; another one than this machine's own needs `allow_hosts`.
        port: 0 takes a free one.
        tls_cert, tls_key: PEM files, for https.
        patience: seconds and numbers of connections.
        on_ready: called with the address, just before the first request is taken.
        log: gets what whoever runs it should know.
        options: more of `app`.

    Raises:
        CatdogError: as of `app`; or the port is taken, or the certificate cannot be used.
    """
    tls = _check_tls(tls_cert, tls_key)
    Access(host, options.get("allow_hosts", ()), options.get("token"))  # before a port is opened for nobody
    with contextlib.closing(listen(host, port)) as bound:  # a port that is taken costs no waiting
        service = app(checkpoint, host=host, log=log, **options)
        server = make_server(service, patience or Patience(), lifespan=True, **tls)
        shown = f"[{host}]" if ":" in host else host
        address = f"{'https' if tls else 'http'}://{shown}:{bound.getsockname()[1]}/"
        service.starts += [lambda: _reload_on_hangup(service), lambda: on_ready(address)]
        with _quiet_stop(), contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[bound])


def _check_tls(cert: str | Path | None, key: str | Path | None) -> dict[str, str]:
    """Return what uvicorn is told of a certificate.

    Raises:
        SettingsError: one file came without the other.
        UnavailableError: they cannot be used.
    """
    if cert is None and key is None:
        return {}
    if cert is None or key is None:
        raise SettingsError("--tls-cert and --tls-key belong together: give both, or neither.")
    found = expand_home(str(cert)), expand_home(str(key))

    def ask() -> str:  # or openssl would ask on the terminal
        raise UnavailableError(f"The key {found[1]!r} is encrypted: give one without a password.")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*found, password=ask)
    except (OSError, ValueError) as error:  # ssl's own are OSErrors
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise UnavailableError(
            f"Cannot use the certificate {found[0]!r} with the key {found[1]!r} ({reason}): give two PEM "
            "files that belong together."
        ) from error
    return {"ssl_certfile": found[0], "ssl_keyfile": found[1]}


def _reload_on_hangup(service: Service) -> None:
    """Reload on SIGHUP, where the system has it and this is the main thread."""
    import asyncio

    tasks = set()

    async def reload() -> None:
        with contextlib.suppress(CatdogError):  # which is logged
            await service.reload()

    def start() -> None:
        task = asyncio.ensure_future(reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    if hasattr(signal, "SIGHUP"):
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, start)


@contextlib.contextmanager
def _quiet_stop() -> Any:
    """Let SIGTERM end the service as a success: uvicorn raises it again once it has stopped."""
    try:
        before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    except ValueError:  # not in the main thread: somebody else handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
