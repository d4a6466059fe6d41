"""`catdog serve`: parse, call `serving.api`, print a line for each request."""

import time
from typing import TYPE_CHECKING, Any

import click

from . import options
from .grouped_help import GroupedCommand
from .output.terminal import echo, echo_json, log
from .predict import pick_unknown_rate

if TYPE_CHECKING:
    from ..serving.app import RequestRecord

MOST_SHOWN = 5  # classes of a request in a line
LINE, JSON, NONE = "line", "json", "none"
FIRST = (
    "--model",
    "--host",
    "--port",
    "--allow-host",
    "--token",
    "--tls-cert",
    "--tls-key",
    "--unknown-rate",
    "--log-format",
)


@click.command(cls=GroupedCommand, first=FIRST)
@click.argument("checkpoint", metavar="[CKPT]", required=False, type=options.PATH)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=CKPT",
    help="Another checkpoint, asked for by its name; repeatable.",
)
@click.option("--host", default="127.0.0.1", help="Address to listen on.  [default: 127.0.0.1, this machine]")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="0: a free one.  [default: 8000]")
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="A name or an address by which clients may call this server; repeatable. Needed with --host.",
)
@click.option(
    "--token",
    envvar="CATDOG_TOKEN",
    metavar="TEXT",
    help="Answer only who sends it as Authorization: Bearer; better given as CATDOG_TOKEN.",
)
@click.option("--tls-cert", type=options.PATH, metavar="FILE", help="A certificate, for https.")
@click.option("--tls-key", type=options.PATH, metavar="FILE", help="Its key.")
@click.option(
    "--page", type=options.PATH, metavar="DIR", help="A page to serve at / instead of catdog's own."
)
@click.option(
    "--queue", type=click.IntRange(1), metavar="N", help="Pictures that may wait; then 503.  [default: 256]"
)
@click.option(
    "--max-body", type=click.IntRange(1), metavar="MB", help="Largest body of a request.  [default: 32]"
)
@click.option(
    "--log-format",
    type=click.Choice((LINE, JSON, NONE)),
    default=LINE,
    help="How each request is logged to stdout.  [default: line]",
)
@options.category_names_option
@options.looks_options
@options.unknown_rate_option
@click.option(
    "--sure", type=float, metavar="P", help="Say which classes it may be, to be right at this rate: 0.95."
)
@click.option(
    "--sets", type=click.Choice(("lac", "aps")), help="With --sure: how.  [default: lac, the smallest]"
)
@click.option("--uncalibrated", is_flag=True, help="Leave out the temperature that the checkpoint holds.")
@options.device_options
@options.precision_option
def serve(
    checkpoint: str | None, models: tuple[str, ...], queue: int | None, max_body: int | None, **given: Any
) -> None:
    """Answer over HTTP with the checkpoint or run directory CKPT, with a page for pictures and the camera.

    POST a picture to /predict: the answer is what `catdog predict --json` prints. /docs describes the rest:
    /model, /health, /metrics, /reload. SIGHUP loads files that have changed without dropping a request;
    SIGTERM and Ctrl-C answer what was asked, then end.

    Only this machine reaches it unless --host says otherwise. Pictures stay in memory, and go with the
    answer.

    \b
    Examples:
      catdog serve checkpoints/mobilenet_v2-1
      curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg http://127.0.0.1:8000/predict
      catdog serve best.pt --host 0.0.0.0 --allow-host pets.example.org --tls-cert cert.pem --tls-key key.pem
      catdog serve --model pets=checkpoints/resnet18-1 --model breeds=breeds.pt --log-format json
    """
    if given["sets"] and given["sure"] is None:
        raise click.UsageError("--sets belongs to --sure P.")
    named = _read_models(models)
    from ..serving.api import serve as run
    from ..serving.limits import Limits

    limits = {} if queue is None else {"queue": queue}
    limits |= {} if max_body is None else {"body_bytes": max_body * 1_000_000}
    if max_body is not None:
        limits["held_bytes"] = max(Limits.held_bytes, 4 * limits["body_bytes"])
    run(
        checkpoint,
        models=named,
        host=given["host"],
        port=given["port"],
        allow_hosts=given["allow_hosts"],
        token=given["token"],
        tls_cert=given["tls_cert"],
        tls_key=given["tls_key"],
        page=given["page"],
        limits=Limits(**limits),
        on_ready=lambda url: _announce(url, given),
        on_request=_PRINTERS[given["log_format"]],
        log=_log_lines,
        calibrated=not given["uncalibrated"],
        tta=given["tta"],
        looks=given["looks"],
        category_names=given["category_names"],
        device=given["device"] or "auto",
        precision=given["precision"] or "auto",
        unknown_rate=pick_unknown_rate(given["unknown_rate"]),
        sure=given["sure"],
        sets=given["sets"] or "lac",
    )
    log("Stopped.")


def _read_models(given: tuple[str, ...]) -> dict[str, str]:
    """Return the paths of --model NAME=CKPT by name.

    Raises:
        click.UsageError: one has no name, or two have the same.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise click.UsageError(f"--model {text!r} must be NAME=CKPT, such as pets=best.pt.")
        if name in found:
            raise click.UsageError(f"--model {name!r} was given twice.")
        found[name] = path
    return found


def _announce(url: str, given: dict[str, Any]) -> None:
    log(f"Serving: {url} (the page), {url}predict (POST a picture), {url}docs")
    if given["allow_hosts"]:
        log(f"Clients may call it {', '.join(given['allow_hosts'])}, or localhost from this machine.")
        if not given["tls_cert"]:
            log("Without --tls-cert pictures travel in the clear, and browsers give no camera to the page.")
    log("Ctrl-C ends it; SIGHUP loads checkpoints that have changed.")


def _log_lines(text: str) -> None:
    for line in text.rstrip("\n").split("\n"):
        log(line)


def _print_line(record: "RequestRecord") -> None:
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.time))
    more = f" and {len(record.top) - MOST_SHOWN} more" if len(record.top) > MOST_SHOWN else ""
    top = ", ".join(record.top[:MOST_SHOWN]) + more
    echo(
        f"{moment} {record.client} {record.status} {record.method} {record.path[:100]} "
        f"{1e3 * record.seconds:.1f} ms {record.num_bytes:,} bytes {top}".rstrip()
    )


def _print_json(record: "RequestRecord") -> None:
    echo_json(
        {
            "time": round(record.time, 3),
            "client": record.client,
            "status": record.status,
            "method": record.method,
            "path": record.path[:100],
            "ms": round(1e3 * record.seconds, 1),
            "bytes": record.num_bytes,
            "model": record.model,
            "top": record.top,
        }
    )


_PRINTERS = {LINE: _print_line, JSON: _print_json, NONE: lambda record: None}
