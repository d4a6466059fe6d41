"""Three files out of an npm package: from the cache, from a registry, from a file; never another one."""

import hashlib
import io
import tarfile

import pytest

from catdog_cli.errors import CatdogError
from catdog_cli.export.web import onnxruntime_web
from catdog_cli.export.web.onnxruntime_web import FILES, PACKAGE, find_registry, load_runtime
from tests.page.folder_server import serving

CONTENTS = {each.member: f"content of {each.name}".encode() for each in FILES}
NAMED = {each.name: CONTENTS[each.member] for each in FILES}


def pack(contents):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in {"package/README.md": b"x" * 5000, **contents}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let a package of some hundred bytes be the right one."""
    files = tuple(
        each._replace(num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for each, content in zip(FILES, CONTENTS.values(), strict=True)
    )
    package = pack(CONTENTS)
    monkeypatch.setattr(onnxruntime_web, "FILES", files)
    monkeypatch.setattr(onnxruntime_web, "PACKAGE_BYTES", len(package))
    monkeypatch.setattr(onnxruntime_web, "PACKAGE_SHA512", hashlib.sha512(package).hexdigest())
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")  # where nobody answers
    return package


@pytest.fixture
def registry(small, tmp_path, monkeypatch):
    place = tmp_path / "registry" / "onnxruntime-web" / "-" / PACKAGE
    place.parent.mkdir(parents=True)
    place.write_bytes(small)
    with serving(tmp_path / "registry") as server:
        monkeypatch.setenv("npm_config_registry", server.url)
        server.package = place
        yield server


def test_it_is_fetched_once_and_kept(registry, tmp_path):
    steps = []
    assert load_runtime(report=lambda *step: steps.append(step)) == NAMED
    assert steps[-1] == (
        f"fetching {PACKAGE}",
        registry.package.stat().st_size,
        registry.package.stat().st_size,
    )
    registry.stop()
    assert load_runtime() == NAMED
    assert len(registry.asked) == 1
    assert sorted(path.name for path in onnxruntime_web._folder().iterdir()) == sorted(NAMED)


def test_a_damaged_cache_is_fetched_again(registry):
    load_runtime()
    (onnxruntime_web._folder() / FILES[0].name).write_bytes(b"half")
    assert load_runtime() == NAMED
    assert len(registry.asked) == 2


def test_another_package_is_never_taken(registry):
    registry.package.write_bytes(registry.package.read_bytes()[:-1] + b"?")
    with pytest.raises(CatdogError, match="does not have the sha512 checksum"):
        load_runtime()
    assert not any(onnxruntime_web._folder().iterdir())


def test_without_a_network_one_is_told_what_to_do():
    with pytest.raises(CatdogError, match=r"cannot be reached .*npm pack onnxruntime-web@.*--ort FILE"):
        load_runtime()


def test_a_registry_without_it_is_told(registry):
    registry.package.unlink()
    with pytest.raises(CatdogError, match=r"refused .*HTTP 404.*give it with --ort"):
        load_runtime()


def test_a_file_that_is_given_needs_no_network(small, tmp_path):
    path = tmp_path / "any-name.tgz"
    path.write_bytes(small)
    assert load_runtime(path) == NAMED


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"no archive", "not a .tgz file, or damaged"),
        (b"", "not a .tgz file, or damaged"),
        (pack(CONTENTS)[:-200], "not a .tgz file, or damaged"),
        (pack({FILES[0].member: CONTENTS[FILES[0].member]}), f"lacks '{FILES[1].member}'"),
        (pack(CONTENTS | {FILES[1].member: b"another version"}), f"has another '{FILES[1].member}'"),
        (pack(CONTENTS | {FILES[2].member: CONTENTS[FILES[2].member] + b"!"}), "has another"),
    ],
)
def test_what_is_not_the_package_is_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "given.tgz"
    path.write_bytes(content)
    with pytest.raises(CatdogError, match=sentence) as caught:
        load_runtime(path)
    assert PACKAGE in str(caught.value)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(CatdogError, match="No such file"):
        load_runtime(tmp_path / "none.tgz")


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "https://registry.npmjs.org"),
        ({"npm_config_registry": "https://npm.example.org/all/"}, "https://npm.example.org/all"),
        ({"NPM_CONFIG_REGISTRY": "https://npm.example.org"}, "https://npm.example.org"),
        ({"npm_config_registry": ""}, "https://registry.npmjs.org"),
    ],
)
def test_the_registry_is_the_one_that_npm_is_told_of(environment, address):
    assert find_registry(environment) == address
