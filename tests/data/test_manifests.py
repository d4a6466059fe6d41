"""Manifests: read back to the letter; tables as people have them mean the same files everywhere."""

import csv
import io
import json
import os
from pathlib import Path

import pytest

from catdog_cli.data.manifests import read_split, write_split
from catdog_cli.data.scan import scan_dataset
from catdog_cli.data.splits import fingerprint, split_dataset
from catdog_cli.errors import DataError
from catdog_cli.inference.inputs import expand_inputs
from tests.conftest import draw_image, write_images


@pytest.fixture
def pool(tmp_path):
    """Return a folder with two cats and two dogs in images/."""
    folder = tmp_path / "pool" / "images"
    folder.mkdir(parents=True)
    for number, name in enumerate(("cat1", "cat2", "dog1", "dog2")):
        draw_image(number // 2, number).save(folder / f"{name}.png")
    return folder.parent


def predicted(path):
    """Return the files that `catdog predict` would open for a list."""
    return [str(Path(each).resolve()) for each in expand_inputs([str(path)], io.BytesIO())]


def read_table(path):
    """Return {file: class} of a table as training reads it; prediction must mean the same files."""
    dataset = scan_dataset(path)
    found = {
        str((dataset.root / image).resolve()): dataset.class_names[label]
        for split in dataset.splits.values()
        for image, label in zip(split.paths, split.labels, strict=True)
    }
    assert predicted(path) == list(found) or len(dataset.splits) > 1
    return found


def test_a_manifest_round_trips_odd_names(tmp_path):
    names = [
        'quo"te,.jpg',
        "new\nline.jpg",
        "cr\r.jpg",
        os.fsdecode(b"\xff\xe9.jpg"),
        " spaces .jpg",
        "ü😀.jpg",
    ]
    for folder in ("10", "2", "a,b"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / "data" / folder / name).write_bytes((folder + name).encode(errors="surrogateescape"))
    dataset = split_dataset(scan_dataset(tmp_path / "data"), 0.5)
    write_split(dataset, tmp_path / "run" / "split.csv")
    again = read_split(tmp_path / "run" / "split.csv", tmp_path / "data")
    assert again.class_names == dataset.class_names == ["2", "10", "a,b"]
    assert list(again.splits) == list(dataset.splits)
    for name, split in dataset.splits.items():
        assert again.splits[name].paths == split.paths
        assert again.splits[name].labels.tolist() == split.labels.tolist()
    assert fingerprint(again) == fingerprint(dataset)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["split.csv"]


@pytest.mark.parametrize("place", ["split.csv", "pets/split.csv", "far/away/split.csv"])
def test_a_manifest_is_a_data_argument(pets, tmp_path, place):
    dataset = scan_dataset(pets)
    manifest = tmp_path / place
    write_split(dataset, manifest, root=manifest.parent)
    again = scan_dataset(manifest)
    assert len(again) == 36
    assert again.source("train", 0).samefile(dataset.source("train", 0))


def test_a_manifest_takes_absolute_paths_and_no_split_column(pets, tmp_path):
    rows = [f"{pets}/train/cats/0.png,cat", f"{pets}/train/dogs/0.png,dog"]
    (tmp_path / "mine.csv").write_text("\ufeffpath,class\n" + "\n".join(rows), encoding="utf-8")
    dataset = scan_dataset(tmp_path / "mine.csv")
    assert dataset.class_names == ["cat", "dog"]
    assert dataset.source("all", 1) == pets / "train/dogs/0.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither a data folder nor a manifest: its first line holds nothing; .* columns path,class"),
        (
            "a.jpg,cat\nb.jpg,dog\n",
            "first line holds 'a.jpg', 'cat'; expected .* names the columns path,class",
        ),
        ("path,width,height\na,1,2\n", "first line holds 'path', 'width', 'height'"),
        ("path,class,split\n", "lists no pictures"),
        (
            "path,class,split\na.jpg,cat,val\nb.jpg,cat\n",
            "lacks a value in its picture 2, .* column 'split'",
        ),
        ("path,class,split\na.jpg,cat,train\na.jpg,cat,val\n", "lists 'a.jpg' twice"),
        ("path,class,split\na.jpg,cat,fold 3\n", "has the split 'fold 3'"),
        (
            "path,class,split\na.jpg,cat,\nb.jpg,cat,val\n",
            "lacks a value in its picture 1, .* column 'split'",
        ),
        ("path,label\na.png,\n", "lacks a value in its picture 1, in the column 'label'"),
        ("path,class\na, b.jpg,cat\n", "Row 1 of .* has 3 values, but its first line names 2 columns"),
        (f"path,class\n{'x' * 5000},cat\n", "1 pictures .* do not exist"),
        (f"path,class\n{'x/' * 3000},cat\n", "1 pictures .* do not exist"),
        (f"path,class\na.png,{'c' * 5000}\n", r"one class only, 'c{99}\.\.\.: at least"),
        ("path,class\na.png,c\0\n", "one class only"),
        ("path,class,split\na.jpg,cat,train\n", "1 pictures .* do not exist under .* 'a.jpg'"),
        ('path,class,split\n"a.jpg,cat,train\n', "is not a readable manifest"),
    ],
)
def test_a_bad_manifest(tmp_path, text, message):
    draw_image(0, 0).save(tmp_path / "a.png")
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        scan_dataset(tmp_path / "split.csv")


def test_manifests_that_cannot_be_read_or_written(pets, tmp_path):
    with pytest.raises(DataError, match=r"none.csv' cannot be read"):
        read_split(tmp_path / "none.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"Cannot write '.*split.csv'"):
        write_split(scan_dataset(pets), tmp_path / "file" / "split.csv")


def test_a_failed_write_leaves_the_old_manifest(pets, tmp_path, monkeypatch):
    dataset = scan_dataset(pets)
    write_split(dataset, tmp_path / "split.csv")
    old = (tmp_path / "split.csv").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        write_split(dataset, tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pets", "split.csv"]


ROWS = [("cat1", "cat"), ("cat2", "cat"), ("dog1", "dog"), ("dog2", "dog")]


def write_table(path, header, rows=ROWS, delimiter=",", encoding="utf-8", name="images/{}.png"):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(header)
    writer.writerows((name.format(image), label) for image, label in rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_any_usual_delimiter_and_encoding(pool, delimiter, encoding):
    rows = [*ROWS[:3], ("dog2", "d\u00f6g, big; or small")]
    table = write_table(pool / "t.csv", ("path", "class"), rows, delimiter, encoding)
    found = read_table(table)
    assert found[str(pool / "images/dog2.png")] == "d\u00f6g, big; or small"
    assert len(found) == 4
    assert scan_dataset(table).notes == []


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (("Path", "Class"), "images/{}.png"),
        (("image_id", "label"), "{}"),
        (("filename", "label"), "{}.png"),
        (("filename", "label"), "{}"),
        (("id", "breed"), "{}"),
        (("id_code", "diagnosis"), "{}"),
        (("id", "has_cactus"), "{}.png"),
        (("Image Path", "Category Name"), "./images/{}.png"),
        (("FILE", "Species"), "images\\{}.png"),
        (("img", "y"), " images/{}.png "),
    ],
)
def test_columns_and_file_names_as_people_write_them(pool, header, name):
    table = write_table(pool / "t.csv", header, name=name)
    found = read_table(table)
    assert found == {str(pool / f"images/{image}.png"): label for image, label in ROWS}
    (note,) = scan_dataset(table).notes or [""]
    if header != ("Path", "Class"):
        assert f"column {header[0]!r} as path, column {header[1]!r} as class" in note


def test_a_line_that_excel_writes_for_itself_is_no_header(pool):
    table = pool / "t.csv"
    table.write_text("sep=;\npath;class\nimages/cat1.png;cat\nimages/dog1.png;dog\n;\n\n")
    assert list(read_table(table).values()) == ["cat", "dog"]


def test_blanks_between_quotes_and_delimiters_mean_nothing(pool):
    table = pool / "t.csv"
    table.write_bytes(
        b'path ; class\r\n"images/cat1.png" ; "cat" \r\n "images/dog1.png"; "the ""dog"" ; mine"\r\n'
    )
    assert set(read_table(table).values()) == {"cat", 'the "dog" ; mine'}


def test_a_column_of_splits_without_any_says_nothing(pool):
    table = pool / "t.csv"
    table.write_text("path,class,split\nimages/cat1.png,cat,\nimages/dog1.png,dog,\n")
    assert set(scan_dataset(table).splits) == {"all"}


def test_blanks_around_names_of_classes_mean_nothing_and_are_said(pool):
    table = write_table(pool / "t.csv", ("path", "class"), [*ROWS[:3], ("dog2", " dog ")])
    assert set(read_table(table).values()) == {"cat", "dog"}
    assert "blanks around 1 names of classes" in scan_dataset(table).notes[0]


@pytest.mark.parametrize("names", [("Dog", "dog"), ("d\u00f6g", "D\u00d6G"), ("hot dog", "hot  dog")])
def test_names_of_classes_that_look_the_same_are_refused(pool, names):
    rows = [*ROWS[:2], ("dog1", names[0]), ("dog2", names[1])]
    table = write_table(pool / "t.csv", ("path", "class"), rows)
    with pytest.raises(DataError, match="these class names differ by") as caught:
        scan_dataset(table)
    assert repr(names[0]) in str(caught.value)
    assert repr(names[1]) in str(caught.value)


def test_one_name_composed_in_two_ways_is_one_class(pool):
    rows = [*ROWS[:2], ("dog1", "d\u00f6g"), ("dog2", "do\u0308g")]
    assert scan_dataset(write_table(pool / "t.csv", ("path", "class"), rows)).class_names == [
        "cat",
        "d\u00f6g",
    ]


def test_splits_by_any_usual_name(pool):
    sides = {"cat1": "Training", "cat2": "dev", "dog1": "train", "dog2": "VALID"}
    text = "".join(f"images/{name}.png,{name[:3]},{side}\n" for name, side in sides.items())
    (pool / "t.csv").write_text(f"file,label,subset\n{text}")
    dataset = scan_dataset(pool / "t.csv")
    assert {name: split.paths for name, split in dataset.splits.items()} == {
        "train": ["images/cat1.png", "images/dog1.png"],
        "val": ["images/cat2.png", "images/dog2.png"],
    }


def test_of_several_files_of_a_name_the_one_of_the_row_s_split_or_class_is_meant(tmp_path):
    write_images(tmp_path, {"train": 2, "test": 2})
    (tmp_path / "labels.csv").write_text("id,breed\n0,pug\n1,poodle\n")
    assert scan_dataset(tmp_path / "labels.csv").splits["all"].paths == ["train/0.png", "train/1.png"]
    write_images(tmp_path / "byclass", {"pug": 1, "poodle": 1})
    (tmp_path / "byclass" / "t.csv").write_text("filename,label\n0.png,pug\n")
    with pytest.raises(DataError, match="one class only"):
        scan_dataset(tmp_path / "byclass" / "t.csv")
    (tmp_path / "byclass" / "t.csv").write_text("filename,label\n0,other\n")
    with pytest.raises(
        DataError, match=r"lists '0', which may be 'p\w+/0.png' or 'p\w+/0.png': write the path"
    ):
        scan_dataset(tmp_path / "byclass" / "t.csv")


def test_a_run_s_own_split_is_data_again(pets, tmp_path, monkeypatch):
    run = tmp_path / "run"
    dataset = scan_dataset(pets)
    write_split(dataset, run / "split.csv", keys={"train": ["k"] * 24})
    (run / "settings.json").write_text(json.dumps({"data": str(pets)}))
    again = scan_dataset(run / "split.csv")
    assert again.source("val", 3).samefile(dataset.source("val", 3))
    assert predicted(run / "split.csv")[24:] == [str(dataset.source("val", i)) for i in range(12)]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two").mkdir()
    write_split(again, tmp_path / "two" / "split.csv")  # of a run that was trained on it
    (tmp_path / "two" / "settings.json").write_text('{"data": "run/split.csv"}')
    assert len(scan_dataset("two/split.csv")) == 36


def test_a_list_to_predict_counts_from_its_folder_then_from_here(pool, tmp_path, monkeypatch):
    write_table(pool / "t.csv", ("path", "class"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    draw_image(0, 0).save("own.png")
    (pool / "more.csv").write_text("path\nown.png\nimages/cat1.png\nhttp://x/y.png\nnone.png\n")
    found = list(expand_inputs(["../pool/t.csv", "../pool/more.csv"], io.BytesIO()))
    assert found == [
        *(f"../pool/images/{name}.png" for name, _ in ROWS),
        *("own.png", "../pool/images/cat1.png", "http://x/y.png", "../pool/none.png"),
    ]


@pytest.mark.real
def test_the_shared_table_with_blanks(shared):
    dataset = scan_dataset(shared / "cases/folders/csv_spaces/space.csv")
    assert dataset.class_names == ["cat", "dog"]
    assert len(dataset) == 12
