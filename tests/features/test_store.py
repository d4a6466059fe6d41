"""The store on disk: duplicates, damage, two writers, eviction, and folders that cannot be written."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from catdog_cli.features import batches as sources
from catdog_cli.features import store as cache
from catdog_cli.features.store import Store, cache_root, clear_cache, list_stores, make_room
from catdog_cli.settings import HeadSpec, Phase

from ..conftest import PATIENCE_S, draw_image
from ..training.runs import Events, differences, settings_for, train

NAMES = ["a" * 24 + "-none", "b" * 24 + "-none", "c" * 24 + "-light-5f"]
PHASE = Phase("p", 2, 1e-2, batch_size=5)


def key(number):
    return f"{number:032x}"


def values(*numbers):
    return torch.tensor(numbers, dtype=torch.float32)[:, None].expand(-1, 4).clone()


def open_store(name=NAMES[0]):
    return Store(cache_root() / name, (4,), torch.float32)


def content(store):
    rows = store.open()
    return {name: rows[torch.tensor([place])][0, 0].item() for name, place in store.rows.items()}


def filled(name=NAMES[0], numbers=(1, 2, 3)):
    store = open_store(name)
    store.append([key(n) for n in numbers], values(*numbers))
    return store


def kept_bytes():
    return sum(path.stat().st_size for path in cache_root().rglob("*") if path.is_file())


def held_bytes():
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not say what a process holds")
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_rows_come_back_in_another_process_object():
    filled()
    assert content(open_store()) == {key(1): 1, key(2): 2, key(3): 3}


def test_rows_read_again_and_again_stay_out_of_memory(monkeypatch):
    resident = 2**21
    monkeypatch.setattr(cache, "RESIDENT_BYTES", resident)
    store = Store(cache_root() / NAMES[0], (4096,), torch.float32)
    numbers = torch.arange(1000.0)
    store.append([key(number) for number in range(1000)], numbers[:, None].expand(-1, 4096))
    rows, before = store.open(), held_bytes()
    for part in torch.randperm(1000).split(32):
        assert torch.equal(rows[part][:, 7], numbers[part])
    assert held_bytes() - before < 3 * resident  # of 16 MB that went by


def test_a_store_made_anew_by_another_process_is_read_anew():
    store, other = filled(numbers=(1, 2, 3)), open_store()
    clear_cache()
    other.append([key(n) for n in (7, 8, 9, 10)], values(7, 8, 9, 10))
    store.append([key(11)], values(11))
    assert content(store) == {key(n): n for n in (7, 8, 9, 10, 11)}


def test_same_content_shares_a_row():
    store = filled()
    store.append([key(3), key(4), key(4)], values(30, 4, 40))
    assert content(store) == {key(1): 1, key(2): 2, key(3): 3, key(4): 4}
    assert store.open().shape == (4, 4)


@pytest.mark.parametrize(
    ("file", "size", "left"),
    [
        ("rows.bin", 40, 2),  # of 48 bytes: the third row is torn
        ("rows.bin", 0, 0),
        ("keys.bin", 40, 2),
        ("keys.bin", 0, 0),
        ("rows.bin", 60, 3),  # a writer was killed before its keys were written
    ],
)
def test_torn_files_lose_only_what_was_torn(file, size, left):
    store = filled()
    os.truncate(store.folder / file, size)
    again = open_store()
    assert content(again) == {key(n): n for n in range(1, left + 1)}
    again.append([key(n) for n in (1, 2, 3, 4)], values(1, 2, 3, 4))
    assert content(open_store()) == {key(n): n for n in (1, 2, 3, 4)}


def test_keys_that_a_power_cut_made_zero_do_not_shift_rows():
    store = filled(numbers=(1, 2, 3, 4))
    with (store.folder / "keys.bin").open("r+b") as file:
        file.seek(16)
        file.write(bytes(32))
    again = open_store()
    again.append([key(5)], values(5))
    found = content(open_store())
    assert {name: found[name] for name in (key(1), key(4), key(5))} == {key(1): 1, key(4): 4, key(5): 5}


WRITER = """
import sys, torch
from pathlib import Path
from catdog_cli.features.store import Store
store = Store(Path(sys.argv[1]), (4,), torch.float32)
for start in range(0, 200, 5):
    numbers = [(n * int(sys.argv[2])) % 211 for n in range(start, start + 5)]
    rows = torch.tensor(numbers, dtype=torch.float32)[:, None].expand(-1, 4)
    store.append([f"{n:032x}" for n in numbers], rows)
"""


@pytest.mark.slow
def test_two_processes_append_at_once():
    folder = str(cache_root() / NAMES[0])
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, folder, step]) for step in ("2", "3")]
    assert [writer.wait(PATIENCE_S) for writer in writers] == [0, 0]
    numbers = {(n * step) % 211 for n in range(200) for step in (2, 3)}
    assert content(open_store()) == {key(n): n for n in numbers}
    assert open_store().count == len(numbers)


def test_least_recently_used_goes_first_and_the_one_in_use_never():
    for age, name in enumerate(NAMES):
        store = filled(name)
        os.utime(store.folder / "store.json", (1000 + age, 1000 + age))
    assert [store["path"].rsplit("/")[-1] for store in list_stores()] == NAMES
    each = list_stores()[0]["bytes"]
    make_room(each, 3.5 * each, keep={cache_root() / NAMES[0]})
    assert [Path(store["path"]).name for store in list_stores()] == [NAMES[0], NAMES[2]]
    make_room(10**9, each, keep={cache_root() / NAMES[0]})
    assert [Path(store["path"]).name for store in list_stores()] == [NAMES[0]]


def test_use_makes_a_store_young():
    for age, name in enumerate(NAMES):
        os.utime(filled(name).folder / "store.json", (1000 + age, 1000 + age))
    open_store(NAMES[0])
    assert Path(list_stores()[-1]["path"]).name == NAMES[0]
    assert list_stores()[-1]["used"] == pytest.approx(time.time(), abs=60)


def test_store_deleted_by_another_process_is_made_again():
    store = filled()
    make_room(10**9, 0, keep=set())
    store.append([key(7)], values(7))
    assert content(store) == {key(7): 7}
    assert len(list_stores()) == 1  # with store.json, so that it can be evicted


def test_a_store_that_loses_rows_keeps_the_others_for_everyone():
    store, other = filled(numbers=(1, 2, 3, 4)), open_store()
    mapped = other.open()
    assert store.keep_only({key(2), key(4), key(9)}) == 2 * store.entry_bytes
    assert mapped[torch.tensor([0, 3])][:, 0].tolist() == [1, 4]  # who has the rows mapped keeps them
    assert content(store) == content(open_store()) == {key(2): 2, key(4): 4}
    other.append([key(1), key(5)], values(1, 5))
    assert content(other) == content(store) == {key(n): n for n in (1, 2, 4, 5)}
    assert {path.name for path in store.folder.iterdir()} == {"keys.bin", "rows.bin", "store.json", "lock"}


@pytest.mark.parametrize("done", range(3))
def test_a_store_that_loses_rows_is_never_wrong_where_that_is_cut_short(monkeypatch, done):
    store, real, moves = filled(numbers=(1, 2, 3, 4)), Path.replace, []

    def move(path, target):
        moves.append(path)
        if len(moves) > done:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, target)

    monkeypatch.setattr(Path, "replace", move)
    right = {key(2): 2, key(3): 3}
    if done == 2:
        store.keep_only(set(right))
    else:
        with pytest.raises(OSError, match="Input/output"):
            store.keep_only(set(right))
    assert content(open_store()) == (right if done == 2 else {})
    again = open_store()
    again.append([key(3), key(7)], values(3, 7))
    assert content(again) == {**(right if done == 2 else {}), key(3): 3, key(7): 7}
    assert sum(each["bytes"] for each in list_stores()) == kept_bytes()  # nothing that nobody would count


def test_clear_cache_deletes_stores_and_nothing_else():
    filled()
    own = cache_root() / "photos"
    own.mkdir()
    (own / "store.json").write_text("{}")
    (cache_root() / NAMES[0] / "note.txt").write_text("mine")
    size = sum(store["bytes"] for store in list_stores())
    assert clear_cache() == size > 48
    assert list_stores() == []
    assert (own / "store.json").exists()
    assert [path.name for path in (cache_root() / NAMES[0]).iterdir()] == ["note.txt"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CATDOG_CACHE": "/a/b"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/catdog"),
        ({"CATDOG_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ({"HOME": "/home/me"}, "/home/me/.cache/catdog"),
        ({"HOME": "/home/me", "CATDOG_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/me/.cache/catdog"),
    ],
)
def test_where_the_cache_is(monkeypatch, variables, expected):
    for name in ("CATDOG_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_root() == Path(expected)


def test_training_keeps_its_features_where_the_variable_says(few, tmp_path, monkeypatch):
    monkeypatch.setenv("CATDOG_CACHE", str(tmp_path / "kept"))
    train(settings_for(few, PHASE), tmp_path / "run")
    (folder,) = (tmp_path / "kept").iterdir()
    assert (folder / "rows.bin").stat().st_size == 18 * 256 * 4


@pytest.fixture(scope="module")
def uncached(few, tmp_path_factory):
    return train(settings_for(few, PHASE, cache=False), tmp_path_factory.mktemp("uncached") / "run")


def trains_all_the_same(few, tmp_path, uncached, **fields):
    """Train and return the events, having checked that the weights are those of a run without cache."""
    events = Events()
    last = train(settings_for(few, PHASE, **fields), tmp_path / "run", events)
    assert differences(uncached["state_dict"], last["state_dict"]) == []
    return events


def test_features_too_many_to_gather_give_the_same_weights(few, tmp_path, uncached, monkeypatch):
    monkeypatch.setattr(sources, "GATHERED_BYTES", 0)
    monkeypatch.setattr(cache, "RESIDENT_BYTES", 0)
    trains_all_the_same(few, tmp_path, uncached)


def test_folder_that_cannot_be_made_is_said_and_training_goes_on(few, tmp_path, uncached, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CATDOG_CACHE", str(tmp_path / "file" / "cache"))
    events = trains_all_the_same(few, tmp_path, uncached)
    (warning,) = events.of("warning")
    assert "cannot be used (Not a directory)" in warning["text"]
    assert repr(str(tmp_path / "file" / "cache")) in warning["text"]


def test_full_disk_is_said_and_training_goes_on(few, tmp_path, uncached, monkeypatch):
    def full(path, offset, block):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "_write_at", full)
    (warning,) = trains_all_the_same(few, tmp_path, uncached).of("warning")
    assert "No space left on device" in warning["text"]


@pytest.mark.parametrize("folder_mode", [0o500, 0o000])
def test_folder_without_permission(few, tmp_path, uncached, monkeypatch, folder_mode):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "cache").mkdir(mode=folder_mode)
    monkeypatch.setenv("CATDOG_CACHE", str(tmp_path / "cache"))
    (warning,) = trains_all_the_same(few, tmp_path, uncached).of("warning")
    assert "Permission denied" in warning["text"]


def test_full_but_read_only_cache_is_used(few, tmp_path, uncached, monkeypatch):
    train(settings_for(few, PHASE), tmp_path / "first")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(cache, "_write_at", refuse)
    monkeypatch.setattr(cache, "FileLock", refuse)
    store = next(cache_root().glob("*/store.json"))
    real = Path.write_text
    monkeypatch.setattr(Path, "write_text", lambda p, *a, **k: refuse() if p == store else real(p, *a, **k))
    events = trains_all_the_same(few, tmp_path, uncached)
    assert events.of("features") == events.of("warning") == []


def test_limit_too_small_is_said_and_gives_the_same_weights(few, tmp_path, uncached):
    events = trains_all_the_same(few, tmp_path, uncached, cache_limit=1e-6)
    (logged,) = events.of("cache_too_small")
    assert logged == {"needed_bytes": 18 * (256 * 4 + 16), "limit_bytes": 1000.0}
    assert list_stores() == []


def test_limit_makes_room_for_another_network(few, tmp_path):
    limit = 1.5 * (18 * 256 * 4 + 18 * 16 + 200) / 1e9
    for seed in (0, 1, 2):  # from other random weights
        train(settings_for(few, PHASE, seed=seed, cache_limit=limit), tmp_path / str(seed))
        assert len(list_stores()) == 1


def draw_others(folder, first):
    """Write 12 training and 6 validation pictures that no other test has; return the data folder."""
    for split, count in (("train", 6), ("val", 3)):
        for label, name in enumerate(("cats", "dogs")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                image = draw_image(label, first + 100 * len(split) + number)
                image.save(folder / split / name / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    "phases",
    [
        pytest.param((PHASE,), id="head"),
        pytest.param((Phase("p", 3, 1e-2, augment="light", views=3, batch_size=5),), id="views"),
        pytest.param((Phase("p", 1, 1e-2, unfreeze=8, batch_size=5),), id="maps"),
        pytest.param((PHASE, Phase("q", 1, 1e-2, unfreeze=8, batch_size=5)), id="two phases"),
        pytest.param((Phase("p", 1, 1e-2, augment="light", batch_size=5),), id="fresh"),
    ],
)
def test_the_store_in_use_stays_below_the_limit_too(few, tmp_path, phases):
    """Other pictures through the same frozen blocks share a store; each run alone fits, all do not."""
    first = train(settings_for(few, *phases), tmp_path / "first")
    limit = 1.05 * kept_bytes()
    clear_cache()
    for number in (1, 2, 3):
        data = draw_others(tmp_path / f"data{number}", 10_000 * number)
        train(settings_for(data, *phases, cache_limit=limit / 1e9), tmp_path / f"other{number}")
        assert kept_bytes() <= limit
    events = Events()
    last = train(settings_for(few, *phases, cache_limit=limit / 1e9), tmp_path / "again", events)
    assert kept_bytes() <= limit
    assert differences(first["state_dict"], last["state_dict"]) == []
    again = Events()
    train(settings_for(few, phases[-1], cache_limit=limit / 1e9), tmp_path / "kept", again)
    assert events.of("features")
    assert again.of("features") == again.of("cache_too_small") == events.of("cache_too_small") == []


def test_damaged_store_is_mended_by_the_next_run(few, tmp_path, uncached):
    train(settings_for(few, PHASE, head=HeadSpec((4,))), tmp_path / "first")
    rows = next(cache_root().glob("*/rows.bin"))
    os.truncate(rows, rows.stat().st_size // 2 + 5)
    events = trains_all_the_same(few, tmp_path, uncached)
    assert [logged["done"] for logged in events.of("features")][-1] > 0
    assert rows.stat().st_size == 18 * 256 * 4
