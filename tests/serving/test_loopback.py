"""The server for one browser on the same machine: who gets an answer, and who does not."""

import http.client
import json
import socket
import threading

import pytest

from catdog_cli.errors import CatdogError
from catdog_cli.serving.loopback import MAX_BODY_BYTES, LoopbackServer, Reply


def handle(request):
    if request.path == "fail":
        raise CatdogError("The disk is full.")
    return Reply.of_json([request.method, request.path, request.query, request.body.decode()])


@pytest.fixture(scope="module")
def server():
    server = LoopbackServer()
    thread = threading.Thread(target=server.run, args=(handle,))
    thread.start()
    yield server
    server.stop()
    thread.join(30)
    assert not thread.is_alive()


def ask(server, method="GET", path=None, body=None, **headers):
    """Return status, document and headers; `path` is below the token where it has no slash in front."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    path = path or ""
    target = path if path.startswith("/") else f"/{server.token}/{path}"
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, target, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if content else None, answer.headers


def own(server):
    return {"Origin": f"http://127.0.0.1:{server.port}", "Content_Type": "application/json"}


def test_a_page_asks_and_posts(server):
    assert ask(server, path="a/b?x=1&x=2")[:2] == (200, ["GET", "a/b", {"x": "2"}, ""])
    assert ask(server, "POST", "c", b"{}", **own(server))[:2] == (200, ["POST", "c", {}, "{}"])
    assert ask(server, "POST", "c", b"{}", **own(server), Sec_Fetch_Site="same-origin")[0] == 200
    assert ask(server, path="a", Host=f"localhost:{server.port}")[0] == 200


def test_every_answer_forbids_what_the_page_does_not_need(server):
    for path in ("a", "/", "/elsewhere"):
        headers = ask(server, path=path)[2]
        assert headers["Content-Security-Policy"].startswith("default-src 'self'; frame-ancestors 'none'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Server"] is None


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "a", {"Host": "evil.example"}, 421),  # a name that leads here
        ("GET", "a", {"Host": "127.0.0.1"}, 421),
        ("GET", "/a", {}, 404),  # without the token
        ("GET", "/TOKENx/a", {}, 404),
        ("GET", "a", {"Sec_Fetch_Site": "cross-site"}, 403),
        ("POST", "a", {"Origin": "http://evil.example"}, 403),
        ("POST", "a", {"Origin": "null"}, 403),
        ("POST", "a", {"Origin": None}, 403),
        ("POST", "a", {"Sec_Fetch_Site": "same-site"}, 403),
        ("POST", "a", {"Content_Type": "text/plain"}, 403),  # which a form of any page may send
        ("PUT", "a", {}, 405),
        ("DELETE", "a", {}, 405),
    ],
)
def test_who_gets_no_answer(server, method, path, headers, status):
    merged = {**(own(server) if method == "POST" else {}), **headers}
    merged = {name: value for name, value in merged.items() if value is not None}
    found = ask(server, method, path.replace("TOKEN", server.token), b"{}", **merged)
    assert found[0] == status
    assert set(found[1]) == {"error"}


def test_a_body_has_a_limit(server):
    assert ask(server, "POST", "a", b"x" * MAX_BODY_BYTES, **own(server))[0] == 200
    assert ask(server, "POST", "a", b"x" * (MAX_BODY_BYTES + 1), **own(server))[0] == 413


def test_an_error_is_a_sentence(server):
    assert ask(server, path="fail")[:2] == (409, {"error": "The disk is full."})


def test_only_this_machine_can_reach_it(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.port}/{server.token}/"
    assert len(server.token) >= 32


@pytest.mark.parametrize("port", [70000, None], ids=["too large", "taken"])
def test_a_port_that_cannot_be_had_is_named(port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = port or other.getsockname()[1]
        with pytest.raises(CatdogError, match=f"Cannot listen on port {port} of this machine .*--port"):
            LoopbackServer(port)
