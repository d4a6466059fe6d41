"""`catdog export --to web`: the folder, what is printed, and what is refused before any work."""

import pytest

from catdog_cli.cli import run

from .trained import call, train_tiny


@pytest.fixture(scope="module")
def trained(few, tmp_path_factory):
    return train_tiny(few, tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture
def fetched(monkeypatch):
    """Let onnxruntime-web be there."""
    monkeypatch.setattr("catdog_cli.export.job.load_runtime", lambda *_: {"ort.wasm.min.js": b"runtime"})


def test_a_page_is_written_where_it_is_told(trained, fetched, tmp_path, capsys):
    assert run(["export", str(trained), "--to", "web", str(tmp_path / "page")]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"Exported: {tmp_path / 'page'} (")
    assert f"python -m http.server -d {tmp_path / 'page'} -b localhost" in printed.err
    assert f"catdog serve {trained} --page {tmp_path / 'page'}" in printed.err
    assert (tmp_path / "page" / "index.html").is_file()
    assert not (tmp_path / "page" / "parity.json").exists()  # it names pictures, and a page is published
    assert (tmp_path / "page.parity.json").is_file()


def test_by_itself_it_goes_beside_the_checkpoint(trained, fetched, capsys):
    code, document, _ = call(capsys, "export", trained, "--to", "web")
    assert code == 0
    assert document["path"] == str(trained / "best.page")
    files = [path for path in (trained / "best.page").rglob("*") if path.is_file()]
    assert document["bytes"] == sum(path.stat().st_size for path in files)
    assert document["parity"]["passed"] is True
    assert call(capsys, "export", trained, "--to", "web")[0] == 0  # again, in its place


def test_a_folder_with_something_else_stays_as_it_is(trained, tmp_path, capsys):
    (tmp_path / "cat.jpg").write_text("mine")
    code, document, said = call(capsys, "export", trained, "--to", "web", "--output", tmp_path)
    assert (code, document) == (1, None)
    assert "holds something other than a page of catdog" in said
    assert [path.name for path in tmp_path.iterdir()] == ["cat.jpg"]


def test_without_a_network_it_ends_in_a_sentence_and_writes_nothing(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setattr("catdog_cli.export.formats.make_onnx", None)  # which is not come to
    code, _, said = call(capsys, "export", trained, "--to", "web", tmp_path / "page")
    assert code == 1
    assert "cannot be reached" in said
    assert "--ort FILE" in said
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--ort", "x.tgz"], 2, "ort does nothing for onnx"),
        (["--to", "web", "--ort", "none.tgz"], 1, "Cannot read 'none.tgz' (No such file or directory)"),
        (["one", "--output", "two"], 2, "OUTPUT and --output are the same"),
    ],
)
def test_what_makes_no_sense_is_refused(trained, options, code, sentence, capsys):
    assert run(["export", str(trained), *options]) == code
    assert sentence in capsys.readouterr().err
