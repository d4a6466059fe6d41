"""Decisions about labels: written a row at a time, read back as people leave them, applied to a data set."""

import errno
import os

import numpy as np
import pytest

from catdog_cli.data.api import check_data, split_data
from catdog_cli.data.decision_log import DecisionLog
from catdog_cli.data.decisions import Decision, format_rows, read_decisions, read_rows, settle_rows
from catdog_cli.data.digests import file_digest
from catdog_cli.data.prepare import prepare_dataset
from catdog_cli.data.scan import scan_dataset
from catdog_cli.errors import DataError
from tests.conftest import draw_image, write_images


def write(path, *rows):
    path.write_bytes(format_rows([Decision(*row) for row in rows], header=True))
    return path


def class_of(dataset, path):
    side, index = next(
        (side, split.paths.index(path)) for side, split in dataset.splits.items() if path in split.paths
    )
    return dataset.class_names[dataset.splits[side].labels[index]]


@pytest.fixture
def pets(tmp_path):
    return write_images(tmp_path / "pets", {"cats": 4, "dogs": 4})


@pytest.fixture
def log(tmp_path):
    return DecisionLog(tmp_path / "out" / "reviewed.csv")


def test_labels_are_changed_and_pictures_left_out(pets, tmp_path):
    before = sorted(file_digest(path) for path in pets.rglob("*.png"))
    rows = [
        ("cats/0.png", "cats", "wrong", "dogs"),
        ("cats/1.png", "cats", "exclude"),
        ("dogs/1.png", "dogs", "right"),
        ("dogs/2.png", "dogs", "wrong", "foxes"),
    ]
    dataset = scan_dataset(pets, decisions=write(tmp_path / "d.csv", *rows))
    assert dataset.class_names == ["cats", "dogs", "foxes"]
    assert class_of(dataset, "cats/0.png") == "dogs"
    assert class_of(dataset, "dogs/2.png") == "foxes"
    assert class_of(dataset, "dogs/1.png") == "dogs"
    assert "cats/1.png" not in dataset.splits["all"].paths
    assert len(dataset) == 7
    assert dataset.notes[-1] == f"2 labels changed, 1 picture left out by {str(tmp_path / 'd.csv')!r}."
    assert dataset.warnings == []
    assert sorted(file_digest(path) for path in pets.rglob("*.png")) == before


def test_the_last_decision_counts_and_undo_takes_it_back(pets, tmp_path):
    wrong, out, undo = ("wrong", "dogs"), ("exclude", ""), ("undo", "")
    sequences = {
        "cats/0.png": [out, wrong],  # the last one
        "cats/1.png": [wrong, out, undo],  # the one before it again
        "cats/2.png": [out, undo, undo],  # none
    }
    rows = [(path, "cats", *each) for path, taken in sequences.items() for each in taken]
    path = write(tmp_path / "d.csv", *rows)
    assert [(row.path, row.decision) for row in read_decisions(path)] == [
        ("cats/0.png", "wrong"),
        ("cats/1.png", "wrong"),
    ]
    dataset = scan_dataset(pets, decisions=path)
    assert [class_of(dataset, f"cats/{number}.png") for number in range(3)] == ["dogs", "dogs", "cats"]


def test_a_renamed_picture_is_known_by_its_content(pets, tmp_path):
    key = file_digest(pets / "cats/0.png")
    rows = [
        ("cats/0.png", "cats", "wrong", "dogs", "", "", key),
        ("cats/1.png", "cats", "exclude", "", "", "", file_digest(pets / "cats/1.png")),
    ]
    path = write(tmp_path / "d.csv", *rows)
    (pets / "cats/0.png").rename(pets / "cats/better-name.png")
    (pets / "cats/1.png").rename(pets / "dogs/moved.png")
    dataset = scan_dataset(pets, decisions=path)
    assert class_of(dataset, "cats/better-name.png") == "dogs"
    assert "dogs/moved.png" not in dataset.splits["all"].paths
    assert dataset.warnings == []


def test_what_no_longer_fits_is_counted_and_named_in_one_sentence(pets, tmp_path):
    other = "0" * 32
    rows = [
        ("cats/gone.png", "cats", "exclude", "", "", "", other),
        ("cats/0.png", "cats", "exclude", "", "", "", other),
        ("cats/1.png", "dogs", "wrong", "foxes"),
        ("cats/2.png", "cats", "wrong", ""),
        ("cats/3.png", "dogs", "wrong", "cats"),  # done by hand meanwhile
    ]
    dataset = scan_dataset(pets, decisions=write(tmp_path / "d.csv", *rows))
    assert len(dataset) == 8
    assert dataset.warnings == [
        f"4 of 5 decisions in {str(tmp_path / 'd.csv')!r} no longer fit the data and change nothing: 1 of "
        "pictures that are gone ('cats/gone.png'); 1 of files that hold another picture now ('cats/0.png'); "
        "1 of labels that have changed since ('cats/1.png'); 1 without a new label ('cats/2.png')."
    ]


def test_a_class_that_the_checkpoint_does_not_know_is_left_out(pets, tmp_path):
    path = write(tmp_path / "d.csv", ("cats/0.png", "cats", "wrong", "foxes"))
    dataset = scan_dataset(pets, class_names=["cats", "dogs"], decisions=path)
    assert len(dataset) == 7
    assert "does not know: 'foxes'" in dataset.warnings[0]


def test_decisions_and_an_exclude_list_go_together(pets, tmp_path):
    rows = [("cats/0.png", "cats", "wrong", "dogs"), ("cats/1.png", "cats", "exclude")]
    names = ["cats/0.png", "cats/1.png", "cats/2.png"]
    dataset = scan_dataset(pets, exclude=names, decisions=write(tmp_path / "d.csv", *rows))
    assert len(dataset) == 5
    assert dataset.warnings == []


def test_prepared_pictures_are_known_by_the_files_that_they_came_from(pets, tmp_path):
    prepare_dataset(scan_dataset(pets), tmp_path / "prepared", 16, False)
    key = file_digest(pets / "cats/0.png")
    rows = [
        ("cats/0.png", "cats", "wrong", "dogs", "", "", key),
        ("cats/1.png", "cats", "wrong", "dogs", "", "", "f" * 32),
    ]
    dataset = scan_dataset(tmp_path / "prepared", decisions=write(tmp_path / "d.csv", *rows))
    assert class_of(dataset, "cats/0.png") == "dogs"
    assert "hold another picture now ('cats/1.png')" in dataset.warnings[0]


def test_several_labels_keep_what_is_unknown(tmp_path):
    for number in range(4):
        draw_image(0, number).save(tmp_path / f"{number}.png")
    table = "path,labels,unknown\r\n0.png,cat,indoor\r\n1.png,cat;indoor,\r\n2.png,,\r\n3.png,indoor,dog\r\n"
    (tmp_path / "photos.csv").write_text(table)
    rows = [
        ("0.png", "cat", "wrong", "dog"),  # a new one, in the place of cat
        ("1.png", "indoor;cat", "wrong", ""),  # none of them
        ("2.png", "cat", "wrong", "indoor"),  # it had none
    ]
    dataset = scan_dataset(tmp_path / "photos.csv", decisions=write(tmp_path / "d.csv", *rows))
    assert dataset.class_names == ["dog", "indoor"]  # no picture is a cat any more
    np.testing.assert_array_equal(dataset.splits["all"].labels, [[1, -1], [0, 0], [0, 0], [-1, 1]])
    assert "1 of labels that have changed since ('2.png')" in dataset.warnings[0]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"path;decision;new_label\r\ncats/0.png; Wrong ;dogs\r\n", [("cats/0.png", None, "wrong", "dogs")]),
        (
            "\ufeffpath\tlabel\tdecision\tnew_label\ncats/0.png\tcats\texclude\t\n".encode("utf-16-le"),
            [("cats/0.png", "cats", "exclude", "")],
        ),
        (b"decision,path,note\nright,cats/0.png,nice", [("cats/0.png", None, "right", "")]),
        (b"", []),
    ],
    ids=["semicolons", "utf-16", "by hand, no end of line", "empty"],
)
def test_files_are_read_as_spreadsheets_leave_them(content, rows, tmp_path):
    (tmp_path / "d.csv").write_bytes(content)
    found = [(row.path, row.label, row.decision, row.new_label) for row in read_rows(tmp_path / "d.csv")]
    assert found == rows


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("path,class\na.png,cats\n", r"not a file of decisions: its first line holds 'path', 'class'"),
        ("path,decision\na.png,maybe\n", r"Row 1 .* has the decision 'maybe': use right, wrong"),
        ("path,decision\n ,right\n", "Row 1 .* lacks its path"),
        ('path,decision\n"a.png,right\nb.png,right\n', r"is not a readable file of decisions"),
    ],
)
def test_what_is_no_file_of_decisions_is_refused(content, match, tmp_path):
    (tmp_path / "d.csv").write_text(content)
    with pytest.raises(DataError, match=match):
        read_decisions(tmp_path / "d.csv")


def test_a_missing_file_is_refused(pets, tmp_path):
    with pytest.raises(DataError, match=r"The file of decisions .* cannot be read \(No such file"):
        scan_dataset(pets, decisions=tmp_path / "no.csv")


def test_decisions_are_not_taken_for_data(tmp_path):
    path = write(tmp_path / "d.csv", ("cats/0.png", "cats", "wrong", "dogs"))
    with pytest.raises(DataError, match="is a file of decisions about pictures, not of all pictures"):
        scan_dataset(path)


def test_classes_that_look_the_same_are_refused(pets, tmp_path):
    path = write(tmp_path / "d.csv", ("cats/0.png", "cats", "wrong", "Dogs"))
    with pytest.raises(DataError, match="there are the classes 'Dogs' and 'dogs', which look the same"):
        scan_dataset(pets, decisions=path)


def test_a_kill_at_any_byte_loses_nothing_that_was_acknowledged(tmp_path):
    path = tmp_path / "d.csv"
    rows = [
        Decision('a,"b"\nc.png', "cats", "wrong", "dogs", "t", "c", "1" * 32),
        Decision("d", "e", "right"),
    ]
    whole = format_rows(rows, header=True)
    ends = [len(format_rows(rows[:count], header=True)) for count in (1, 2)]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        acknowledged = sum(size >= end for end in ends)
        assert read_rows(path)[:acknowledged] == rows[:acknowledged]
        assert [row.decision for row in read_rows(path)] in (["wrong", "right"][:n] for n in range(3))
        log = DecisionLog(path)  # which writes on behind the torn row
        log.append(rows[1])
        assert settle_rows(read_rows(path))[-1] == rows[1]
        assert read_rows(path)[:acknowledged] == rows[:acknowledged]


def test_log_appends_and_takes_back(log):
    assert not log.path.exists()  # nobody decided anything
    log.append(Decision("ü,\udcff.png", "cats", "wrong", "dogs"))
    log.append(Decision("b.png", "cats", "exclude"))
    log.undo("b.png")
    assert [row.decision for row in read_rows(log.path)] == ["wrong", "exclude", "undo"]
    assert list(log.settled()) == ["ü,\udcff.png"]
    assert list(DecisionLog(log.path).settled()) == ["ü,\udcff.png"]


def test_log_takes_over_what_others_wrote_meanwhile(log):
    log.append(Decision("a.png", "cats", "exclude"))
    log.path.write_text("path;decision;new_label\nb.png;wrong;dogs\n")
    log.append(Decision("c.png", "cats", "right"))
    assert [row.path for row in read_rows(log.path)] == ["b.png", "c.png"]
    log.path.unlink()
    log.append(Decision("d.png", "cats", "right"))
    assert [row.path for row in read_rows(log.path)] == ["b.png", "c.png", "d.png"]


def test_a_full_disk_takes_no_decision(log, monkeypatch):
    log.append(Decision("a.png", "cats", "exclude"))
    before, real = log.path.read_bytes(), os.write

    def write_some(descriptor, data):
        if len(data) < 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[:-10])

    monkeypatch.setattr(os, "write", write_some)
    with pytest.raises(DataError, match=r"No space left on device\): the decision is not taken"):
        log.append(Decision("b.png", "cats", "exclude"))
    assert log.path.read_bytes() == before
    assert len(log.rows) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_file_is_refused_at_once(tmp_path):
    path = write(tmp_path / "d.csv", ("a.png", "cats", "right"))
    path.chmod(0o444)
    with pytest.raises(DataError, match=r"Permission denied\): choose another --output"):
        DecisionLog(path)


def test_a_folder_is_refused_at_once(tmp_path):
    with pytest.raises(DataError, match=r"Is a directory\): choose another --output"):
        DecisionLog(tmp_path)


def test_split_writes_a_manifest_of_what_was_decided(pets, tmp_path):
    rows = [("cats/0.png", "cats", "wrong", "dogs"), ("cats/1.png", "cats", "exclude")]
    path = write(tmp_path / "d.csv", *rows)
    split_data(pets, tmp_path / "split.csv", val_fraction=0.3, decisions=path)
    dataset = scan_dataset(tmp_path / "split.csv")
    assert class_of(dataset, "pets/cats/0.png") == "dogs"
    assert len(dataset) == 7


def test_check_counts_classes_by_the_decisions(pets, tmp_path):
    path = write(tmp_path / "d.csv", ("cats/0.png", "cats", "wrong", "dogs"))
    report = check_data(pets, decisions=path)
    assert report.counts == {"all": {"cats": 3, "dogs": 5}}
    assert any("1 label changed" in note for note in report.notes)
