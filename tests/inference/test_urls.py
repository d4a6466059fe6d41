"""Pictures at addresses, from a server in this process."""

import http.server
import io
import threading

import pytest

from catdog_cli import Predictor, cli
from catdog_cli.images.read import ImageError
from catdog_cli.inference.batch import iterate_predictions
from catdog_cli.inference.urls import fetch_image, is_address

from ..conftest import draw_image
from .checkpoints import write_checkpoint


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with a picture, a page, a redirect, too much, or too late."""

    def do_GET(self):
        self.server.asked.append(self.path)
        redirects = {"/away": "file:///etc/hostname", "/ftp": "ftp://localhost/x", "/moved": "/photo.png"}
        if self.path in redirects:
            self.send_response(302)
            self.send_header("Location", redirects[self.path])
            self.end_headers()
            return
        if self.path == "/gone":
            return self.send_error(404)
        if self.path == "/slow":
            self.server.closing.wait()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>" if self.path == "/page" else self.server.image)

    def log_message(self, *args):
        pass


class Site(str):
    """The address of a server, and `asked`, the paths that it was asked for."""

    asked: list[str]


@pytest.fixture(scope="module")
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    data = io.BytesIO()
    draw_image(0, 1).save(data, "png")
    server.closing, server.asked = threading.Event(), []
    server.image = data.getvalue()
    server.handle_error = lambda *args: None  # of a client that has hung up
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = Site(f"http://127.0.0.1:{server.server_port}")
    address.asked = server.asked
    yield address
    server.closing.set()
    server.shutdown()
    server.server_close()


def test_an_address_gives_what_its_file_gives(site, tmp_path):
    draw_image(0, 1).save(tmp_path / "photo.png")
    predictor = Predictor.load(write_checkpoint(tmp_path / "best.pt"), device="cpu")
    sources = [f"{site}/photo.png", str(tmp_path / "photo.png"), f"{site}/moved", f"{site}/page"]
    rows = [prediction.to_dict() for prediction in iterate_predictions(predictor, sources, 3)]
    assert [row["path"] for row in rows] == sources
    assert rows[0]["predictions"] == rows[1]["predictions"] == rows[2]["predictions"]
    assert rows[3]["error"].startswith(f"Cannot read the picture '{site}/page': it is not a picture")


@pytest.mark.parametrize(
    ("path", "limits", "match"),
    [
        ("/gone", {}, "Not Found; check the address"),
        ("/away", {}, "not allowed"),
        ("/ftp", {}, "unknown url type: ftp"),
        ("/photo.png", {"max_bytes": 100}, "it sends more than 0.0001 MB"),
        ("/slow", {"max_seconds": 0.2}, "it took longer than 0.2 s"),
    ],
)
def test_what_does_not_bring_a_picture(site, path, limits, match):
    with pytest.raises(ImageError, match=match) as caught:
        fetch_image(site + path, **limits)
    assert f"Cannot fetch the picture '{site}{path}'" in str(caught.value)


@pytest.mark.parametrize("address", ["http://", "http://127.0.0.1:1/x.png", "http://a b/x", "https://[x"])
def test_addresses_that_lead_nowhere(address):
    with pytest.raises(ImageError, match="Cannot fetch the picture"):
        fetch_image(address, max_seconds=2)


def test_only_http_is_an_address():
    assert [is_address(text) for text in ("HTTPS://x", "http://x", "file:///x", "http.png")] == [True] * 2 + [
        False
    ] * 2


def test_a_plot_fetches_an_address_once(site, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "best.pt")
    for options in ([], ["--output", "rows.csv"]):
        site.asked.clear()
        line = ["predict", f"{site}/photo.png", f"{site}/gone", "best.pt", "--cpu", "--plot", "plot.png"]
        assert cli.run([*line, *options]) == 1  # of the address where there is nothing
        assert sorted(site.asked) == ["/gone", "/photo.png"]
        assert f"Cannot fetch the picture '{site}/gone'" in capsys.readouterr().err
        assert (tmp_path / "plot.png").stat().st_size > 1000
        (tmp_path / "plot.png").unlink()


def test_a_predictor_takes_addresses(site, tmp_path):
    draw_image(0, 1).save(tmp_path / "my photo.png")
    predictor = Predictor.load(write_checkpoint(tmp_path / "best.pt"), device="cpu")
    wanted = predictor(tmp_path / "my photo.png")
    assert predictor(f"{site}/photo.png") == wanted
    assert predictor((tmp_path / "my photo.png").as_uri()) == wanted
    assert predictor([f"{site}/photo.png", tmp_path / "my photo.png"]) == [wanted, wanted]
    good, page, gone = predictor.predict([f"{site}/photo.png", f"{site}/page", f"{site}/gone"])
    assert good.top_k() == wanted
    assert page.error.startswith(f"Cannot read the picture '{site}/page': it is not a picture")
    assert "gone" in gone.error
    with pytest.raises(ImageError, match=f"^Cannot read the picture '{site}/page'"):
        predictor(f"{site}/page")
