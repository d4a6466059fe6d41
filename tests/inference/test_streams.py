"""Pictures and paths through pipes: stdin, /dev/stdin, a shell's <(...); the first bytes tell which."""

import io
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from PIL import Image

from catdog_cli import cli
from catdog_cli.inference import streams
from catdog_cli.inference.inputs import Unusable, expand_inputs
from catdog_cli.inference.streams import ImageBytes, PeekedStream, is_stream

from ..conftest import draw_image

KINDS = ("jpeg", "png", "gif", "bmp", "webp", "tiff", "ppm", "ico")


def encode(kind: str, size=(40, 40)) -> bytes:
    data = io.BytesIO()
    draw_image(0, 1).resize(size).save(data, kind)
    return data.getvalue()


def expand(*arguments, stdin=b""):
    return list(expand_inputs(arguments, io.BytesIO(stdin)))


@pytest.mark.parametrize("argument", ["-", "/dev/stdin"])
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_of_a_picture_are_one_input(kind, argument):
    content = encode(kind)
    assert expand(argument, stdin=content) == [ImageBytes(argument, content)]


@pytest.mark.parametrize(
    "paths",
    [
        ["BMW.jpg", "Pictures/1.png"],
        ["BM", "RIFF", "GIF8", "II", "MM"],
        ["GIF89 old.gif"],
        ["P6", "x"],
        ["P6.ppm"],
        ["8BPS.psd"],
        ["a"],
        ["\xff".encode("latin-1").decode("utf-8", "surrogateescape") + ".jpg"],
        ["x" * 3000, "y"],
    ],
)
@pytest.mark.parametrize("end", ["\n", "\0"])
def test_paths_stay_paths(paths, end):
    text = end.join(paths) + end
    assert expand("-", stdin=os.fsencode(text)) == [path for path in paths if path]


def test_nothing_is_nothing():
    assert expand("-") == []
    assert expand("-", stdin=b"\n\na.png\n") == ["a.png"]


def test_what_is_too_large_is_said_and_not_kept(monkeypatch):
    monkeypatch.setattr(streams, "MAX_IMAGE_BYTES", 1000)
    (found,) = expand("-", stdin=encode("bmp"))
    assert isinstance(found, Unusable)
    assert "'-' is too large for a picture" in found.reason


def test_paths_are_passed_on_as_they_come():
    """`find | catdog predict -` predicts while find still looks."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb", buffering=0) as other:
        found = expand_inputs(["-"], stdin)
        other.write(b"cat.png\n")
        started = time.monotonic()
        threading.Timer(20, other.close).start()  # or a failure would wait for ever
        assert next(found) == "cat.png"
        assert time.monotonic() - started < 10


def test_a_picture_that_comes_in_pieces_is_known():
    class Slow(io.BytesIO):
        def read1(self, size=-1):
            return super().read1(min(size, 1))

    for kind in KINDS:
        stream = PeekedStream(Slow(encode(kind)))
        assert stream.is_image
        assert stream.read_image("-").content == encode(kind)


@pytest.mark.parametrize(
    ("argument", "known"),
    [
        ("-", True),
        ("/dev/stdin", True),
        ("/dev/fd/63", True),
        ("/proc/self/fd/5", True),
        ("/dev/fd/x", False),
    ],
)
def test_what_is_a_pipe(argument, known):
    assert is_stream(argument) is known


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="no /dev/fd here")  # noqa: PTH112
def test_a_pipe_of_the_shell_is_read_once():
    for content, wanted in ((encode("png"), None), (b"a.png\nb.png\n", ["a.png", "b.png"])):
        reading, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
        name = f"/dev/fd/{reading}"
        assert expand(name) == (wanted or [ImageBytes(name, content)])
        os.close(reading)
    (closed,) = expand(name)
    assert isinstance(closed, Unusable)
    assert f"Cannot read the pipe '{name}'" in closed.reason


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///{}/my%20cat.png", "my cat.png"),
        ("file://localhost/{}/my%20cat.png", "my cat.png"),
        ("FILE:///{}/100%25%23%3F.png", "100%#?.png"),
        ("file:///{}/a#b?c.png", "a#b?c.png"),
        ("file:///{}/k%C3%A4tzchen.png", "kätzchen.png"),
        ("file:///{}/%ff.png", "\udcff.png"),
    ],
)
def test_file_addresses_are_paths(tmp_path, address, path):
    given = address.format(str(tmp_path).lstrip("/"))
    (tmp_path / path).touch()  # or ? would be a pattern
    wanted = str(tmp_path / path)
    assert expand(given) == [wanted]
    assert expand("-", stdin=given.encode() + b"\n") == [wanted]
    (tmp_path / "list.txt").write_text(given)
    assert expand(str(tmp_path / "list.txt")) == [wanted]


@pytest.mark.parametrize("address", ["file://photo.jpg", "file://elsewhere/x/cat.jpg", "file://"])
def test_file_addresses_of_other_machines_are_named(address):
    (found,) = expand(address)
    assert isinstance(found, Unusable)
    assert f"Cannot open '{address}': give a path of this machine" in found.reason


def test_a_folder_at_a_file_address(place):
    assert len(expand(f"file://{place}/pets")) == 20


@pytest.fixture
def shell(place):
    """Return a function that runs a line of bash in the working directory, where `catdog` is defined."""
    catdog = f'catdog() {{ "{sys.executable}" -m catdog_cli "$@"; }}; '

    def run(line):
        done = subprocess.run(["bash", "-c", catdog + line], capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("cat pets/cats/0.png | catdog predict - best.pt --cpu --json", "-"),
        ("catdog predict /dev/stdin best.pt --cpu --json < pets/cats/0.png", "/dev/stdin"),
        ("catdog predict <(cat pets/cats/0.png) best.pt --cpu --json", "/dev/fd/"),
        ("catdog predict <(echo pets/cats/0.png) best.pt --cpu --json", "pets/cats/0.png"),
        ('catdog predict "file://$PWD/pets/cats/0.png" best.pt --cpu --json', "/"),
    ],
)
def test_the_command_says_the_same_of_a_picture_however_it_comes(shell, place, line, path):
    code, out, err = shell(line)
    assert (code, err) == (0, "")
    (row,) = json.loads(out)
    assert row["path"].startswith(path)
    (plain,) = json.loads(shell("catdog predict pets/cats/0.png best.pt --cpu --json")[1])
    assert row["predictions"] == plain["predictions"]


def test_a_picture_from_stdin_is_drawn_and_written_but_has_no_file_to_sort(place, monkeypatch, capsys):
    class Stdin:
        buffer = io.BytesIO(encode("png"))

    monkeypatch.setattr(sys, "stdin", Stdin)
    line = ["predict", "-", "best.pt", "--cpu", "--plot", "p.png", "--output", "rows.csv", "--sort-into", "s"]
    assert cli.run(line) == 0
    assert "0 pictures linked by class" in capsys.readouterr().err
    assert Image.open(place / "p.png").width > 500
    assert (place / "rows.csv").read_text().splitlines()[1].startswith("-,ok")


def test_a_damaged_picture_from_stdin_is_named_by_it(place, monkeypatch, capsys):
    class Stdin:
        buffer = io.BytesIO(encode("png")[:60])

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert cli.run(["predict", "-", "best.pt", "--cpu"]) == 1
    assert capsys.readouterr().err.startswith("Cannot read the picture '-'")


def test_stdin_is_asked_for_once(place, capsys):
    assert cli.run(["predict", "-", "/dev/stdin", "best.pt"]) == 2
    assert "which can be read only once" in capsys.readouterr().err
