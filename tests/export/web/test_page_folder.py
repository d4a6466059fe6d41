"""The folder of a page: what is in it, and that nothing of its owner's is lost."""

import base64
import hashlib
import json
import re

import pytest

from catdog_cli.errors import CatdogError
from catdog_cli.export.web.page_folder import check_folder, list_files, make_title, write_page
from catdog_cli.inference.onnx_metadata import KnownImages, MapOutput, Maps, Metadata
from catdog_cli.models.tasks import MULTI_LABEL
from catdog_cli.page import FILES, OF_EXPORT, OF_SERVICE, SERVICE_WORKER
from catdog_cli.settings import InputSpec

RUNTIME = {"ort.js": b"runtime"}
SPEC = InputSpec(size=24, resize=32)


def metadata_of(names=("cats", "dogs"), **more):
    return Metadata(list(names), SPEC, "simple_cnn", **more)


@pytest.fixture
def network(tmp_path_factory):
    onnx = pytest.importorskip("onnx")

    def make(metadata):
        graph = onnx.helper.make_graph([], "empty", [], [])
        model = onnx.helper.make_model(graph)
        onnx.helper.set_model_props(model, {"catdog": metadata.to_json()})
        return model.SerializeToString()

    return make


def about(metadata):
    return json.loads(list_files(b"network", metadata, RUNTIME, "")["model.json"])


def test_all_that_a_page_needs_is_there(network, tmp_path):
    names = write_page(tmp_path / "page", network(metadata_of()), RUNTIME, "Apache-2.0")
    found = {path.relative_to(tmp_path / "page").as_posix() for path in (tmp_path / "page").rglob("*.*")}
    assert found == set(names)
    own = {path.relative_to(FILES).as_posix() for path in FILES.rglob("*.*")}
    assert own - {*OF_SERVICE, SERVICE_WORKER} < found
    assert {"model.onnx", "model.json", "sw.js", "manifest.webmanifest", "ort/ort.js"} < found
    assert not OF_SERVICE & found
    assert "local.js" in (tmp_path / "page" / "engine.js").read_text()
    licences = (tmp_path / "page" / "licences.txt").read_text()
    assert "catdog's authors" in licences
    assert "simple_cnn, trained from weights under this licence: Apache-2.0" in licences
    assert "Microsoft" in licences


def test_the_lists_of_who_needs_what_are_of_files_that_there_are():
    assert {path.name for path in FILES.iterdir()} >= OF_EXPORT | OF_SERVICE


def test_no_file_names_an_address_elsewhere():
    for path in FILES.rglob("*"):
        if path.suffix in (".js", ".html", ".css", ".webmanifest"):
            assert "http://" not in path.read_text().replace("http://www.w3.org", "")
            assert "https://" not in path.read_text()


def test_every_module_that_is_imported_is_there():
    for path in FILES.glob("*.js"):
        for name in re.findall(r"""(?:from|import)\s*\(?["']\./([^"']+)""", path.read_text()):
            assert name.startswith("ort/") or (FILES / name).is_file(), (path.name, name)


def test_the_service_worker_knows_every_file_by_its_content():
    files = list_files(b"network", metadata_of(), RUNTIME, "")
    script = files["sw.js"].decode()
    rows = json.loads(script.split("const FILES = ")[1].split(";\n")[0].replace(",\n]", "\n]"))
    kept = {name: content for name, content in files.items() if name != "sw.js"}
    assert [row[0] for row in rows] == [*kept, "./"]
    for name, num_bytes, digest in rows:
        content = kept["index.html" if name == "./" else name]
        assert num_bytes == len(content)
        assert base64.b64decode(digest) == hashlib.sha256(content).digest()


def version(*arguments):
    return re.search('VERSION = "(.+)"', list_files(*arguments)["sw.js"].decode())[1]


def test_its_version_changes_with_any_content():
    first = version(b"network", metadata_of(), RUNTIME, "")
    others = [
        (b"another", metadata_of(), RUNTIME, ""),
        (b"network", metadata_of(["cats", "pets"]), RUNTIME, ""),
        (b"network", metadata_of(), {"ort.js": b"other"}, ""),
        (b"network", metadata_of(), RUNTIME, "MIT"),
    ]
    assert len({first, *(version(*each) for each in others)}) == 5
    assert version(b"network", metadata_of(), RUNTIME, "") == first


def test_what_a_page_knows_of_its_network():
    maps = Maps((MapOutput("class_map", 0, "none"),), (0.0, 0.0))
    found = about(metadata_of(reference=KnownImages(100), maps=maps, category_names={"cats": "Cat"}))
    assert found["classes"] == [{"class": "cats", "name": "Cat"}, {"class": "dogs", "name": "dogs"}]
    assert found["unknown"] == {"rate": 0.01}
    assert found["maps"] == [{"name": "class_map", "kind": "none", "size": 24, "resize": 32}]
    assert found["side"] == 32
    assert found["several_labels"] is False


def test_what_a_network_lacks_is_nothing():
    found = about(metadata_of(task=MULTI_LABEL, thresholds=[0.25, 0.5]))
    assert (found["unknown"], found["maps"]) == (None, None)
    assert [each["threshold"] for each in found["classes"]] == [0.25, 0.5]
    assert found["several_labels"] is True


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (["cats"], "Cats"),
        (["cats", "dogs"], "Cats or dogs"),
        (["a", "b", "c"], "A, b or c"),
        (["a", "b", "c", "d"], "Which of 4?"),
        (["n" * 50, "m"], "Which of 2?"),
    ],
)
def test_titles(names, title):
    assert make_title(metadata_of(names)) == title


def test_an_earlier_page_is_replaced_and_other_files_stay(network, tmp_path):
    write_page(tmp_path, network(metadata_of()), {"old.js": b"old"})
    (tmp_path / "CNAME").write_text("example.org")
    (tmp_path / ".git").mkdir()
    write_page(tmp_path, network(metadata_of(["a", "b"])), RUNTIME)
    assert (tmp_path / "CNAME").read_text() == "example.org"
    assert not (tmp_path / "ort" / "old.js").exists()
    assert json.loads((tmp_path / "model.json").read_text())["title"] == "A or b"


def test_hidden_files_are_no_content(network, tmp_path):
    (tmp_path / ".git").mkdir()
    write_page(tmp_path, network(metadata_of()), RUNTIME)
    assert (tmp_path / "index.html").is_file()


def test_an_unfinished_page_is_finished(network, tmp_path, monkeypatch):
    from catdog_cli.export.web import page_folder

    write, written = page_folder.write_atomic, []

    def fail_late(path, *rest, **options):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *rest, **options)

    monkeypatch.setattr(page_folder, "write_atomic", fail_late)
    with pytest.raises(KeyboardInterrupt):
        write_page(tmp_path / "page", network(metadata_of()), RUNTIME)
    assert not (tmp_path / "page" / "sw.js").exists()  # nobody keeps half of it
    monkeypatch.undo()
    write_page(tmp_path / "page", network(metadata_of()), RUNTIME)
    assert (tmp_path / "page" / "sw.js").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("holiday.jpg", "mine"),
        ("model.json", "{}"),
        ("model.json", "not JSON"),
        ("model.json", '{"catdog": 1, "files": []}'),
        ("model.json", '{"catdog": "1", "files": [1]}'),
    ],
)
def test_a_folder_with_something_else_is_refused(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(CatdogError, match="give a new or an empty folder"):
        check_folder(tmp_path)
    assert (tmp_path / name).read_text() == content


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "page").write_text("mine")
    with pytest.raises(CatdogError, match="is a file"):
        check_folder(tmp_path / "page")


def test_an_earlier_list_reaches_nothing_outside(network, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    page = tmp_path / "page"
    page.mkdir()
    names = ["../mine.txt", str(tmp_path / "mine.txt"), "index.html"]
    (page / "model.json").write_text(json.dumps({"catdog": "0.1.0", "files": names}))
    write_page(page, network(metadata_of()), RUNTIME)
    assert (tmp_path / "mine.txt").read_text() == "mine"
