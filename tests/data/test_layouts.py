"""Folders as people have them: names of splits, levels, unlabelled pictures, links, alike names."""

import shutil
import unicodedata

import pytest

from catdog_cli.data.scan import describe_scan, scan_dataset
from catdog_cli.data.split_names import split_of
from catdog_cli.errors import DataError
from tests.conftest import draw_image, write_images

TWO = ("cats", "dogs")


def write_splits(root, *names, classes=TWO, number=1):
    return write_images(root, {f"{name}/{label}": number for name in names for label in classes})


def sizes(dataset):
    return {name: len(split) for name, split in dataset.splits.items()}


def read(root):
    """Return {path: class} of all splits."""
    dataset = scan_dataset(root, leaks=False)
    return {
        path: dataset.class_names[label]
        for split in dataset.splits.values()
        for path, label in zip(split.paths, split.labels, strict=True)
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(
            (name, "train")
            for name in ("train", "Training", "TRAIN", "train_set", "training-data", "train2017")
        ),
        *(
            (name, "val")
            for name in ("val", "Valid", "validation", "Dev", "eval", "Evaluation", "val_images")
        ),
        *(
            (name, "test")
            for name in ("test", "Testing", "holdout", "hold-out", "test_set", "test1", "Tests")
        ),
        *(
            (name, None)
            for name in ("trains", "cats", "contest", "data", "set", "12", "", "devil", "trainee")
        ),
    ],
)
def test_what_splits_are_called(name, split):
    assert split_of(name) == split


@pytest.mark.parametrize("names", [("Training", "Testing"), ("train", "dev", "holdout"), ("TRAIN", "Eval")])
def test_split_folders_of_any_usual_name(tmp_path, names):
    dataset = scan_dataset(write_splits(tmp_path, *names), leaks=False)
    assert dataset.class_names == ["cats", "dogs"]
    assert set(dataset.splits) == {split_of(name) for name in names}
    said = " ".join(dataset.warnings)
    assert all((f"{name!r} is taken as the" in said) == (name.lower() not in ("train",)) for name in names)


def test_a_class_may_be_called_train(tmp_path):
    assert set(read(write_images(tmp_path, {"train": 2, "bus": 2, "car": 1})).values()) == {
        "train",
        "bus",
        "car",
    }


WRONG = [
    (("train", "Training"), "'train', 'Training', two names of one split"),
    (("train", "val", "Dev", "valid"), "'Dev', 'val', 'valid', several names of one split"),
    (("Training", "Foo"), "holds 'Foo' with folders of the same names as 'Training': is it a split"),
    (
        ("Foo", "Bar"),
        "folders 'Bar', 'Foo' of .* all hold the same sub-folders, 'cats', 'dogs': which are the cl",
    ),
    (("outer/train", "outer/test"), r"Or is '.*outer' the data folder"),
    (("a/b/c/train", "a/b/c/test"), r"Or is '.*a/b/c' the data folder"),
    (
        ("train/train", "val"),
        r"train' holds nothing but another folder 'train': .* or give '.*train/train' as",
    ),
    (
        ("train", "test/test"),
        r"test' holds nothing but another folder 'test': move what is in that one level up",
    ),
]


@pytest.mark.parametrize(("names", "message"), WRONG)
def test_folders_that_may_mean_two_things_are_asked_about(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        scan_dataset(write_splits(tmp_path, *names))


def test_splits_below_classes_are_refused(tmp_path):
    root = write_images(tmp_path, {f"{label}/{split}": 1 for label in TWO for split in ("train", "val")})
    with pytest.raises(
        DataError, match=r"splits in its class folders, such as 'cats/train': put them the other"
    ):
        scan_dataset(root)


def test_a_folder_beside_complete_splits_is_left_alone(tmp_path):
    root = write_splits(tmp_path, "train", "val", "old")
    assert sizes(scan_dataset(root, leaks=False)) == {"train": 2, "val": 2}


def test_one_folder_in_each_class_is_no_question(tmp_path):
    dataset = scan_dataset(write_images(tmp_path, {"cats/images": 2, "dogs/images": 2}))
    assert dataset.class_names == ["cats", "dogs"]
    assert dataset.warnings == []


def test_merged_sub_folders_are_named_and_how_to_have_them_as_classes(tmp_path):
    root = write_images(tmp_path / "places", {"a/abbey": 1, "a/airfield": 1, "b/barn": 1, "b/bath/indoor": 1})
    dataset = scan_dataset(root)
    assert dataset.class_names == ["a", "b"]
    (warning,) = dataset.warnings
    assert (
        "4 sub-folders ('a/abbey', 'a/airfield', 'b/barn', 'b/bath') are part of the classes 'a', 'b'"
        in warning
    )
    assert f"every class is a folder in {str(root)!r}" in warning
    assert "columns path,class" in warning
    draw_image(0, 0).save(root / "a" / "own.png")
    shutil.rmtree(root / "b" / "bath")
    shutil.rmtree(root / "a" / "abbey")
    (warning,) = scan_dataset(root).warnings
    assert warning.startswith("1 sub-folder ('a/airfield') is part of its class")


@pytest.mark.parametrize("place", ["test", "test/images", "Testing/unknown", "holdout"])
def test_unlabelled_test_pictures_are_counted_and_left_alone(tmp_path, place):
    root = write_images(write_splits(tmp_path, "train"), {place: 3})
    dataset = scan_dataset(root)
    assert sizes(dataset) == {"train": 2}
    assert "holds 3 pictures without class folders: ignored" in dataset.warnings[-1]
    assert describe_scan(dataset) == ["Ignored: 3 pictures without classes"]


def test_unlabelled_pictures_to_train_or_to_measure_on_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"3 pictures lie directly in '.*val', without classes"):
        scan_dataset(write_images(write_splits(tmp_path / "a", "train"), {"val": 3}))
    with pytest.raises(DataError, match=r"3 pictures lie directly in '.*test', without classes"):
        scan_dataset(write_images(tmp_path / "b", {"test": 3}))


def test_every_file_that_is_not_read_is_counted_by_suffix(tmp_path):
    root = write_images(tmp_path, dict.fromkeys(TWO, 1))
    for name in ("a.txt", "b.TXT", "c.psd", "d.xyz", "README", "e.heic", "f.svg"):
        (root / "cats" / name).write_bytes(b"0")
    shutil.copy(root / "cats" / "0.png", root / "cats" / "scan")  # a picture, whatever its name
    shutil.copy(root / "cats" / "0.png", root / "cats" / "frame.12")
    shutil.copy(root / "cats" / "0.png", root / "cats" / "web.jpg?w=300")
    dataset = scan_dataset(root)
    (said,) = describe_scan(dataset)
    assert "2 .txt, 1 .xyz, 1 without suffix" in said
    assert "1 .psd, 1 .svg (pictures of a kind that is not read" in said
    found = dataset.splits["all"].paths
    assert {"cats/scan", "cats/frame.12", "cats/web.jpg?w=300"} < set(found)
    assert len(found) + sum(dataset.ignored.values()) == 12


@pytest.mark.parametrize(
    ("names", "hint"), [(("cat", "dog"), True), (("IMG", "DSC"), True), (("x", "x"), False)]
)
def test_classes_in_names_of_files_are_asked_about(tmp_path, names, hint):
    (tmp_path / "train").mkdir()
    for number in range(6):
        draw_image(0, number).save(tmp_path / "train" / f"{names[number % 2]}.{number}.jpg")
    with pytest.raises(DataError, match="without classes") as caught:
        scan_dataset(tmp_path)
    shown = ", ".join(map(repr, sorted(names)))
    assert (f"Are {shown}, with which their names begin, the classes? Move" in str(caught.value)) == hint


def test_a_folder_of_nothing_that_is_read_says_what_it_holds(tmp_path):
    for name in ("a/1.psd", "a/2.psd", "b/x.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(
        DataError, match=r"No pictures that are read, only 2 \.psd \(pictures of .*\), 1 \.zip under"
    ):
        scan_dataset(tmp_path)


def test_suffixes_that_pillow_reads_are_read(tmp_path):
    for number, name in enumerate(("a.jfif", "b.jpe", "c.avif", "d.ppm", "e.pgm", "f.tga", "g.jp2", "h.JIF")):
        folder = tmp_path / TWO[number % 2]
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"0")
    assert sizes(scan_dataset(tmp_path)) == {"all": 8}
    assert describe_scan(scan_dataset(tmp_path)) == []


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("target", ["..", "../..", "../cats", "../cats/0.png", "."])
@pytest.mark.parametrize("name", ["up", "up.png"])
def test_a_link_never_brings_a_label_from_elsewhere(tmp_path, target, name):
    root = write_images(tmp_path / "pets", dict.fromkeys(TWO, 2))
    link(root / "dogs" / name, target)
    before = {"cats/0.png": "cats", "cats/1.png": "cats", "dogs/0.png": "dogs", "dogs/1.png": "dogs"}
    assert read(root) == before
    said = " ".join(scan_dataset(root).warnings + describe_scan(scan_dataset(root)))
    assert {"..": "above", "../..": "above", ".": "repeated"}.get(target, "into the class 'cats'") in said


def test_links_in_splits_and_links_as_classes(tmp_path):
    root = write_splits(tmp_path / "pets", "train", "val", number=2)
    link(root / "train" / "kitties", "cats")  # a second name of a class
    link(root / "train" / "all", "..")
    link(root / "val" / "cats" / "more", "../../train/dogs")
    link(root / "val" / "cats" / "same", "../../train/cats")  # its label is right
    link(root / "test", "train")
    found = scan_dataset(root, leaks=False)
    assert found.class_names == ["cats", "dogs"]
    assert found.splits["val"].paths == [
        *("val/cats/0.png", "val/cats/1.png", "val/cats/same/0.png", "val/cats/same/1.png"),
        *("val/dogs/0.png", "val/dogs/1.png"),
    ]
    assert sizes(found)["train"] == 4
    said = " ".join(found.warnings)
    assert "The link 'test/all' leads to a folder above the class folders (and 1 more such links)" in said
    assert "holds no pictures" not in said
    assert "leads into the class 'cats'" in said or "leads into the class 'dogs'" in said
    assert describe_scan(found) == ["Ignored: 3 links into other classes, 2 links to folders above"]


@pytest.mark.parametrize("whole", [True, False])
def test_one_picture_linked_from_two_classes_gets_neither_label(tmp_path, whole):
    pool = write_images(tmp_path / "pool", {"x": 2})
    root = write_images(tmp_path / "pets", dict.fromkeys(TWO, 1))
    if whole:
        link(root / "cats" / "more", pool / "x")
        link(root / "dogs" / "pool", pool)
    else:
        for number in range(2):
            link(root / "cats" / f"a{number}.png", pool / "x" / f"{number}.png")
            link(root / "dogs" / f"b{number}.png", pool / "x" / f"{number}.png")
    assert read(root) == {"cats/0.png": "cats", "dogs/0.png": "dogs"}
    dataset = scan_dataset(root)
    assert (
        "lead to the same picture from two classes (and 1 more such links): both are ignored"
        in dataset.warnings[-1]
    )
    assert dataset.ignored == {"linked into two classes": 4}


def test_a_data_set_of_links_is_read(tmp_path):
    pool = write_images(tmp_path / "pool", {"x": 4})
    for number in range(4):
        link(tmp_path / "pets" / TWO[number % 2] / f"{number}.png", pool / "x" / f"{number}.png")
    link(tmp_path / "again", tmp_path / "pets")
    assert len(read(tmp_path / "pets")) == len(read(tmp_path / "again")) == 4
    assert scan_dataset(tmp_path / "again").warnings == []


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("Cats", "cats"), "upper and lower case"),
        (("cats ", "cats"), "blanks"),
        (("hot  dog", "hot dog"), "blanks"),
        (("Caf\u00e9", "CAF\u00c9"), "upper and lower case"),
        (("caf\u00e9", "cafe\u0301"), "how accents are stored"),
        (("Cats ", "cats"), "case, blanks or invisible characters"),
        (("c\u200bats", "cats"), "case, blanks or invisible characters"),
    ],
)
def test_class_folders_that_look_the_same_are_refused(tmp_path, names, why):
    root = write_images(tmp_path, {names[0]: 1, names[1]: 1, "dogs": 1})
    with pytest.raises(DataError, match=f"these class names differ by {why} alone") as caught:
        scan_dataset(root)
    shown = ascii if "accents" in why else repr
    assert all(shown(name) in str(caught.value) for name in names)
    assert "\n" not in str(caught.value)


def test_names_that_differ_from_train_to_val_are_refused_in_one_sentence(tmp_path):
    root = write_images(tmp_path, {"train/Cats": 1, "train/Dogs": 1, "val/cats": 1, "val/dogs": 1})
    with pytest.raises(DataError, match=r"'Cats' \(in train\) and 'cats' \(in val\); 'Dogs'") as caught:
        scan_dataset(root)
    assert "\n" not in str(caught.value)


def test_accents_of_two_systems_in_train_and_val_are_one_class(tmp_path):
    split = unicodedata.normalize("NFD", "caf\u00e9")
    root = write_images(tmp_path, {"train/caf\u00e9": 1, "train/dogs": 1, f"val/{split}": 1, "val/dogs": 1})
    assert scan_dataset(root).class_names == ["caf\u00e9", "dogs"]


def test_letters_written_by_hand_are_classes_in_both_cases(tmp_path):
    assert len(scan_dataset(write_images(tmp_path, dict.fromkeys("aAbBcC", 1))).class_names) == 6


class TestCompetitionFolders:
    """Images in one folder, labels in a table beside it."""

    @pytest.fixture
    def breeds(self, tmp_path):
        root = write_images(tmp_path / "breeds", {"train": 6, "test": 4})
        rows = "".join(f"{number},{'pug' if number % 2 else 'corgi'}\n" for number in range(6))
        (root / "labels.csv").write_text(f"id,breed\n{rows}")
        (root / "sample_submission.csv").write_text("id,pug,corgi\n0,0.5,0.5\n")
        return root

    def test_the_table_is_found_and_said(self, breeds):
        dataset = scan_dataset(breeds)
        assert dataset.class_names == ["corgi", "pug"]
        assert dataset.splits["all"].paths == [f"train/{number}.png" for number in range(6)]
        said = describe_scan(dataset)
        assert f"{str(breeds)!r} has no class folders: labels are read from 'labels.csv'." == said[0]
        assert "column 'id' as path, column 'breed' as class; names are looked up in 'train'" in said[1]
        assert said[2] == "Ignored: 4 pictures that 'labels.csv' does not list"

    @pytest.mark.parametrize("table", ["train.csv", "train_labels.csv", "Train.CSV", "whatever.tsv"])
    def test_other_names_and_places(self, breeds, table):
        (breeds / "labels.csv").rename(breeds / table)
        assert len(scan_dataset(breeds)) == 6
        (breeds / "train").rename(breeds / "images")
        shutil.rmtree(breeds / "test")
        assert scan_dataset(breeds).splits["all"].paths[0] == "images/0.png"
        for path in (breeds / "images").iterdir():
            shutil.move(path, breeds / path.name)
        assert scan_dataset(breeds).splits["all"].paths[0] == "0.png"

    def test_two_tables_are_asked_about(self, breeds):
        (breeds / "labels.csv").rename(breeds / "a.csv")
        shutil.copy(breeds / "a.csv", breeds / "b.csv")
        with pytest.raises(
            DataError, match=r"2 tables that name its pictures, 'a.csv' and 'b.csv': give the one"
        ):
            scan_dataset(breeds)

    def test_answers_are_no_labels(self, breeds):
        rows = "".join(f"train/{number}.png,ok,,pug,pug,0.5\n" for number in range(6))
        (breeds / "labels.csv").write_text(f"path,status,error,class,name,probability\n{rows}")
        with pytest.raises(DataError, match="without classes"):
            scan_dataset(breeds)

    def test_class_folders_are_not_overruled_by_a_table(self, breeds):
        shutil.rmtree(breeds / "train")
        write_images(breeds, {"train/cats": 6, "train/dogs": 6})
        dataset = scan_dataset(breeds)
        assert dataset.class_names == ["cats", "dogs"]
        assert dataset.ignored[".csv"] == 2


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "counts", "said"),
    [
        ("training_testing", {"train": 12, "test": 12}, "'Testing' is taken as the test split"),
        ("flat_test", {"train": 12}, "holds 6 pictures without class folders: ignored"),
        ("case_names", None, r"'Cats' (in train) and 'cats' (in val)"),
    ],
)
def test_the_shared_folders(shared, name, counts, said):
    root = shared / "cases" / "folders" / name
    if counts is None:
        with pytest.raises(DataError) as caught:
            scan_dataset(root)
        assert said in str(caught.value)
        return
    dataset = scan_dataset(root, leaks=False)
    assert sizes(dataset) == counts
    assert dataset.class_names == ["cats", "dogs"]
    assert any(said in text for text in dataset.warnings)


@pytest.mark.real
def test_no_suffix_of_the_shared_folder_is_lost(shared, tmp_path):
    shutil.copytree(shared / "cases/folders/suffix_ignored", tmp_path / "pets" / "cats")
    write_images(tmp_path / "pets", {"dogs": 1})
    dataset = scan_dataset(tmp_path / "pets")
    assert len(dataset) == 7
    assert dataset.ignored == {}
