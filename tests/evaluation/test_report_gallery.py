"""What a page shows of images: cells that open, the least sure, maps; bounded, escaped, without a script."""

import re

import numpy as np
import pytest
import torch

from catdog_cli.evaluation import report_gallery
from catdog_cli.evaluation.metrics import full_metrics
from catdog_cli.evaluation.multilabel.report_gallery import make_label_sections
from catdog_cli.evaluation.report import find_mistakes, write_report
from catdog_cli.evaluation.report_gallery import MOST_IN_CELL, View, make_sections
from catdog_cli.images.preview import make_preview
from catdog_cli.images.read import ImageError

from .test_report import read_page

NAMES = ["<i>cats</i>", "dogs & co", "emus"]
PHOTO = torch.full((3, 20, 30), 128, dtype=torch.uint8)


def read_photo(item):
    if item["path"].endswith("gone.jpg"):
        raise ImageError("It is gone.")
    return PHOTO


def make_case(num_samples=60, num_classes=3):
    """Return a document, scores and paths of pictures, of which some are taken for the next class."""
    rng = np.random.default_rng(0)
    labels = np.arange(num_samples) % num_classes
    said = np.where(rng.random(num_samples) < 0.3, (labels + 1) % num_classes, labels)
    chances = np.full((num_samples, num_classes), 0.1) + rng.random((num_samples, num_classes)) * 0.05
    chances[np.arange(num_samples), said] = 0.5 + 0.4 * rng.random(num_samples)
    chances /= chances.sum(1, keepdims=True)
    names = NAMES[:num_classes] if num_classes <= 3 else [f"class {i}" for i in range(num_classes)]
    paths = [f"<b>/{i}.jpg" for i in range(num_samples)]
    document = full_metrics(chances, labels, names, bootstrap=0)
    document["mistakes"] = find_mistakes(chances, labels, names, paths)
    return document, (chances, labels), paths


def test_each_cell_opens_its_own_images_and_says_how_many():
    document, scores, paths = make_case()
    found = make_sections(document, scores, paths, read_photo)
    predicted = scores[0].argmax(1)
    opened = {each.key: each for each in found.cells}
    for i, (name, cells) in enumerate(found.rows):
        assert name == NAMES[i]
        for j, cell in enumerate(cells):
            rows = np.flatnonzero((scores[1] == i) & (predicted == j))
            assert cell.text == str(document["confusion"][i][j]) == str(len(rows))
            if not len(rows):
                assert cell.key == ""
                continue
            photos = opened[cell.key].photos
            assert {photo.alt for photo in photos} <= {paths[row] for row in rows}
            assert len(photos) == min(MOST_IN_CELL, len(rows))
            count = f"All {len(rows)}" if len(photos) == len(rows) else f"{len(photos)} of {len(rows)}"
            assert opened[cell.key].note == f"{count} shown."


def test_the_least_sure_come_first_and_right_ones_with_them():
    document, scores, paths = make_case()
    (unsure,) = make_sections(document, scores, paths, read_photo).galleries
    order = np.argsort(scores[0].max(1))[: len(unsure.photos)]
    assert [photo.alt for photo in unsure.photos] == [paths[index] for index in order]
    assert unsure.note == "12 of 60 shown."


def test_a_page_holds_so_many_thumbnails_and_no_more(monkeypatch):
    document, scores, paths = make_case(3000, 20)
    found = make_sections(document, scores, paths, read_photo)
    shown = [len(each.photos) for each in found.cells]
    assert max(shown) == MOST_IN_CELL
    assert sum(shown) == report_gallery.MOST_WRONG + report_gallery.MOST_RIGHT
    assert found.rows == ()  # too many classes for a table: links to what opens
    assert [cell.key for cell in found.links] == [each.key for each in found.cells]
    assert found.links[0].is_wrong


def test_what_is_gone_is_left_out_and_nothing_is_read_twice():
    document, scores, paths = make_case()
    reads = []

    def count(item):
        reads.append(item["path"])
        return read_photo(item)

    paths[0] = "gone.jpg"
    found = make_sections(document, scores, paths, count)
    assert all(photo.alt != "gone.jpg" for each in found.cells for photo in each.photos)
    assert len(reads) == len(set(reads))


def test_maps_of_the_worst_mistakes_stand_beside_them():
    document, scores, paths = make_case()
    preview = make_preview(PHOTO, 20)

    def explain(item):
        return [View(preview, f"why {item['predicted']}", "exact map")]

    maps = make_sections(document, scores, paths, read_photo, explain).galleries[1]
    worst = document["mistakes"][: report_gallery.MOST_EXPLAINED]
    assert [photo.alt for photo in maps.photos] == [item["path"] for item in worst]
    assert [view.caption for view in maps.photos[0].views] == ["", f"why {worst[0]['predicted']}"]
    assert maps.note.endswith("Method: exact map.")
    assert make_sections({**document, "mistakes": []}, scores, paths, read_photo, explain).galleries[1:] == ()


def test_the_page_opens_cells_without_a_script_and_by_keyboard(tmp_path):
    document, scores, paths = make_case()
    sections = make_sections(document, scores, paths, read_photo)
    mistakes = document.pop("mistakes")
    files = write_report(tmp_path, document, mistakes, title="pets", sections=sections)
    page, raw = read_page(files[2]), files[2].read_text(encoding="utf-8")
    assert not {"script", "i", "b", "link", "iframe"} & set(page.tags)
    assert not re.search(r"https?://|url\(|@import| on\w+=", raw)
    targets = {link[1:] for link in page.links if link.startswith("#")}
    assert targets - {"cells"} == {each.key for each in sections.cells}
    assert all(f'id="{target}"' in raw for target in targets)
    assert "dogs &amp; co taken for emus" in raw
    assert ".cell:target { display: block" in raw


def test_labels_have_cells_of_what_was_found_missed_and_wrongly_said():
    chances = np.array([[0.9, 0.2], [0.3, 0.8], [0.6, 0.55], [0.1, 0.1]])
    labels = np.array([[1, 0], [1, 1], [0, -1], [0, 0]])
    document = {
        "class_names": ["cat", "dog"],
        "classes": {"cat": {"threshold": 0.5}, "dog": {"threshold": 0.5}},
        "mistakes": [],
    }
    found = make_label_sections(document, (chances, labels), [f"{i}.jpg" for i in range(4)], read_photo)
    assert found.header == ("found", "missed", "wrongly said")
    assert [[cell.text for cell in cells] for _, cells in found.rows] == [["1", "1", "1"], ["1", "0", "0"]]
    opened = {each.key: [photo.alt for photo in each.photos] for each in found.cells}
    assert opened["label-0-1"] == ["1.jpg"]
    assert opened["label-0-2"] == ["2.jpg"]
    assert found.galleries[0].photos[0].alt == "2.jpg"  # nearest to a threshold
    assert found.galleries[0].photos[0].lines == ("is no label", "said cat, dog")


@pytest.mark.parametrize("several", [False, True])
def test_explainer_of_a_mean_makes_no_maps(several, tmp_path):
    from catdog_cli.evaluation.report_maps import mistake_explainer
    from catdog_cli.inference.predictor import Predictor

    from ..inference.checkpoints import write_checkpoint

    paths = [write_checkpoint(tmp_path / f"{seed}.pt", seed=seed) for seed in range(1 + several)]
    predictor = Predictor.load(*paths, device="cpu", precision="fp32")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    explain = mistake_explainer(predictor, ["Cat", "Dog", "Emu"], lambda item: pixels)
    if several:
        assert explain is None
        return
    views = explain({"path": "a.jpg", "predicted": "Dog", "true": "Cat"})
    assert [view.method for view in views] == ["HiResCAM"] * 2
    assert [view.caption for view in views] == ["why dogs", "why cats"]
    assert (views[0].preview.width, views[0].preview.height) == (60, 40)
