"""What a connection may not do: take long over headers, or over reading, or come in crowds."""

import contextlib
import socket
import time

import pytest

import catdog_cli
from catdog_cli.errors import CatdogError
from catdog_cli.serving.http_server import Patience, is_loopback, listen

from .served import running

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def served(checkpoint):
    patience = Patience(header_s=0.7, idle_s=1, write_s=1, connections=4, stop_s=5)
    with running(catdog_cli.app(checkpoint, device="cpu"), patience) as served:
        yield served


@pytest.mark.parametrize("raw", [b"", b"G", HEAD], ids=["nothing", "a byte", "no end"])
def test_headers_that_do_not_come_end_the_connection(served, raw):
    started = time.monotonic()
    assert served.send(raw).startswith(b"HTTP/1.1 408 ")
    assert 0.5 < time.monotonic() - started < 10


def test_a_second_request_has_its_time_as_well(served):
    found = served.send(HEAD + b"\r\n" + HEAD)
    assert found.count(b"HTTP/1.1 200 ") == 1


def test_requests_one_after_the_other_share_a_connection(served):
    def slowly(connection):
        for _ in range(3):
            time.sleep(0.4)  # 1.2 s in all: more than headers may take
            connection.sendall(HEAD + b"\r\n")

    assert served.send(HEAD + b"\r\n", slowly).count(b"HTTP/1.1 200 ") == 4


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n",
        b"EHLO x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_400(served, raw):
    answer = served.send(raw)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"nosniff" in answer


def test_endless_headers_are_cut_off(served):
    def flood(connection):
        with contextlib.suppress(OSError):
            for _ in range(5000):
                connection.sendall(b"X: " + b"y" * 1000 + b"\r\n")
            raise AssertionError("it takes all of them")

    assert served.send(HEAD, flood)[:13] in (b"", b"HTTP/1.1 400 ")


def test_a_crowd_is_sent_away_and_others_are_served_again(served):
    held = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(4)]
    time.sleep(0.2)
    answer = served.send(HEAD + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1\r\n" in answer
    for connection in held:
        connection.close()
    time.sleep(0.2)
    assert served.ask()[0] == 200


def test_who_does_not_read_is_left(checkpoint, tmp_path):
    (tmp_path / "index.html").write_text("")
    (tmp_path / "large.wasm").write_bytes(bytes(30_000_000))
    patience = Patience(write_s=1, stop_s=5)
    with running(catdog_cli.app(checkpoint, page=tmp_path, device="cpu"), patience) as served:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", served.port))
            connection.sendall(b"GET /large.wasm HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(2.5)
            found = 0
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(1 << 20):
                    found += len(part)
        assert found < 30_000_000
        assert len(served.ask(path="/large.wasm")[1]) == 30_000_000


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        *(("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("LocalHost", True)),
        *(("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("pets.example", False)),
    ],
)
def test_loopback_is_told(host, is_own):
    assert is_loopback(host) == is_own


@pytest.mark.parametrize(
    ("host", "match"),
    [("203.0.113.7", r"of '203.0.113.7' \(.*choose another --host or --port"), ("no name", "of 'no name'")],
)
def test_an_address_that_is_not_this_machine_is_named(host, match):
    with pytest.raises(CatdogError, match=match):
        listen(host, 0)
