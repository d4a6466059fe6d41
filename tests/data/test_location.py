"""DATA that is no plain path: archives and addresses, the user's home, a run's data that moved with it."""

import io
import json
import subprocess
import sys
import tarfile
import threading
import zipfile

import pytest

from catdog_cli.data.location import absolute_data, find_data
from catdog_cli.data.scan import data_root, describe_scan, scan_dataset
from catdog_cli.data.sources import unpacked
from catdog_cli.errors import DataError
from catdog_cli.features.store import clear_cache
from catdog_cli.runtime.files import cache_root
from tests.conftest import write_images

from .sources.test_download import Server

COUNTS = {"train/cats": 2, "train/dogs": 2, "val/cats": 1, "val/dogs": 1}


def pack(folder, path, prefix=""):
    """Pack a folder into an archive whose kind is that of its suffix."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, prefix + str(file.relative_to(folder)))
        return path
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:
        for file in files:
            archive.add(file, prefix + str(file.relative_to(folder)))
    return path


def list_cache():
    """Return what lies in the cache, locks aside."""
    return sorted(path.name for path in cache_root().glob("unpacked/*") if path.suffix != ".lock")


@pytest.mark.parametrize(
    "name", ["pets.zip", "pets.tar", "pets.tar.gz", "pets.tgz", "pets.tar.xz", "p.tar.bz2", "x"]
)
@pytest.mark.parametrize("prefix", ["", "pets/", "a/b/"])
def test_an_archive_is_data(tmp_path, name, prefix):
    archive = pack(write_images(tmp_path / "pets", COUNTS), tmp_path / name, prefix)
    dataset = scan_dataset(archive)
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 4, "val": 2}
    assert f"{str(archive)!r} is an archive: unpacked in" in describe_scan(dataset)[0]
    assert dataset.source("train", 0).read_bytes() == (tmp_path / "pets/train/cats/0.png").read_bytes()
    assert data_root(archive) == dataset.root
    assert len(list_cache()) == 1
    archive.rename(tmp_path / f"moved-{name}")  # known by content, whatever its place
    assert len(scan_dataset(tmp_path / f"moved-{name}")) == 6
    assert len(list_cache()) == 1


def test_an_archive_is_unpacked_once(tmp_path, monkeypatch):
    archive = pack(write_images(tmp_path / "pets", COUNTS), tmp_path / "pets.zip")
    scan_dataset(archive)
    monkeypatch.setattr(unpacked, "unpack_archive", None)
    assert "unpacked before in" in describe_scan(scan_dataset(archive))[0]
    assert clear_cache() > 0
    assert list_cache() == []


def test_an_archive_with_a_table_is_data(tmp_path):
    root = write_images(tmp_path / "breeds", {"train": 4})
    (root / "labels.csv").write_text("id,breed\n0,a\n1,b\n2,a\n3,b\n")
    dataset = scan_dataset(pack(root, tmp_path / "breeds.zip"))
    assert dataset.class_names == ["a", "b"]
    assert len(describe_scan(dataset)) == 3


def test_a_kill_half_way_leaves_nothing_half(tmp_path):
    archive = pack(write_images(tmp_path / "pets", COUNTS), tmp_path / "pets.zip")
    script = f"""
import os
from catdog_cli.data.sources import archives, unpacked
def report(done, total):
    if done == 3:
        os._exit(9)
unpacked._unpack = lambda archive, work, _: archives.unpack_archive(archive, work, report=report)
unpacked.unpack_once(__import__("pathlib").Path({str(archive)!r}))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    assert all(name.startswith(".") for name in list_cache())
    assert len(scan_dataset(archive)) == 6
    assert list_cache() == [data_root(archive).name]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["../cats/0.png"], "leads out of the folder"),
        (["/cats/0.png"], "leads out of the folder"),
        (["data.pkl", "version"], "is a .zip file without pictures"),
    ],
)
def test_archives_that_are_refused(tmp_path, names, message):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"0")
    with pytest.raises(DataError, match=message):
        scan_dataset(tmp_path / "x.zip")
    assert list_cache() == []


def test_bombs_and_damaged_archives(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cats/0.png", b"\0" * 3_000_000)
    monkeypatch.setattr(unpacked, "LEAST_BYTES", 1_000_000)
    with pytest.raises(DataError, match="unpacks to more than 1,000,000 bytes"):
        scan_dataset(tmp_path / "bomb.zip")
    whole = pack(write_images(tmp_path / "pets", COUNTS), tmp_path / "p.tar.gz").read_bytes()
    (tmp_path / "half.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DataError, match=r"archive 'half.tar.gz' is damaged|is compressed, but not an archive"
    ):
        scan_dataset(tmp_path / "half.tar.gz")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"7z\xbc\xaf\x27\x1c rest", "is a .7z archive, which is not read"),
        (b"Rar!\x1a\x07\1\0", "is a .rar archive, which is not read"),
        (b"\x1f\x8b\x08\0 not a tar", "is compressed, but not an archive"),
        (b"PK\x03\x04 torn", "pets.zip"),
    ],
)
def test_files_that_are_no_archives_of_pictures(tmp_path, data, message):
    (tmp_path / "pets.zip").write_bytes(data)
    with pytest.raises(DataError, match=message):
        scan_dataset(tmp_path / "pets.zip")


def test_no_room_in_the_cache_is_said(tmp_path, monkeypatch):
    archive = pack(write_images(tmp_path / "pets", COUNTS), tmp_path / "pets.zip")
    (tmp_path / "file").touch()
    monkeypatch.setenv("CATDOG_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"Cannot unpack into .*file/unpacked' .*set CATDOG_CACHE to another"):
        scan_dataset(archive)


@pytest.fixture
def server(tmp_path):
    archive = pack(write_images(tmp_path / "pets", COUNTS), tmp_path / "pets.zip")
    with Server() as running:
        running.files.update({"pets.zip": archive.read_bytes(), "page": b"<html>log in</html>"})
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_an_address_is_data_and_is_asked_once(server):
    dataset = scan_dataset(f"{server.url}/pets.zip")
    assert len(dataset) == 6
    assert "was downloaded and unpacked in" in describe_scan(dataset)[0]
    assert len(server.requests) == 1
    assert "downloaded before, to" in describe_scan(scan_dataset(f"{server.url}/pets.zip"))[0]
    assert len(server.requests) == 1
    assert not list(cache_root().rglob("*.download"))


@pytest.mark.parametrize(
    ("page", "message"), [("page", "sends is not a .zip or .tar"), ("gone", "HTTP 404.*: check the address")]
)
def test_addresses_that_are_no_data(server, page, message):
    with pytest.raises(DataError, match=message):
        scan_dataset(f"{server.url}/{page}")
    server.files["gone"] = server.files["page"] = server.files["pets.zip"]
    assert len(scan_dataset(f"{server.url}/{page}")) == 6  # what was wrong is not kept


def test_an_address_that_cannot_be_reached():
    with pytest.raises(DataError, match=r"cannot be reached .*: connect .* run the same command again.$"):
        scan_dataset("http://127.0.0.1:9/pets.zip")


def test_a_file_address_is_data(tmp_path):
    folder = write_images(tmp_path / "my pets", COUNTS)
    address = f"file://{tmp_path}/my%20pets"
    assert len(scan_dataset(address)) == 6
    assert absolute_data(address) == find_data(address, tmp_path) == str(folder)
    with pytest.raises(DataError, match="Cannot open 'file://elsewhere/pets': give a path of this machine"):
        scan_dataset("file://elsewhere/pets")


def test_an_archive_that_was_cut_off(tmp_path):
    whole = pack(write_images(tmp_path / "pets", COUNTS), tmp_path / "pets.zip").read_bytes()
    (tmp_path / "pets.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"archive 'pets.zip' is damaged \(its beginning or end is missing\)"):
        scan_dataset(tmp_path / "pets.zip")


def test_the_user_s_home(tmp_path, monkeypatch):
    write_images(tmp_path / "pets", COUNTS)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "pets")
    assert len(scan_dataset("~/pets")) == 6
    assert absolute_data("~/pets") == str(tmp_path / "pets")
    assert absolute_data("http://x/y.zip") == "http://x/y.zip"
    with pytest.raises(DataError, match="'~nobody-here/pets' does not exist"):
        scan_dataset("~nobody-here/pets")
    write_images(tmp_path / "pets" / "~", COUNTS)  # a folder of that very name
    assert scan_dataset("~").root.name == "~"


def test_data_that_moved_with_its_run_is_found(tmp_path):
    run = tmp_path / "b" / "checkpoints" / "run"
    run.mkdir(parents=True)
    (run / "settings.json").write_text(json.dumps({"data": "/gone/pets", "data_from_run": "../../pets"}))
    assert find_data("/gone/pets", run) == "/gone/pets"
    write_images(tmp_path / "b" / "pets", COUNTS)
    assert find_data("/gone/pets", run) == str(tmp_path / "b" / "pets")
    (run / "settings.json").write_text(json.dumps({"data": "pets"}))  # as older runs have it
    assert find_data("pets", run) == str(tmp_path / "b" / "pets")
    assert find_data("other", run) == "other"


def test_a_spreadsheet_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "labels.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", b"0")
    with pytest.raises(DataError, match="is a spreadsheet: save it as a CSV file"):
        scan_dataset(tmp_path / "labels.xlsx")


def test_a_text_is_no_archive(tmp_path):
    (tmp_path / "x.zip").write_bytes(io.BytesIO(b"hello").getvalue())
    with pytest.raises(DataError, match="neither a data folder nor a manifest"):
        scan_dataset(tmp_path / "x.zip")
