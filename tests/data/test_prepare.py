"""Preparing: the same pixels as the pixel path's, whole or not there, and going on after a kill."""

import json
import pickle

import numpy as np
import pytest

from catdog_cli.data import prepare
from catdog_cli.data.manifests import write_split
from catdog_cli.data.prepare import prepare_dataset
from catdog_cli.data.scan import scan_dataset
from catdog_cli.data.splits import fingerprint, split_dataset
from catdog_cli.errors import DataError, SettingsError
from catdog_cli.images.transforms import load_image
from catdog_cli.settings import InputSpec
from tests.conftest import write_images


class KilledError(BaseException):
    """Stands for a kill between two batches."""


def test_rows_are_what_the_pixel_path_makes(pets, tmp_path):
    dataset = scan_dataset(pets)
    summary = prepare_dataset(dataset, tmp_path / "made", size=16)
    assert (summary.num_pictures, summary.skipped, summary.num_resumed) == (36, [], 0)
    made = scan_dataset(tmp_path / "made")
    assert made.class_names == dataset.class_names
    for name, split in dataset.splits.items():
        assert made.splits[name].paths == split.paths
        assert made.splits[name].labels.tolist() == split.labels.tolist()
        for index in range(len(split)):
            wanted = load_image(dataset.source(name, index), InputSpec(16, 16)).permute(1, 2, 0).numpy()
            assert np.array_equal(made.source(name, index), wanted)
    files = sorted(path.name for path in (tmp_path / "made").iterdir())
    assert files == ["classes.json", "files.csv", "images.npy", "labels.npy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "pets"]


def test_the_files_are_plain_numpy(pets, tmp_path):
    prepare_dataset(scan_dataset(pets), tmp_path / "made", size=16)
    images = np.load(tmp_path / "made/images.npy")
    assert (images.shape, images.dtype) == ((36, 16, 16, 3), np.uint8)
    assert np.load(tmp_path / "made/labels.npy").tolist() == [0] * 12 + [1] * 12 + [0] * 6 + [1] * 6


@pytest.mark.parametrize("shape", [(1, 8, 8, 3), (10**12, 4096, 4096, 3)])
def test_a_header_fills_the_room_left_for_it(tmp_path, shape):
    file = tmp_path / "images.npy"
    file.write_bytes(b"\0" * prepare.HEADER_BYTES + b"pixels")
    prepare._write_header(file, shape, "float32")
    assert file.read_bytes()[prepare.HEADER_BYTES - 1 :] == b"\npixels"
    with file.open("rb") as opened:
        np.lib.format.read_magic(opened)
        assert np.lib.format.read_array_header_1_0(opened) == (shape, False, np.float32)


def test_normalised_rows_are_floats_on_disk_and_the_same_pixels_when_read(pets, tmp_path):
    prepare_dataset(scan_dataset(pets), tmp_path / "bytes", size=16)
    prepare_dataset(scan_dataset(pets), tmp_path / "floats", size=16, normalise=True)
    floats = np.load(tmp_path / "floats/images.npy")
    assert floats.dtype == np.float32
    assert 0 <= floats.min() < 0.1
    assert 0.6 < floats.max() <= 1
    whole, exact = scan_dataset(tmp_path / "bytes"), scan_dataset(tmp_path / "floats")
    assert all(np.array_equal(whole.source("val", i), exact.source("val", i)) for i in range(12))


def test_damaged_files_are_named_and_skipped(pets, tmp_path):
    (pets / "train/cats/3.png").write_bytes(b"no picture")
    (pets / "val/dogs/5.png").write_bytes(b"")
    summary = prepare_dataset(scan_dataset(pets), tmp_path / "made", size=16)
    assert [path for path, _ in summary.skipped] == ["train/cats/3.png", "val/dogs/5.png"]
    assert "not a picture" in summary.skipped[0][1]
    made = scan_dataset(tmp_path / "made")
    assert (summary.num_pictures, len(made)) == (34, 34)
    assert "2 damaged pictures were skipped" in made.warnings[0]
    wanted = load_image(pets / "train/cats/4.png", InputSpec(16, 16)).permute(1, 2, 0).numpy()
    index = made.splits["train"].paths.index("train/cats/4.png")
    assert np.array_equal(made.source("train", index), wanted)


@pytest.mark.parametrize("torn", [b"", b'{"files": 5, "b'])
def test_a_killed_run_goes_on(pets, tmp_path, monkeypatch, torn):
    (pets / "train/cats/1.png").write_bytes(b"no picture")
    dataset = scan_dataset(pets)
    prepare_dataset(dataset, tmp_path / "whole", size=16)
    monkeypatch.setattr(prepare, "JOURNAL_BATCH", 5)

    def kill(done, total):
        if done == 15:
            raise KilledError

    with pytest.raises(KilledError):
        prepare_dataset(dataset, tmp_path / "made", size=16, report=kill)
    assert not (tmp_path / "made").exists()
    with (tmp_path / ".made.preparing" / "journal.jsonl").open("ab") as file:
        file.write(torn)
    with (tmp_path / ".made.preparing" / "images.npy").open("ab") as file:
        file.write(b"half a picture")
    seen = []
    summary = prepare_dataset(
        dataset, tmp_path / "made", size=16, report=lambda done, total: seen.append(done)
    )
    assert summary.num_resumed == 15
    assert seen == [20, 25, 30, 35, 36]
    for name in ("images.npy", "labels.npy", "files.csv", "classes.json"):
        assert (tmp_path / "made" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_another_plan_starts_anew(pets, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "JOURNAL_BATCH", 5)

    def kill(done, total):
        raise KilledError

    with pytest.raises(KilledError):
        prepare_dataset(scan_dataset(pets), tmp_path / "made", size=16, report=kill)
    assert prepare_dataset(scan_dataset(pets), tmp_path / "made", size=20).num_resumed == 0
    assert np.load(tmp_path / "made/images.npy").shape == (36, 20, 20, 3)


def test_what_is_prepared_is_left_as_it_is(pets, tmp_path):
    dataset = scan_dataset(pets)
    prepare_dataset(dataset, tmp_path / "made", size=16)
    before = (tmp_path / "made/images.npy").stat().st_mtime_ns
    assert prepare_dataset(dataset, tmp_path / "made", size=16).num_resumed == 36
    assert (tmp_path / "made/images.npy").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="prepared from other data or settings"):
        prepare_dataset(dataset, tmp_path / "made", size=17)


def test_places_that_are_refused(pets, tmp_path):
    dataset = scan_dataset(pets)
    with pytest.raises(DataError, match="lies in the data folder"):
        prepare_dataset(dataset, pets / "made")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match=r"mine' holds something else"):
        prepare_dataset(dataset, tmp_path / "mine")
    with pytest.raises(DataError, match="Cannot prepare"):
        prepare_dataset(dataset, tmp_path / "mine" / "letter.txt" / "deeper")
    with pytest.raises(SettingsError, match="image size is 4"):
        prepare_dataset(dataset, tmp_path / "made", size=4)


def test_a_full_disk_is_said_before_the_work(pets, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(DataError, match="GB are needed on the disk"):
        prepare_dataset(scan_dataset(pets), tmp_path / "made", size=16)


def test_no_readable_picture(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "x.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match="None of the 2 pictures can be read"):
        prepare_dataset(scan_dataset(tmp_path / "data"), tmp_path / "made")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classes.json", b"{", "is damaged"),
        ("labels.npy", b"", "is damaged"),
        ("images.npy", b"\x93NUMPY", "is damaged"),
        ("files.csv", b"path,class,split,key\n", "has 36 pictures, 36 labels, 0 files"),
        ("classes.json", b'{"format_version": 99}', "written by a later catdog"),
    ],
)
def test_a_damaged_folder_is_refused(pets, tmp_path, name, content, message):
    prepare_dataset(scan_dataset(pets), tmp_path / "made", size=16)
    (tmp_path / "made" / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        scan_dataset(tmp_path / "made")


def test_a_manifest_is_prepared_beside_it(pets, tmp_path):
    write_split(scan_dataset(pets), tmp_path / "split.csv", root=tmp_path)
    prepare_dataset(scan_dataset(tmp_path / "split.csv"), tmp_path / "made", size=16)
    made = scan_dataset(tmp_path / "made")
    assert {name: len(split) for name, split in made.splits.items()} == {"train": 24, "val": 12}


def test_a_prepared_folder_is_split_as_its_files_would_be(tmp_path):
    dataset = scan_dataset(write_images(tmp_path / "data", {"a": 20, "b": 20}))
    prepare_dataset(dataset, tmp_path / "made", size=16)
    made = split_dataset(scan_dataset(tmp_path / "made"))
    wanted = split_dataset(dataset)
    assert made.splits["val"].paths == wanted.splits["val"].paths
    first = load_image(wanted.source("val", 0), InputSpec(16, 16)).permute(1, 2, 0).numpy()
    assert np.array_equal(made.source("val", 0), first)


def test_fingerprint_leaks_and_pickles_of_a_prepared_folder(pets, tmp_path):
    (pets / "val/cats/0.png").write_bytes((pets / "train/cats/0.png").read_bytes())
    prepare_dataset(scan_dataset(pets), tmp_path / "made", size=16)
    made = scan_dataset(tmp_path / "made")
    assert "'val/cats/0.png'" in made.warnings[0]
    assert fingerprint(made) == fingerprint(scan_dataset(tmp_path / "made"))
    assert fingerprint(made)["digest"] != fingerprint(scan_dataset(pets))["digest"]
    sent = pickle.dumps(made)
    assert len(sent) < made.pixels.nbytes
    assert np.array_equal(pickle.loads(sent).source("val", 1), made.source("val", 1))


def test_a_prepared_folder_is_not_prepared_again(pets, tmp_path):
    prepare_dataset(scan_dataset(pets), tmp_path / "made", size=16)
    with pytest.raises(DataError, match="is prepared already"):
        prepare_dataset(scan_dataset(tmp_path / "made"), tmp_path / "again")
    assert json.loads((tmp_path / "made/classes.json").read_text())["class_names"] == ["cats", "dogs"]
