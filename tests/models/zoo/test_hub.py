"""Weights from the hub: out of its cache, from a server, and without a network never a hang."""

import http.server
import threading
import time

import pytest

from catdog_cli.models.zoo import hub

huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs pip install 'catdog[timm]'")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Give the hub an empty cache and no proxy."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hub"


class Hub(http.server.BaseHTTPRequestHandler):
    """A server that has one file, and refuses to give another."""

    def do_HEAD(self):
        name = self.path.rpartition("/")[2]
        self.send_response({"pytorch_model.bin": 200, "secret.bin": 401}.get(name, 404))
        self.send_header("Content-Length", "4")
        self.send_header("ETag", '"abcd"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(b"file")

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{running.server_port}"
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield address
        running.shutdown()


def test_the_first_file_that_the_hub_has_is_downloaded_into_its_cache(server, cache):
    names = ("model.safetensors", "pytorch_model.bin")
    assert hub.find_cached("timm/some.in1k", names) is None
    path = hub.download("timm/some.in1k", names)
    assert path.read_bytes() == b"file"
    assert path.is_relative_to(cache)
    assert hub.find_cached("timm/some.in1k", names) == path


@pytest.mark.parametrize(
    ("name", "message"), [("secret.bin", "Unauthorized|401"), ("nothing.bin", "has no nothing.bin")]
)
def test_what_the_hub_does_not_give_is_said(server, name, message):
    with pytest.raises(hub.HubError, match=message):
        hub.download("timm/some.in1k", (name,))


def never(*_):
    """Take as long as a system may to look for an address."""
    time.sleep(4)
    raise OSError("too late")


def test_a_hub_that_does_not_answer_is_given_up_soon(monkeypatch):
    monkeypatch.setattr(hub.socket, "create_connection", never)
    began = time.monotonic()
    with pytest.raises(hub.HubError, match=r"huggingface\.co does not answer within 1\.5 s"):
        hub.download("timm/some.in1k", ("model.safetensors",))
    assert time.monotonic() - began < 2


def test_a_machine_without_a_network_is_told_so(monkeypatch):
    def refuse(*_):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(hub.socket, "create_connection", refuse)
    with pytest.raises(hub.HubError, match=r"huggingface\.co: Network is unreachable"):
        hub.download("timm/some.in1k", ("model.safetensors",))


def test_offline_mode_asks_nobody(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.socket, "create_connection", lambda *_: pytest.fail("asked"))
    with pytest.raises(hub.HubError, match="HF_HUB_OFFLINE is set"):
        hub.download("timm/some.in1k", ("model.safetensors",))


@pytest.mark.parametrize(
    ("endpoint", "proxy", "bypassed", "hop"),
    [
        ("https://huggingface.co", None, "", ("huggingface.co", 443)),
        ("http://mirror:8080/hf", None, "", ("mirror", 8080)),
        ("https://huggingface.co", "http://proxy:3128", "", ("proxy", 3128)),
        ("https://huggingface.co", "proxy:3128", "", ("proxy", 3128)),
        ("https://huggingface.co", "http://proxy:3128", "huggingface.co", ("huggingface.co", 443)),
    ],
)
def test_the_first_hop_is_the_proxy_where_one_is_set(monkeypatch, endpoint, proxy, bypassed, hop):
    if proxy:
        monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("no_proxy", bypassed)
    assert hub._first_hop(endpoint) == hop


def test_a_try_asks_whether_the_hub_is_reached_and_for_nothing_else(server, cache):
    hub.try_hub()
    assert not cache.exists()
