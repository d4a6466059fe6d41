"""A server as a process, and clients that ask it: what serve_load.py and hostile.py share."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 120
STOP_S = 60


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    process: subprocess.Popen
    port: int

    def memory_mb(self) -> float:
        """Return what it and its children hold of the machine's memory (VmRSS), in 10^6 bytes."""
        return sum(map(_memory_mb, _list_tree(self.process.pid)))

    def processor_s(self) -> float:
        """Return the processor time that it and its children have taken."""
        return sum(map(_processor_s, _list_tree(self.process.pid)))


def _processor_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    line = next((line for line in status.splitlines() if line.startswith("VmRSS")), "VmRSS: 0")
    return int(line.split()[1]) * 1024 / 1e6


def _list_tree(process: int) -> list[int]:
    """Return a process and all that it started, on Linux."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(each for child in children for each in _list_tree(int(child)))]


def free_port() -> int:
    """Return a port that nobody listens on."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def run_server(
    command: Sequence[str], port: int, path: str = "/health", **environment: str
) -> Iterator[Server]:
    """Run a server until the block ends, from when it answers at `path`.

    Raises:
        SystemExit: it does not answer.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            list(command), stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}
        )
        try:
            if not _await_answer(process, port, path):
                log.seek(0)
                raise SystemExit(f"{' '.join(command)} does not answer:\n{log.read().decode()[-2000:]}")
            yield Server(process, port)
        finally:
            tree = _list_tree(process.pid) if process.poll() is None else []
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            for each in tree:  # what it has left running
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            process.wait()


def _await_answer(process: subprocess.Popen, port: int, path: str) -> bool:
    import http.client

    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return True
        time.sleep(0.2)
    return False


def serve_command(*arguments: object) -> list[str]:
    """Return the command line of `catdog serve`."""
    return [sys.executable, "-m", "catdog_cli", "serve", *map(str, arguments)]


def make_request(content: bytes, port: int, kind: str = "image/jpeg") -> bytes:
    """Return a whole request for what a picture shows."""
    head = (
        f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return status and body of an answer that tells its length."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, await reader.readexactly(length) if length else b""


@dataclass
class Load:
    """What clients saw: seconds and answers by the number of the request, and how long it took in all."""

    seconds: list[float]
    answers: list[tuple[int, bytes] | None]
    wall_s: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.answers) / self.wall_s

    def percentile(self, share: float) -> float:
        """Return the latency, s, that a share of the requests does not exceed."""
        ranked = sorted(self.seconds)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def ask_all(port: int, requests: Sequence[bytes], count: int, clients: int) -> Load:
    """Let `clients` send `count` requests, in turn those of `requests`, each on one connection."""
    return asyncio.run(_ask_all(port, requests, count, clients))


async def _ask_all(port: int, requests: Sequence[bytes], count: int, clients: int) -> Load:
    seconds, answers = [0.0] * count, [None] * count
    numbers = iter(range(count))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        for number in numbers:
            start = time.perf_counter()
            writer.write(requests[number % len(requests)])
            answers[number] = await read_answer(reader)
            seconds[number] = time.perf_counter() - start
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Load(seconds, answers, time.perf_counter() - start)
