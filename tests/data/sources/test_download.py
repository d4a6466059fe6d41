"""Downloads from a local server that breaks off, lies and sends rubbish; archives nobody should trust."""

import hashlib
import http.server
import io
import stat
import tarfile
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
from torchvision.datasets import Flowers102, OxfordIIITPet

from catdog_cli.data.scan import scan_dataset
from catdog_cli.data.sources import download
from catdog_cli.data.sources.archives import unpack_archive
from catdog_cli.data.sources.download import describe_public, download_dataset
from catdog_cli.data.sources.fetch import RemoteFile, fetch_file
from catdog_cli.errors import DataError, SettingsError

BODY = bytes(range(256)) * 40  # 10,240 bytes


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` from memory; `faults` is a list of what goes wrong, one an answer."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.requests = {}, [], []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        fault = self.server.faults.pop(0) if self.server.faults else None
        wanted = self.headers.get("Range")
        self.server.requests.append(wanted)
        body = self.server.files.get(self.path.lstrip("/"))
        if body is None or isinstance(fault, int):
            return self.send_error(fault or 404)
        start = int(wanted[6:-1]) if wanted and fault != "no ranges" else 0
        if wanted and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if wanted and fault != "no ranges" else 200)
        if wanted and fault != "no ranges":
            shown = start + 1 if fault == "another range" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
        announced = len(body) - start + (500 if fault == "announces more" else 0)
        if fault not in ("no length", "endless"):
            self.send_header("Content-Length", str(announced))
        self.end_headers()
        rest = body[start:]
        if fault == "breaks off":
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest * 3 if fault == "endless" else rest)


@pytest.fixture
def server():
    """Return a running local server."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def remote(server):
    """Return a file on the server, with its true size and checksum."""
    server.files["a.zip"] = BODY
    return RemoteFile(f"{server.url}/a.zip", f"sha256:{hashlib.sha256(BODY).hexdigest()}", len(BODY))


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        ([], [None]),
        (["no length"], [None]),
        (["breaks off"], [None, "bytes=5120-"]),
        (["breaks off", "breaks off"], [None, "bytes=5120-", "bytes=7680-"]),
        (["breaks off", "no ranges"], [None, "bytes=5120-"]),
        ([503, 429], [None, None, None]),
        (["breaks off", 500], [None, "bytes=5120-", "bytes=5120-"]),
    ],
)
def test_a_file_is_fetched_whatever_breaks_on_the_way(server, remote, tmp_path, faults, ranges):
    server.faults = list(faults)
    seen = []
    fetch_file(remote, tmp_path / "a.zip", lambda done, total: seen.append((done, total)), wait_s=0)
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert server.requests == ranges
    assert seen[-1] == (len(BODY), len(BODY))
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_later_call_goes_on(server, remote, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(BODY[:1000])
    fetch_file(remote, tmp_path / "a.zip", wait_s=0)
    assert server.requests == ["bytes=1000-"]
    assert (tmp_path / "a.zip").read_bytes() == BODY
    fetch_file(remote, tmp_path / "a.zip", wait_s=0)
    assert len(server.requests) == 1


@pytest.mark.parametrize("size", [len(BODY), len(BODY) + 7])
def test_a_part_as_long_as_the_file_or_longer(server, remote, tmp_path, size):
    (tmp_path / "a.zip.part").write_bytes((BODY + b"1234567")[:size])
    fetch_file(remote, tmp_path / "a.zip", wait_s=0)
    assert (tmp_path / "a.zip").read_bytes() == BODY


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (404, "server refused .*HTTP 404"),
        ("announces more", "has 10,740 bytes now, but 10,240 are expected"),
        ("endless", "sent more than the 10,240 bytes"),
        ("another range", "sent another part"),
    ],
)
def test_lies_are_refused(server, remote, tmp_path, fault, message):
    if fault == "another range":
        (tmp_path / "a.zip.part").write_bytes(BODY[:10])
    server.faults = [fault] * 9
    with pytest.raises(DataError, match=message):
        fetch_file(remote, tmp_path / "a.zip", wait_s=0)
    assert not (tmp_path / "a.zip").exists()


def test_a_connection_that_breaks_off_for_good(server, tmp_path):
    server.files["a.zip"] = BODY
    server.faults = ["breaks off"] * 99
    with pytest.raises(DataError, match=r"broke off at 10,239 bytes .*run the same command again"):
        fetch_file(RemoteFile(f"{server.url}/a.zip"), tmp_path / "a.zip", wait_s=0)
    assert (tmp_path / "a.zip.part").read_bytes() == BODY[:-1]


def test_a_wrong_checksum_removes_the_file(server, remote, tmp_path):
    server.files["a.zip"] = BODY[::-1]
    with pytest.raises(DataError, match="does not have the sha256 checksum"):
        fetch_file(remote, tmp_path / "a.zip", wait_s=0)
    assert list(tmp_path.iterdir()) == []


def test_offline_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"'127.0.0.1' cannot be reached .*catdog data sample"):
        fetch_file(RemoteFile("http://127.0.0.1:9/a.zip"), tmp_path / "a.zip", wait_s=0)


def make_zip(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def make_tar(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_unpacking(tmp_path, make):
    (tmp_path / "a").write_bytes(make({"x/y.txt": b"hello", "./z.txt": b""}))
    seen = []
    unpack_archive(tmp_path / "a", tmp_path / "out", report=lambda done, total: seen.append(done))
    assert (tmp_path / "out/x/y.txt").read_bytes() == b"hello"
    assert (tmp_path / "out/z.txt").read_bytes() == b""
    assert seen == [1, 2]


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "C:\\evil", "a\\..\\evil"])
def test_paths_out_of_the_folder_are_refused(tmp_path, make, name):
    (tmp_path / "a").write_bytes(make({name: b"evil"}))
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack_archive(tmp_path / "a", tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_links_are_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    for name in ("a.tar.gz", "a.zip"):
        with pytest.raises(DataError, match="'link', which is a link or a device"):
            unpack_archive(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("limits", [{"max_bytes": 900_000}, {"max_files": 1}])
def test_bombs_are_refused(tmp_path, limits):
    (tmp_path / "a.zip").write_bytes(make_zip({"a": b"0" * 500_000, "b": b"0" * 500_000}))
    with pytest.raises(DataError, match="unpacks to more than"):
        unpack_archive(tmp_path / "a.zip", tmp_path / "out", **limits)


def test_damaged_archives_are_refused(tmp_path):
    whole = make_zip({"a": bytes(np.random.default_rng(0).integers(0, 256, 3000, dtype=np.uint8))})
    cases = {
        "a.zip": b"no archive",
        "b.zip": whole[:200] + b"12345" + whole[205:],
        "c.tgz": make_tar({"a": b"1"})[:40],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="is damaged"):
            unpack_archive(tmp_path / name, tmp_path / "out")


def offer(server, monkeypatch, constant, files):
    """Put an archive of `files` on the server in place of the published one."""
    body = make_zip(files)
    remote = getattr(download, constant)
    server.files[remote.name] = body
    checksum = remote.checksum and f"sha256:{hashlib.sha256(body).hexdigest()}"
    monkeypatch.setattr(download, constant, replace(remote, checksum=checksum, num_bytes=len(body)))


@pytest.fixture
def petimages(server, monkeypatch):
    """Offer three cats and two dogs as Microsoft's archive."""
    files = {f"PetImages/Cat/{number}.jpg": f"cat {number}" for number in range(3)}
    files |= {f"PetImages/Dog/{number}.jpg": f"dog {number}" for number in range(2)}
    offer(
        server,
        monkeypatch,
        "PETIMAGES",
        {**files, "PetImages/Cat/Thumbs.db": "x", "MSR-LA - 3467.docx": "law"},
    )
    return server


def listing(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_petimages_become_class_folders(petimages, tmp_path):
    steps = set()
    root = tmp_path / "pictures"
    summary = download_dataset(
        "cats-vs-dogs",
        root,
        base_url=petimages.url,
        report=lambda step, done, total: steps.add(step),
        wait_s=0,
    )
    assert (summary.num_pictures, summary.already_there) == (5, False)
    wanted = ["cats/0.jpg", "cats/1.jpg", "cats/2.jpg", "dogs/0.jpg", "dogs/1.jpg"]
    assert listing(root) == [".catdog-download.json", "MSR-LA - 3467.docx", *wanted]
    assert steps == {"fetching kagglecatsanddogs_5340.zip", "unpacking kagglecatsanddogs_5340.zip"}
    assert scan_dataset(root).class_names == ["cats", "dogs"]
    assert download_dataset("cats-vs-dogs", root, base_url=petimages.url).already_there
    assert len(petimages.requests) == 1


@pytest.mark.parametrize("kill_at", ["fetching", "unpacking"])
def test_an_interrupted_download_goes_on(petimages, tmp_path, kill_at):
    def kill(step, done, total):
        if step.startswith(kill_at) and done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_dataset("cats-vs-dogs", tmp_path / "p", base_url=petimages.url, report=kill)
    assert not (tmp_path / "p/cats").exists()
    summary = download_dataset("cats-vs-dogs", tmp_path / "p", base_url=petimages.url)
    assert summary.num_pictures == 5
    assert not (tmp_path / "p/.catdog-download").exists()


def test_a_kill_between_the_last_moves(petimages, tmp_path, monkeypatch):
    def kill(path, target):
        if path.name == "dogs":
            raise KeyboardInterrupt
        return renamed(path, target)

    renamed = download.Path.rename
    monkeypatch.setattr(download.Path, "rename", kill)
    with pytest.raises(KeyboardInterrupt):
        download_dataset("cats-vs-dogs", tmp_path / "p", base_url=petimages.url)
    monkeypatch.undo()
    assert (tmp_path / "p/cats").exists()
    petimages.files.clear()
    assert download_dataset("cats-vs-dogs", tmp_path / "p", base_url=petimages.url).num_pictures == 5


def test_the_filtered_set_gets_train_and_val(server, tmp_path, monkeypatch):
    names = [f"{split}/{name}/1.jpg" for split in ("train", "validation") for name in ("cats", "dogs")]
    files = {f"cats_and_dogs_filtered/{name}": name for name in names}
    offer(server, monkeypatch, "FILTERED", {**files, "cats_and_dogs_filtered/vectorize.py": "import os"})
    assert download_dataset("cats-vs-dogs-filtered", tmp_path, base_url=server.url).num_pictures == 4
    assert listing(tmp_path)[1:] == [
        "train/cats/1.jpg",
        "train/dogs/1.jpg",
        "val/cats/1.jpg",
        "val/dogs/1.jpg",
    ]


@pytest.mark.parametrize(
    ("breeds", "wanted"),
    [
        (False, ["test/cats/Abyssinian_2.jpg", "train/cats/Abyssinian_1.jpg", "train/dogs/great_dane_7.jpg"]),
        (
            True,
            [
                "test/Abyssinian/Abyssinian_2.jpg",
                "train/Abyssinian/Abyssinian_1.jpg",
                "train/Great Dane/great_dane_7.jpg",
            ],
        ),
    ],
)
def test_pets(server, tmp_path, monkeypatch, breeds, wanted):
    names = ("Abyssinian_1", "Abyssinian_2", "great_dane_7")
    images = {f"images/{name}.jpg": name.encode() for name in names}
    lists = {"trainval": b"Abyssinian_1 1 1 1\ngreat_dane_7 2 2 1\n", "test": b"Abyssinian_2 1 1 1\n"}
    server.files["images.tar.gz"] = make_tar({**images, "images/Abyssinian_1.mat": b""})
    notes = {f"annotations/{name}.txt": content for name, content in lists.items()}
    server.files["annotations.tar.gz"] = make_tar(notes)
    resources = [
        (f"https://example.org/{name}", hashlib.md5(body).hexdigest()) for name, body in server.files.items()
    ]
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", resources)
    assert download_dataset("pets", tmp_path, breeds, server.url).num_pictures == 3
    assert listing(tmp_path)[1:] == wanted


def test_flowers(server, tmp_path, monkeypatch):
    server.files["102flowers.tgz"] = make_tar({f"jpg/image_{n:05d}.jpg": b"flower" for n in range(1, 7)})
    for name, values in (
        ("imagelabels.mat", {"labels": [1, 2, 1, 2, 1, 2]}),
        ("setid.mat", {"trnid": [1, 2], "valid": [3, 4], "tstid": [5, 6]}),
    ):
        data = io.BytesIO()
        scipy.io.savemat(data, values)
        server.files[name] = data.getvalue()
    keys = {"102flowers.tgz": "image", "imagelabels.mat": "label", "setid.mat": "setid"}
    table = {keys[name]: (name, hashlib.md5(body).hexdigest()) for name, body in server.files.items()}
    monkeypatch.setattr(Flowers102, "_file_dict", table)
    assert download_dataset("flowers102", tmp_path, base_url=server.url).num_pictures == 6
    assert listing(tmp_path)[1:3] == [
        "test/hard-leaved pocket orchid/image_00006.jpg",
        "test/pink primrose/image_00005.jpg",
    ]
    assert scan_dataset(tmp_path, leaks=False).class_names == ["hard-leaved pocket orchid", "pink primrose"]


def test_places_and_names_that_are_refused(petimages, tmp_path):
    with pytest.raises(SettingsError, match="no pictures called 'birds': known are cats-vs-dogs, "):
        describe_public("birds")
    with pytest.raises(DataError, match="'flowers102' has no breeds"):
        download_dataset("flowers102", tmp_path / "p", breeds=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(DataError, match=r"mine' holds something already"):
        download_dataset("pets", tmp_path / "mine")
    with pytest.raises(DataError, match="Cannot download to"):
        download_dataset("pets", tmp_path / "mine/letter.txt")
    download_dataset("cats-vs-dogs", tmp_path / "p", base_url=petimages.url)
    with pytest.raises(DataError, match="holds the download 'cats-vs-dogs' already"):
        download_dataset("pets", tmp_path / "p")


def test_half_of_another_download_is_kept(server, tmp_path):
    with pytest.raises(DataError, match="HTTP 404"):
        download_dataset("cats-vs-dogs", tmp_path / "p", base_url=server.url)
    with pytest.raises(DataError, match="holds half of the download 'cats-vs-dogs'"):
        download_dataset("pets", tmp_path / "p", base_url=server.url)


def test_an_archive_without_its_folders(server, tmp_path, monkeypatch):
    offer(server, monkeypatch, "PETIMAGES", {"something/else.jpg": "x"})
    with pytest.raises(DataError, match="does not hold the expected folders"):
        download_dataset("cats-vs-dogs", tmp_path / "p", base_url=server.url)


def test_a_small_disk_is_said_before_the_work(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10**8}))
    with pytest.raises(DataError, match=r"1.8 GB are needed on the disk"):
        download_dataset("cats-vs-dogs", tmp_path / "p", base_url=server.url)
    assert server.requests == []
