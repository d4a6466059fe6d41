"""One picture or many, whatever they are given as: the same numbers."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from catdog_cli import Predictor
from catdog_cli.errors import CheckpointError, SettingsError
from catdog_cli.images.read import ImageError

from ..conftest import draw_image, write_images
from .checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("run") / "best.pt")


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def predictor(request, checkpoint):
    return Predictor.load(checkpoint, device="cpu", precision=request.param)


def test_path_image_array_and_tensor_give_the_same_answer(predictor, tmp_path):
    draw_image(0, 1).save(tmp_path / "photo.png")
    image = Image.open(tmp_path / "photo.png")
    array = np.asarray(image)
    wanted = predictor(str(tmp_path / "photo.png"))
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    for source in (tmp_path / "photo.png", image, array, tensor):
        assert predictor(source) == wanted
    assert [each.name for each in wanted] == [each.class_name for each in wanted]
    assert sum(each.probability for each in wanted) == pytest.approx(1)
    assert wanted == sorted(wanted, key=lambda each: -each.probability)


@pytest.mark.parametrize("count", [2, 4, 5, 33])
def test_a_picture_alone_gets_the_bits_that_it_gets_in_a_crowd(predictor, count):
    images = [draw_image(number % 3, number) for number in range(count)]
    gather = [answer.probabilities for answer in predictor.predict(images)]
    alone = [next(predictor.predict([picture])).probabilities for picture in images]
    assert torch.equal(torch.stack(gather), torch.stack(alone))


def test_a_picture_gets_the_same_bits_whatever_the_number_of_threads(predictor):
    before = torch.get_num_threads()
    try:
        answers = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            answers.append(next(predictor.predict([draw_image(1, 1)])).logits)
        assert torch.equal(*answers)
    finally:
        torch.set_num_threads(before)


def test_features_are_what_the_head_reads(predictor, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 no picture")
    images = [draw_image(number % 3, number) for number in range(5)]
    rows = list(predictor.features([*images[:2], tmp_path / "bad.jpg", *images[2:]]))
    assert rows.pop(2) is None
    logits = torch.stack([answer.logits for answer in predictor.predict(images)])
    torch.testing.assert_close(predictor.head(torch.stack(rows)).detach(), logits, rtol=1e-5, atol=1e-6)
    assert list(predictor.features([tmp_path / "bad.jpg"])) == [None]


def test_a_bad_picture_takes_its_place_among_the_good(predictor, tmp_path):
    write_images(tmp_path, {"cats": 2})
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 no picture")
    sources = [tmp_path / "cats" / "0.png", tmp_path / "bad.jpg", tmp_path / "cats" / "1.png"]
    answers = list(predictor.predict(sources))
    assert [answer.source for answer in answers] == sources
    assert [answer.error is None for answer in answers] == [True, False, True]
    assert "bad.jpg" in answers[1].error
    alone = next(predictor.predict([sources[2]]))
    assert torch.equal(alone.probabilities, answers[2].probabilities)


def test_a_bad_picture_alone_is_an_error(predictor, tmp_path):
    with pytest.raises(ImageError, match=r"nowhere\.jpg': No such file"):
        predictor(tmp_path / "nowhere.jpg")


def test_inputs_are_taken_as_they_are_needed(predictor):
    taken = []

    def sources():
        for number in range(10_000):
            taken.append(number)
            yield draw_image(0, number)

    next(predictor.predict(sources()))
    assert len(taken) < 200


def test_a_checkpoint_s_path_is_enough(checkpoint):
    image = draw_image(0, 1)
    assert Predictor(str(checkpoint))(image) == Predictor.load(checkpoint)(image)
    with pytest.raises(CheckpointError, match=r"No checkpoint at 'nothing.pt'"):
        Predictor("nothing.pt")


def test_mirror_sees_both_sides_alike(checkpoint):
    predictor = Predictor.load(checkpoint, device="cpu", mirror=True)
    picture = np.asarray(draw_image(0, 1))
    plain = Predictor.load(checkpoint, device="cpu")
    there, back = (next(predictor.predict([each])).logits for each in (picture, picture[:, ::-1]))
    assert torch.allclose(there, back, rtol=0, atol=1e-6)
    assert not torch.equal(there, next(plain.predict([picture])).logits)


def test_temperature_of_the_checkpoint_is_applied_unless_asked_not_to(tmp_path):
    path = write_checkpoint(tmp_path / "best.pt", temperature=4.0)
    answer = next(Predictor.load(path).predict([draw_image(0, 1)]))
    torch.testing.assert_close(answer.probabilities, (answer.logits.double() / 4).softmax(0))
    answer = next(Predictor.load(path, calibrated=False).predict([draw_image(0, 1)]))
    assert torch.equal(answer.probabilities, answer.logits.double().softmax(0))


def test_category_names_are_shown_and_folders_where_they_lack(checkpoint):
    predictor = Predictor.load(checkpoint, category_names={"cats": "Cat"})
    named = {each.class_name: each.name for each in predictor(draw_image(0, 1))}
    assert named == {"cats": "Cat", "dogs": "dogs", "emus": "emus"}


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_top_k_never_exceeds_the_classes(predictor, top_k, count):
    assert len(predictor(draw_image(0, 1), top_k=top_k)) == count


def test_bad_arguments(predictor, tmp_path):
    with pytest.raises(SettingsError, match="top-k is 0"):
        predictor(draw_image(0, 1), top_k=0)
    with pytest.raises(CheckpointError, match=r"nowhere\.pt"):
        Predictor.load(tmp_path / "nowhere.pt")
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match="no usable GPU"):
            Predictor.load(write_checkpoint(tmp_path / "best.pt"), device="gpu")


def test_a_list_gives_a_list(predictor, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 no picture")
    images = [draw_image(number % 3, number) for number in range(5)]
    wanted = [predictor(image, top_k=2) for image in images]
    assert predictor(images, top_k=2) == wanted
    assert predictor(tuple(images[:1]), top_k=2) == wanted[:1]
    assert predictor([]) == []
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        predictor([images[0], tmp_path / "bad.jpg"])


def test_an_answer_names_its_class(checkpoint, tmp_path):
    predictor = Predictor.load(checkpoint, category_names={"cats": "Cat", "dogs": "Dog", "emus": "Emu"})
    (answer,) = predictor.predict([draw_image(0, 1)])
    ranked = predictor(draw_image(0, 1))
    assert answer.top_k() == answer.top_k(9) == ranked
    assert answer.top_k(2) == ranked[:2]
    assert (answer.class_name, answer.name) == (ranked[0].class_name, ranked[0].name)
    assert answer.probability == ranked[0].probability
    assert answer.name == {"cats": "Cat", "dogs": "Dog", "emus": "Emu"}[answer.class_name]
    with pytest.raises(SettingsError, match="top-k is 0"):
        answer.top_k(0)
    (bad,) = predictor.predict([tmp_path / "nowhere.jpg"])
    assert (bad.class_name, bad.name, bad.probability, bad.top_k()) == (None, None, None, [])


def test_answers_compare(predictor, tmp_path):
    image, array = draw_image(0, 1), np.asarray(draw_image(0, 2))
    sources = [image, array, tmp_path / "nowhere.jpg"]
    first, second = list(predictor.predict(sources)), list(predictor.predict(sources))
    assert first == second
    assert first[0] != first[1] != first[2] != first[0]
    assert first[0] != dataclasses.replace(first[0], probabilities=first[1].probabilities)
    assert first[0] != dataclasses.replace(first[0], source=array)
    assert first[2] != dataclasses.replace(first[2], error="other")
    assert first[0] != "an answer"
