"""Hostile requests for `catdog serve`: what each gets, how much memory they take, whether it answers after.

Run by itself: python scripts/benchmarks/hostile.py CKPT PICTURE prints a Markdown table. The kinds come in
turn, many at a time; meanwhile an honest client asks about PICTURE again and again, and must get the right
answer. A kind has the statuses that it may get; "closed" is a connection that ends without one, which is all
that some deserve.
"""

import argparse
import asyncio
import io
import json
import random
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from PIL import Image
from serving import Server, free_port, make_request, read_answer, run_server, serve_command

TOKEN = "a-token-for-the-benchmark"
AT_A_TIME = 60
WAIT_S = 90
CLOSED = "closed"
BODY_LIMIT = 32_000_000
Payload = bytes | Callable[[], AsyncIterator[bytes]]


@dataclass(frozen=True)
class Kind:
    """One way to be hostile: what is sent, what it may get, and which share of all requests it is."""

    name: str
    make: Callable[[random.Random], Payload]
    allowed: tuple[str, ...]
    weight: float = 1.0
    most: int = 1_000_000


def head(
    method: str = "POST", path: str = "/predict", *lines: str, host: str = "localhost", token: str = TOKEN
) -> bytes:
    """Return the headers of a request."""
    given = [f"Host: {host}"] if host else []
    given += [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", *given, *lines, "", ""]).encode("latin-1")


def post(body: bytes, kind: str = "image/jpeg", *lines: str) -> bytes:
    """Return a whole request with a body."""
    return head("POST", "/predict", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *lines) + body


def form(*parts: bytes, boundary: str = "b", end: bool = True) -> bytes:
    """Return a request with a form of parts, each with its headers."""
    lines = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + (b"--b--\r\n" if end else b"")
    return post(lines, f"multipart/form-data; boundary={boundary}" if boundary else "multipart/form-data")


def file_part(content: bytes, name: str = "a.jpg") -> bytes:
    """Return a part of a form."""
    return f'Content-Disposition: form-data; name="p"; filename="{name}"\r\n\r\n'.encode() + content


def png(width: int, height: int, rows: bytes) -> bytes:
    """Return a PNG that says that it is of this size, whatever `rows` holds (compressed)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def dribble(start: bytes, rest: bytes, pause_s: float) -> Payload:
    """Return a payload that comes a byte at a time."""

    async def send() -> AsyncIterator[bytes]:
        yield start
        for byte in rest:
            await asyncio.sleep(pause_s)
            yield bytes([byte])

    return send


def endless(start: bytes, part: bytes, count: int) -> Payload:
    """Return a payload that repeats a part very often."""

    async def send() -> AsyncIterator[bytes]:
        yield start
        for _ in range(count):
            yield part
            await asyncio.sleep(0)

    return send


def list_kinds(picture: bytes) -> list[Kind]:
    """Return all ways to be hostile."""
    bad = ("400", "404", "405", "408", "411", "413", "415", "421", "422", "501")
    jpeg = head("POST", "/predict", "Content-Type: image/jpeg", f"Content-Length: {len(picture)}")
    chunked = head("POST", "/predict", "Content-Type: image/jpeg", "Transfer-Encoding: chunked")
    huge = head("POST", "/predict", "Content-Type: image/jpeg", f"Content-Length: {BODY_LIMIT + 1}")
    rows = zlib.compress(bytes(20_000 * 100))  # far fewer than the sizes below need
    bomb = post(png(19_900, 15_000, zlib.compress(bytes(19_901 * 15_000))))
    gif = b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;"
    paths = (
        *(
            "/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/..%2f..%2fetc%2fpasswd",
            "//etc/passwd",
            "/page/../x",
        ),
        *(
            "/service.css/../../app.py",
            "/%00",
            "/docs/",
            "/predict/x",
            "/.git/config",
            "/service.css%00.html",
        ),
        *(
            "/" + "a" * 8000,
            "/\\..\\..\\x",
            "/%c0%ae%c0%ae/x",
            "/index.html/.",
            "/?x=../../etc/passwd&y",
            "*",
        ),
    )

    def cut(numbers: random.Random) -> bytes:
        return post(picture[: numbers.randrange(20, len(picture) * 3 // 4)])

    def noise(numbers: random.Random) -> bytes:
        return post(numbers.randbytes(numbers.randrange(1, 20_000)))

    def flipped(numbers: random.Random) -> bytes:
        data = bytearray(picture)
        for _ in range(30):
            data[numbers.randrange(len(data))] = numbers.randrange(256)
        return post(bytes(data))

    def path(numbers: random.Random) -> bytes:
        return head(numbers.choice(("GET", "POST")), numbers.choice(paths), "Content-Length: 0")

    def garbage(numbers: random.Random) -> bytes:
        starts = (
            b"",
            b"\x16\x03\x01\x02\0\x01",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"EHLO x\r\n",
            b"GET /\r\n",
            b"\0",
        )
        return numbers.choice(starts) + numbers.randbytes(200) + b"\r\n\r\n"

    fixed = {  # name: (payload, statuses)
        "no token": (head("POST", "/predict", "Content-Length: 0", token=""), ("401",)),
        "wrong token": (head("POST", "/predict", "Content-Length: 0", token="x" * 5000), ("401",)),
        "foreign Host": (head(host="evil.example"), ("421",)),
        "no Host": (head(host=""), ("400",)),
        "two Hosts": (head("GET", "/", "Host: evil.example"), ("400",)),
        "Host with tricks": (head("GET", "/", host="localhost@evil.example"), ("421",)),
        "Origin of another page": (post(picture, "image/jpeg", "Origin: https://evil.example"), ("403",)),
        "Sec-Fetch-Site: cross-site": (post(picture, "image/jpeg", "Sec-Fetch-Site: cross-site"), ("403",)),
        "preflight": (head("OPTIONS", "/predict", "Origin: https://evil.example"), ("405",)),
        "no such method": (head("BREW", "/predict"), ("405",)),
        "wrong type": (post(picture, "text/html"), ("415",)),
        "no type": (head("POST", "/predict", "Content-Length: 3") + b"abc", ("415",)),
        "compressed body": (post(zlib.compress(picture), "image/jpeg", "Content-Encoding: gzip"), ("415",)),
        "empty body": (post(b""), ("422",)),
        "text for a picture": (post(b"<script>alert(1)</script>" * 9), ("422",)),
        "PNG of 60,000 x 60,000": (post(png(60_000, 60_000, rows)), ("422",)),
        "PNG of 2 billion px a side": (post(png(2**31 - 1, 2**31 - 1, rows)), ("422",)),
        "PNG with too few rows": (post(png(5_000, 5_000, rows)), ("422",)),
        "GIF of 65,535 x 65,535": (post(gif), ("422",)),
        "TIFF without end": (
            post(b"II*\0\x08\0\0\0\x01\0\0\1\4\0\xff\xff\xff\xff\0\0\0\0\x08\0\0\0"),
            ("422",),
        ),
        "length that is none": (head("POST", "/predict", "Content-Length: -5"), ("400",)),
        "length of 10^30": (
            head("POST", "/predict", "Content-Type: image/jpeg", f"Content-Length: {10**30}"),
            ("400", "413"),
        ),
        "two lengths": (head("POST", "/predict", "Content-Length: 5", "Content-Length: 6"), ("400",)),
        "length and chunks": (
            head("POST", "/predict", "Content-Length: 5", "Transfer-Encoding: chunked"),
            ("400", "415"),
        ),
        "shorter than it says": (jpeg + picture[:-9], (CLOSED,)),  # then it leaves
        "chunk that is none": (chunked + b"zz\r\nabc\r\n", ("400", CLOSED)),
        "chunk of 2^70": (chunked + b"%x\r\nabc" % 2**70, ("400", "413", "408", CLOSED)),
        "too large, says so": (huge, ("413",)),
        "too large, waits to be asked": (huge[:-2] + b"Expect: 100-continue\r\n\r\n", ("413",)),
        "form without boundary": (form(file_part(picture), boundary=""), ("400",)),
        "form with another boundary": (form(file_part(picture), boundary="c"), ("400",)),
        "form without end": (form(file_part(picture), end=False), ("400",)),
        "form of 5,000 files": (form(*[file_part(b"x")] * 5000), ("413",)),
        "form with long headers": (form(b"X: " + b"y" * 100_000 + b"\r\n\r\nz"), ("400",)),
        "form with a field": (form(b'Content-Disposition: form-data; name="x"\r\n\r\n1'), ("400",)),
        "form without files": (post(b"--b--\r\n", "multipart/form-data; boundary=b"), ("400",)),
        "file called ../../x<script>": (form(file_part(b"no", "../../x<script>")), ("422",)),
        "huge header": (head("GET", "/", "X: " + "y" * 100_000), ("431",)),
        "10,000 headers": (head("GET", "/", *["X: y"] * 10_000), ("400", CLOSED)),
        "huge top_k": (
            head("POST", f"/predict?top_k={'9' * 5000}", "Content-Type: image/jpeg", "Content-Length: 0"),
            ("400",),
        ),
        "no such model": (head("POST", "/predict?model=../x", "Content-Length: 0"), ("404",)),
        "websocket": (head("GET", "/", "Upgrade: websocket", "Connection: Upgrade"), ("200",)),
    }
    kinds = [Kind(name, lambda _, sent=sent: sent, allowed) for name, (sent, allowed) in fixed.items()]
    return [
        *kinds,
        Kind("cut-off JPEG", cut, ("422",), 5),
        Kind("noise for a picture", noise, ("422",), 5),
        Kind("JPEG with flipped bytes", flipped, ("422", "200"), 2),
        Kind("path tricks", path, (*bad, "200"), 8),
        Kind("no HTTP", garbage, ("400", "408", CLOSED), 3),
        Kind("slow headers", lambda _: dribble(head()[:20], head()[20:], 1.5), ("408", CLOSED), most=120),
        Kind("no headers at all", lambda _: dribble(b"", b"", 0), ("408", CLOSED), most=120),
        Kind("body that stops", lambda _: dribble(jpeg + picture[:99], b"", 0), ("408",), most=120),
        Kind(
            "a byte every 4 s", lambda _: dribble(jpeg + picture[:99], bytes(40), 4), ("408", CLOSED), most=60
        ),
        Kind(
            "endless headers",
            lambda _: endless(head()[:-2], b"X: " + b"y" * 997 + b"\r\n", 5000),
            ("400", CLOSED),
            most=60,
        ),
        Kind(
            "endless chunks",
            lambda _: endless(chunked, b"10000\r\n" + bytes(65_536) + b"\r\n", 2000),
            ("413", "503", CLOSED),
            most=24,
        ),
        Kind(
            "more than it says",
            lambda _: endless(post(picture), bytes(65_536), 200),
            ("200", "503", CLOSED),
            most=60,
        ),
        Kind(
            "PNG of 299 megapixels",
            lambda _: bomb,
            ("200",),
            most=4,
        ),
    ]


async def attack(port: int, payload: Payload, leaves: bool) -> str:
    """Send a payload; return the status of the answer, or that there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    answer = asyncio.ensure_future(read_answer(reader))
    try:
        if isinstance(payload, bytes):
            writer.write(payload)
            await writer.drain()
        else:
            async for part in payload():
                if answer.done():
                    break
                writer.write(part)
                await writer.drain()
        if leaves:
            writer.close()
        status, _ = await asyncio.wait_for(answer, WAIT_S)
        return str(status)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        if answer.done() and not answer.exception():  # it had answered before the connection ended
            return str(answer.result()[0])
        return CLOSED
    except TimeoutError:
        return "hangs"
    finally:
        answer.cancel()
        writer.close()


class Honest:
    """A client that asks about a picture again and again."""

    def __init__(self, port: int, picture: bytes) -> None:
        self.request = make_request(picture, port).replace(
            b"\r\n", f"\r\nAuthorization: Bearer {TOKEN}\r\n".encode(), 1
        )
        self.port, self.first = port, b""
        self.seconds: list[float] = []
        self.busy = 0

    async def ask(self) -> bytes:
        """Return the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        start = time.perf_counter()
        writer.write(self.request)
        status, body = await asyncio.wait_for(read_answer(reader), WAIT_S)
        writer.close()
        if status == 503:
            self.busy += 1
            return b""
        assert status == 200, (status, body)
        self.seconds.append(time.perf_counter() - start)
        return body

    async def go_on(self) -> None:
        """Ask until cancelled.

        Raises:
            AssertionError: an answer is another one than before.
        """
        self.first = await self.ask()
        while True:
            await asyncio.sleep(0.2)
            body = await self.ask()
            assert body in (b"", self.first), body


def spread(kinds: list[Kind], count: int) -> Iterator[tuple[Kind, int]]:
    """Yield how many requests there are of each kind, `count` in all."""
    few = [kind for kind in kinds if kind.most < 1_000_000]
    rest = count - sum(kind.most for kind in few)
    total = sum(kind.weight for kind in kinds if kind not in few)
    left = rest
    for kind in kinds:
        if kind in few:
            yield kind, kind.most
        else:
            own = min(left, round(rest * kind.weight / total))
            left -= own
            yield kind, own


async def run_all(server: Server, picture: bytes, count: int) -> tuple[list[str], bool]:
    """Send them all; return a table, and whether each got what it should."""
    honest = Honest(server.port, picture)
    task = asyncio.ensure_future(honest.go_on())
    await asyncio.sleep(2)
    before, peak = server.memory_mb(), 0.0
    lines = ["| kind | requests | got | s |", "| --- | --- | --- | --- |"]
    numbers, good, sent = random.Random(0), True, 0
    for kind, own in spread(list_kinds(picture), count):
        found: Counter[str] = Counter()
        start, left = time.perf_counter(), own

        async def work(kind: Kind = kind, found: Counter[str] = found) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                found[await attack(server.port, kind.make(numbers), kind.name == "shorter than it says")] += 1

        async def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, server.memory_mb())
                await asyncio.sleep(0.05)

        watching = asyncio.ensure_future(watch())
        await asyncio.gather(*(work() for _ in range(min(own, 120 if kind.most < 1_000_000 else AT_A_TIME))))
        watching.cancel()
        sent += own
        unexpected = set(found) - set(kind.allowed)
        good = good and not unexpected
        said = ", ".join(
            f"{each} ({number})" if len(found) > 1 else each for each, number in sorted(found.items())
        )
        mark = f" **not expected: {', '.join(sorted(unexpected))}**" if unexpected else ""
        lines.append(f"| {kind.name} | {own} | {said}{mark} | {time.perf_counter() - start:.1f} |")
    assert not task.done(), task.exception()
    task.cancel()
    after = await honest.ask()
    await asyncio.sleep(1)
    lines += [
        "",
        f"{sent:,} requests. Memory before {before:.0f} MB, at most {peak:.0f} MB, after "
        f"{server.memory_mb():.0f} MB. An honest client got {len(honest.seconds)} right answers meanwhile, "
        f"the slowest after {max(honest.seconds):.1f} s, and {honest.busy} times 503; after it all, the "
        f"{'same' if after == honest.first else 'WRONG'} answer.",
    ]
    return lines, good and after == honest.first


def main() -> None:
    """Do it, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument(
        "picture", metavar="PICTURE", type=Path, help="an honest picture, of a few hundred px"
    )
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="requests; 10000")
    options = parser.parse_args()
    with Image.open(options.picture) as image:  # a JPEG without remarks
        kept = io.BytesIO()
        image.convert("RGB").save(kept, "JPEG")
    port = free_port()
    command = serve_command(options.checkpoint, "--port", port, "--log-format", "json")
    with run_server(command, port, CATDOG_TOKEN=TOKEN) as server:
        lines, good = asyncio.run(run_all(server, kept.getvalue(), options.count))
    print("\n".join(lines))
    print(json.dumps({"all_as_expected": good}))
    sys.exit(not good)


if __name__ == "__main__":
    main()
