"""Whole pipelines through the command line, as a user would run them, on small drawn pictures."""

import csv
import json

import pytest
from PIL import Image, ImageDraw
from sklearn.metrics import f1_score

from catdog_cli import cli

CLASSES = ("Cat", "Dog")


def draw_face(label: str, number: int) -> Image.Image:
    """Return a picture of 48 x 40 px: a Cat has pointed ears, a Dog hanging ones, and its colour varies."""
    shade = 60 + 37 * number % 120
    image = Image.new("RGB", (48, 40), (shade, 255 - shade, 3 * shade % 255))
    draw = ImageDraw.Draw(image)
    fill = (240, 230, 200) if number % 3 else (90, 60, 30)
    x = 20 + number % 7
    draw.ellipse((x - 12, 10, x + 12, 36), fill=fill)
    if label == "Cat":
        draw.polygon([(x - 12, 18), (x - 9, 1), (x - 2, 12)], fill=fill)
        draw.polygon([(x + 12, 18), (x + 9, 1), (x + 2, 12)], fill=fill)
    else:
        draw.ellipse((x - 17, 14, x - 9, 34), fill=(20, 20, 20))
        draw.ellipse((x + 9, 14, x + 17, 34), fill=(20, 20, 20))
    return image


@pytest.fixture
def pet_images(tmp_path):
    """Return a folder as PetImages is: Cat and Dog, 40 good pictures each, and some of every kind of bad."""
    root = tmp_path / "PetImages"
    for label in CLASSES:
        folder = root / label
        folder.mkdir(parents=True)
        for number in range(40):
            draw_face(label, number + 100 * (label == "Dog")).save(folder / f"{number}.jpg", quality=90)
    draw_face("Cat", 41).convert("CMYK").save(root / "Cat" / "cmyk.jpg")
    draw_face("Dog", 42).save(root / "Dog" / "png_inside.jpg", format="PNG")
    (root / "Cat" / "666.jpg").write_bytes(b"")
    (root / "Dog" / "11702.jpg").write_bytes(b"")
    whole = (root / "Dog" / "3.jpg").read_bytes()
    (root / "Dog" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "Cat" / "page.jpg").write_text("<html>404</html>")
    (root / "Cat" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    return root


BAD = {"Cat/666.jpg", "Cat/page.jpg", "Dog/11702.jpg", "Dog/cut.jpg"}


def call(capsys, *arguments, code=0):
    """Run a command line, check its exit code, and return its stdout."""
    assert cli.run([str(argument) for argument in arguments]) == code
    return capsys.readouterr().out


def read_predictions(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.plots
def test_pet_images_from_folders_to_predictions(pet_images, tmp_path, capsys):
    """Check, split 80/20, train from scratch into MLflow, predict in a batch, and measure both ways."""
    mlflow = pytest.importorskip("mlflow", reason="the extra 'track' is not installed")
    content = {path: path.read_bytes() for path in pet_images.rglob("*") if path.is_file()}
    bad, run_dir, table = tmp_path / "bad.txt", tmp_path / "run", tmp_path / "predictions.csv"
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    call(capsys, "data", "check", pet_images, "--exclude-list", bad)
    assert set(bad.read_text().splitlines()) == BAD

    options = (
        "--arch",
        "simple_cnn",
        "--weights",
        "none",
        "--image-size",
        32,
        "--cpu",
        "--precision",
        "fp32",
    )
    options += (
        "--epochs",
        5,
        "--batch-size",
        16,
        "--learning-rate",
        0.003,
        "--monitor",
        "f1",
        "--exclude",
        bad,
        "--output",
        run_dir,
    )
    options += ("--mlflow", uri, "--mlflow-model", "pets", "--json")
    trained = json.loads(call(capsys, "train", pet_images, *options))
    with (run_dir / "split.csv").open(newline="") as file:
        sides = {row["path"]: row["split"] for row in csv.DictReader(file)}
    assert not BAD & set(sides)
    assert {"Cat/cmyk.jpg", "Dog/png_inside.jpg"} <= set(sides)
    assert sum(side == "val" for side in sides.values()) == pytest.approx(0.2 * len(sides), abs=1)
    assert trained["best"]["accuracy"] > 0.9

    call(capsys, "predict", pet_images, run_dir, "--cpu", "--precision", "fp32", "--output", table, code=1)
    rows = {row["path"].removeprefix(f"{pet_images}/"): row for row in read_predictions(table)}
    assert {path for path, row in rows.items() if row["status"] == "error"} == BAD
    assert len(rows) == 86

    same = ("--cpu", "--precision", "fp32", "--exclude", bad, "--json")
    measured = json.loads(call(capsys, "evaluate", pet_images, run_dir, "--split", "val", *same))
    held = sorted(path for path, side in sides.items() if side == "val")
    truth, named = [path.split("/")[0] for path in held], [rows[path]["class"] for path in held]
    assert measured["num_samples"] == len(held)
    assert measured["f1_macro"] == pytest.approx(f1_score(truth, named, average="macro"))
    assert measured["accuracy"] == trained["best"]["accuracy"]

    call(capsys, "evaluate", pet_images, run_dir, "--exclude", tmp_path / "gone.txt", code=1)

    client = mlflow.MlflowClient(uri, uri)
    (found,) = client.search_runs([client.get_experiment_by_name("catdog").experiment_id])
    assert found.data.params["exclude"] == str(bad)
    history = client.get_metric_history(found.info.run_id, "val_f1")
    assert [metric.step for metric in history] == [1, 2, 3, 4, 5]
    assert client.get_model_version("pets", "1").run_id == found.info.run_id
    assert {path: path.read_bytes() for path in content} == content


def test_too_many_bad_pictures_stop_training_and_name_them(pet_images, tmp_path, capsys):
    """Without the exclude list the same folder is refused, for 4 of 86 are more than 1 %."""
    options = ("--arch", "simple_cnn", "--weights", "none", "--image-size", 32, "--cpu", "--epochs", 1)
    assert cli.run(["train", str(pet_images), *map(str, options), "--output", str(tmp_path / "run")]) == 1
    logged = capsys.readouterr().err
    assert "4 of 86 pictures cannot be read" in logged
    assert all(name.split("/")[1] in logged for name in BAD)
