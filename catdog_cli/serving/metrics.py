"""What a service counts, as Prometheus reads it."""

from collections.abc import Callable
from typing import Any

from ..errors import require

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32)
KIND = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts of one service, apart from those of any other in the same process."""

    def __init__(self, num_waiting: Callable[[], int]) -> None:
        """Begin at zero; `num_waiting` tells how many pictures wait.

        Raises:
            CatdogError: prometheus_client is not installed.
        """
        library = require("prometheus_client", "serve")
        self._write = library.generate_latest
        self._registry = registry = library.CollectorRegistry()
        library.ProcessCollector(registry=registry)
        own: dict[str, Any] = {"namespace": "catdog", "registry": registry}
        self._requests = library.Counter(
            "requests", "Requests answered.", ("method", "path", "status"), **own
        )
        self._seconds = library.Histogram(
            "request_seconds", "From a request's headers to its answer.", ("path",), buckets=SECONDS, **own
        )
        self._bytes = library.Counter("received_bytes", "Bytes of bodies received.", **own)
        self._pictures = library.Counter(
            "pictures", "Pictures answered, by what was said.", ("model", "outcome"), **own
        )
        self._batches = library.Histogram(
            "batch_pictures", "Pictures that went together.", buckets=SIZES, **own
        )
        self._reloads = library.Counter(
            "reloads", "Times that checkpoints were loaded anew.", ("outcome",), **own
        )
        waiting = library.Gauge("waiting_pictures", "Pictures that wait.", **own)
        waiting.set_function(num_waiting)

    def count_request(self, method: str, path: str, status: int, seconds: float, num_bytes: int) -> None:
        """Count one request; `path` is one of those that there are, or one word for all others."""
        self._requests.labels(method, path, status).inc()
        self._seconds.labels(path).observe(seconds)
        self._bytes.inc(num_bytes)

    def count_picture(self, model: str, outcome: str) -> None:
        """Count a picture: "known", "unknown", or "error"."""
        self._pictures.labels(model, outcome).inc()

    def count_batch(self, size: int) -> None:
        """Count pictures that go together."""
        self._batches.observe(size)

    def count_reload(self, outcome: str) -> None:
        """Count a reload: "ok" or "error"."""
        self._reloads.labels(outcome).inc()

    def write(self) -> bytes:
        """Return all of it as text."""
        found: bytes = self._write(self._registry)
        return found
