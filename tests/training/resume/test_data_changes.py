"""Pictures that were added, removed or changed between a stop and a resume are found, named and settled."""

import shutil
from pathlib import Path

import pytest

from catdog_cli.data.manifests import read_keys, write_split
from catdog_cli.data.prepare import prepare_dataset
from catdog_cli.data.scan import scan_dataset
from catdog_cli.data.splits import split_dataset
from catdog_cli.errors import CatdogError, DataError

from ...conftest import write_images
from ..runs import Events, differences, load, resume, settings_for, train

ACCEPT = {"accept_changed_data": True}


@pytest.fixture
def both(finished, tmp_path):
    """Return copies of the run and of its data, which a test may change."""
    run_dir = shutil.copytree(finished / "run", tmp_path / "run")
    return run_dir, shutil.copytree(finished / "data", tmp_path / "data")


def change(data: Path, name: str = "train/cats/0.png") -> None:
    (data / name).write_bytes((data / "train" / "dogs" / "1.png").read_bytes())


def rows_of(run_dir: Path) -> list[str]:
    return (run_dir / "split.csv").read_text().splitlines()[1:]


def test_the_split_holds_what_the_files_hold(finished):
    keys = read_keys(finished / "run" / "split.csv")
    assert len(keys) == 18
    assert len(set(keys.values())) == 18
    assert (finished / "run" / "split.csv").read_text().startswith("path,class,split,key\r\n".strip())


def test_changed_and_removed_pictures_are_refused_by_name(both):
    run_dir, data = both
    change(data)
    (data / "train" / "dogs" / "2.png").unlink()
    (data / "val" / "dogs" / "0.png").unlink()
    wanted = (
        r"are not those that this run started with: 2 removed \('train/dogs/2.png', 'val/dogs/0.png'\), "
        r"1 changed \('train/cats/0.png'\)\. Put them back, or add --accept-changed-data"
    )
    before = (run_dir / "last.pt").read_bytes(), rows_of(run_dir)
    for _ in range(2):
        with pytest.raises(DataError, match=wanted):
            resume(run_dir, epochs=3, data=str(data))
    assert ((run_dir / "last.pt").read_bytes(), rows_of(run_dir)) == before


def test_many_names_are_cut_short(both):
    run_dir, data = both
    for number in range(5):
        (data / "train" / "cats" / f"{number}.png").unlink()
    with pytest.raises(DataError, match=r"5 removed \('train/cats/0.png', '.*1.png', '.*2.png', \.\.\.\)"):
        resume(run_dir, epochs=3, data=str(data))


def test_what_is_accepted_is_the_runs_own_from_then_on(both):
    run_dir, data = both
    change(data)
    (data / "train" / "dogs" / "2.png").unlink()
    events = Events()
    content = resume(run_dir, events, epochs=3, data=str(data), **ACCEPT)
    assert len(content["history"]) == 3
    [facts] = events.of("data_changed")
    assert (facts["changes"].removed, facts["changes"].changed) == (
        ["train/dogs/2.png"],
        ["train/cats/0.png"],
    )
    assert [len(chosen) for chosen in events.of("setup")[0]["setup"].sets.values()] == [11, 6]
    assert len(rows_of(run_dir)) == 17
    again = Events()
    resume(run_dir, again, epochs=4)
    assert not again.of("data_changed")


def test_added_pictures_stay_out_and_change_nothing(both, tmp_path):
    run_dir, data = both
    straight = resume(shutil.copytree(run_dir, tmp_path / "straight"), epochs=3)
    shutil.copy(data / "train" / "cats" / "1.png", data / "train" / "cats" / "new.png")
    with pytest.raises(
        DataError, match=r"1 added \('train/cats/new.png'\). Add --accept-changed-data to resume"
    ):
        resume(run_dir, epochs=3, data=str(data))
    events = Events()
    ours = resume(run_dir, events, epochs=3, data=str(data), **ACCEPT)
    assert [facts["changes"].added for facts in events.of("data_changed")] == [["train/cats/new.png"]]
    assert differences(straight["state_dict"], ours["state_dict"]) == []
    assert len(rows_of(run_dir)) == 18


def test_a_split_of_which_nothing_is_left_is_refused_even_if_accepted(both):
    run_dir, data = both
    shutil.rmtree(data / "val")
    with pytest.raises(DataError, match=r"None of the 6 pictures of val is in .* the first was 'val/cats/0"):
        resume(run_dir, epochs=3, data=str(data), **ACCEPT)


def test_a_class_of_which_nothing_is_left_keeps_its_place(both):
    run_dir, data = both
    shutil.rmtree(data / "train" / "cats")
    shutil.rmtree(data / "val" / "cats")
    content = resume(run_dir, epochs=3, data=str(data), **ACCEPT)
    assert content["class_to_idx"] == {"cats": 0, "dogs": 1}


def test_a_test_split_is_of_no_concern(few, tmp_path):
    data = shutil.copytree(few, tmp_path / "data")
    write_images(data, {"test/cats": 2, "test/dogs": 2})
    train(settings_for(data), tmp_path / "run")
    (data / "test" / "cats" / "0.png").unlink()
    change(data, "test/dogs/1.png")
    events = Events()
    assert len(resume(tmp_path / "run", events, epochs=3)["history"]) == 3
    assert not events.of("data_changed")


def test_a_run_of_before_the_keys_goes_by_its_fingerprint(both):
    run_dir, data = both
    rows = [row.rpartition(",")[0] for row in (run_dir / "split.csv").read_text().splitlines()]
    (run_dir / "split.csv").write_text("\n".join(rows) + "\n")
    change(data)
    with pytest.raises(DataError, match=r"this run started with: some with another content\. Put them back"):
        resume(run_dir, epochs=3, data=str(data))
    resume(run_dir, epochs=3, data=str(data), **ACCEPT)
    assert len(read_keys(run_dir / "split.csv")) == 18


def test_a_run_without_a_split_goes_by_its_fingerprint(both):
    run_dir, data = both
    (run_dir / "split.csv").unlink()
    assert len(resume(run_dir, epochs=3)["history"]) == 3
    (run_dir / "split.csv").unlink()
    change(data)
    with pytest.raises(DataError, match="some with another content"):
        resume(run_dir, epochs=4, data=str(data))


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Return a folder without val/, which every run has to split."""
    return write_images(tmp_path_factory.mktemp("single"), {"cats": 12, "dogs": 12})


def test_a_manifest_may_get_and_lose_rows(single, tmp_path):
    manifest = tmp_path / "split.csv"
    write_split(split_dataset(scan_dataset(single), 0.3), manifest, single)
    rows = manifest.read_text().splitlines()
    manifest = single / "mine.csv"
    manifest.write_text("\n".join(rows[:-1]))
    train(settings_for(manifest), tmp_path / "run")
    manifest.write_text("\n".join(rows))
    events = Events()
    resume(tmp_path / "run", events, epochs=3, **ACCEPT)
    assert [len(facts["changes"].added) for facts in events.of("data_changed")] == [1]
    manifest.unlink()


def test_a_prepared_folder_made_anew_with_more_pictures_keeps_the_split(single, tmp_path):
    data = shutil.copytree(single, tmp_path / "data")
    prepare_dataset(scan_dataset(data), tmp_path / "prepared", 32)
    train(settings_for(tmp_path / "prepared"), tmp_path / "run")
    straight = resume(shutil.copytree(tmp_path / "run", tmp_path / "straight"), epochs=3)
    shutil.rmtree(tmp_path / "prepared")
    write_images(data, {"cats": 20})
    prepare_dataset(scan_dataset(data), tmp_path / "prepared", 32)
    events = Events()
    ours = resume(shutil.copytree(tmp_path / "run", tmp_path / "ours"), events, epochs=3, **ACCEPT)
    assert [len(facts["changes"].added) for facts in events.of("data_changed")] == [8]
    assert differences(straight["state_dict"], ours["state_dict"]) == []
    (data / "dogs" / "3.png").unlink()
    shutil.rmtree(tmp_path / "prepared")
    prepare_dataset(scan_dataset(data), tmp_path / "prepared", 32)
    with pytest.raises(DataError, match=r"1 removed \('dogs/3.png'\), 8 added \("):
        resume(tmp_path / "run", epochs=3)


def test_a_prepared_folder_of_another_size_is_another_content(single, tmp_path):
    prepare_dataset(scan_dataset(single), tmp_path / "prepared", 32)
    train(settings_for(tmp_path / "prepared"), tmp_path / "run")
    assert len(resume(tmp_path / "run", epochs=3)["history"]) == 3
    shutil.rmtree(tmp_path / "prepared")
    prepare_dataset(scan_dataset(single), tmp_path / "prepared", 40)
    with pytest.raises(DataError, match="some with another content"):
        resume(tmp_path / "run", epochs=4)


def test_a_run_that_begins_again_asks_the_same(few, tmp_path):
    data = shutil.copytree(few, tmp_path / "data")

    def report(event):
        if event.kind == "batch":
            raise KeyboardInterrupt

    from catdog_cli.training import run

    with pytest.raises(KeyboardInterrupt):
        run.train(settings_for(data), tmp_path / "run", report)
    change(data)
    with pytest.raises(CatdogError, match=r"1 changed \('train/cats/0.png'\)"):
        resume(tmp_path / "run")
    assert resume(tmp_path / "run", **ACCEPT)["epoch"] == 2
    assert load(tmp_path / "run", "best.pt")["best"]
