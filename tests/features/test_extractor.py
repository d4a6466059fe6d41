"""Features are computed once: what is kept, what makes them anew, and what the fast form gives."""

import shutil
from pathlib import Path

import pytest
import torch

from catdog_cli.data.loaders import CorruptImage, Images
from catdog_cli.data.scan import scan_dataset
from catdog_cli.errors import InterruptedRunError
from catdog_cli.features import batches as sources
from catdog_cli.features import cache_fill as fill
from catdog_cli.features.cache_fill import build_feature_table
from catdog_cli.features.extractor import FeatureTable, FrozenPrefix, View, image_set
from catdog_cli.features.store import clear_cache, list_stores
from catdog_cli.images import transforms
from catdog_cli.models.classifier import build_classifier
from catdog_cli.settings import HeadSpec, InputSpec, Phase
from catdog_cli.training import run

from ..conftest import draw_image
from ..training.runs import Events, differences, resume, settings_for, train

CPU = torch.device("cpu")
SPEC = InputSpec(32)
PHASE = Phase("p", 2, 1e-2, batch_size=5)


@pytest.fixture
def computed(monkeypatch):
    """Return a list that gets the number of pictures of every pass through a frozen prefix."""
    counts = []
    original = fill.run_prefix

    def spy(prefix, chosen, indices, *args, **kwargs):
        counts.append(len(indices))
        return original(prefix, chosen, indices, *args, **kwargs)

    monkeypatch.setattr(fill, "run_prefix", spy)
    return counts


def test_another_head_seed_or_batch_size_computes_nothing(few, resnet_file, tmp_path, computed):
    network = {"arch": "resnet18", "weights": resnet_file}
    train(settings_for(few, PHASE, **network), tmp_path / "1")
    assert sum(computed) == 18
    computed.clear()
    other = Phase("q", 3, 0.1, batch_size=4, optimizer="sgd", sampler="balanced")
    train(settings_for(few, other, head=HeadSpec((4, 4), 0.5), seed=7, **network), tmp_path / "2")
    assert sum(computed) == 0


def test_views_are_computed_once_each_and_the_plain_one_is_shared(few, resnet_file, tmp_path, computed):
    network = {"arch": "resnet18", "weights": resnet_file}
    augmented = Phase("p", 3, augment="light", views=3, batch_size=5)
    train(settings_for(few, augmented, **network), tmp_path / "1")
    assert sum(computed) == 6 + 3 * 12
    computed.clear()
    train(settings_for(few, augmented, **network), tmp_path / "2")
    train(settings_for(few, PHASE, **network), tmp_path / "3")
    assert sum(computed) == 0


def test_second_phase_on_the_same_frozen_blocks_computes_nothing_more(few, tmp_path, computed):
    train(settings_for(few, PHASE, PHASE), tmp_path / "run")
    assert sum(computed) == 18


@pytest.mark.parametrize(
    ("phases", "asked_before"),
    [((PHASE,), 1), ((PHASE, Phase("q", 1, unfreeze=8, batch_size=5)), 9)],
)
def test_stop_while_features_are_computed(few, tmp_path, phases, asked_before):
    """Asked behind each table of features, here a batch, and behind each of the twice three steps."""
    settings = settings_for(few, *phases)
    straight = train(settings, tmp_path / "straight")
    clear_cache()
    asked = []

    def should_stop():
        asked.append(1)
        return len(asked) == asked_before

    with pytest.raises(InterruptedRunError, match=r"catdog train --resume .*run"):
        train(settings, tmp_path / "run", should_stop=should_stop)
    assert sum(store["rows"] for store in list_stores()) in (6, 18 + 6)
    assert differences(straight, resume(tmp_path / "run")) == []


def test_changed_picture_is_computed_alone(few, tmp_path, computed):
    data = shutil.copytree(few, tmp_path / "data")
    train(settings_for(data, PHASE), tmp_path / "1")
    computed.clear()
    draw_image(0, 12345).save(data / "train" / "cats" / "3.png")
    train(settings_for(data, PHASE), tmp_path / "2")
    assert sum(computed) == 1
    (data / "train" / "cats" / "3.png").rename(data / "train" / "cats" / "renamed.png")
    train(settings_for(data, PHASE), tmp_path / "3")
    assert sum(computed) == 1


def test_copies_of_a_picture_share_a_row(few, tmp_path, computed):
    data = shutil.copytree(few, tmp_path / "data")
    for number in (1, 2, 3):
        shutil.copy(data / "train" / "cats" / "0.png", data / "train" / "cats" / f"{number}.png")
    train(settings_for(data, PHASE), tmp_path / "run")
    assert sum(computed) == 18 - 3
    assert [store["rows"] for store in list_stores()] == [15]


def prefix(seed=0, spec=None, dtype=torch.float32, arch="simple_cnn", split_at=None):
    classifier = build_classifier(arch, 2, HeadSpec(), seed)
    classifier.unfreeze(0)
    return FrozenPrefix(
        classifier.prefix(len(classifier.blocks) if split_at is None else split_at),
        spec or InputSpec(32, 36),
        dtype,
        CPU,
    )


def test_key_is_that_of_the_same_weights_and_input():
    assert prefix().key == prefix().key


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"spec": InputSpec(40, 45)},
        {"spec": InputSpec(32, 40)},
        {"spec": InputSpec(32, 36, mean=(0.5, 0.5, 0.5))},
        {"spec": InputSpec(32, 36, interpolation="bicubic")},
        {"dtype": torch.bfloat16},
        {"split_at": 3},
    ],
)
def test_key_changes_with_whatever_changes_the_numbers(changes):
    assert prefix(**changes).key != prefix().key


@pytest.mark.parametrize("name", ["PIL.__version__", "torchvision.__version__", "torch.__version__"])
def test_key_changes_with_whoever_decodes_and_computes(monkeypatch, name):
    before = prefix().key
    monkeypatch.setattr(name, "0.1")
    assert prefix().key != before


def test_key_changes_with_the_code_that_makes_pixels(monkeypatch, tmp_path):
    before = prefix().key
    assert prefix().key == before
    copy = tmp_path / "images"
    shutil.copytree(Path(transforms.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    transforms._digest_sources.cache_clear()
    monkeypatch.setattr(transforms, "__file__", str(copy / "transforms.py"))
    assert prefix().key == before  # the same code elsewhere
    with (copy / "formats" / "jpeg.py").open("a") as file:
        file.write("\n")
    transforms._digest_sources.cache_clear()
    assert prefix().key != before
    transforms._digest_sources.cache_clear()


def test_key_changes_with_a_package_that_reads_some_pictures(monkeypatch):
    before = prefix().key
    transforms._list_optional.cache_clear()
    monkeypatch.setattr(transforms.importlib.metadata, "version", lambda name: "99")
    assert prefix().key != before
    transforms._list_optional.cache_clear()


def test_key_changes_with_a_single_statistic_of_a_norm():
    classifier = build_classifier("simple_cnn", 2, HeadSpec())
    before = FrozenPrefix(classifier.prefix(3), InputSpec(32, 36), torch.float32, CPU).key
    next(m for m in classifier.modules() if isinstance(m, torch.nn.BatchNorm2d)).running_mean[0] += 1e-3
    assert FrozenPrefix(classifier.prefix(3), InputSpec(32, 36), torch.float32, CPU).key != before


@pytest.mark.parametrize("split_at", [2, None], ids=["maps", "pooled"])
def test_table_holds_what_the_network_itself_gives(few, split_at):
    """Fused convolutions and rows from disk against the plain network on the plain picture."""
    from catdog_cli.images.transforms import load_image, normalise

    spec = InputSpec(32, 36)
    classifier = build_classifier("simple_cnn", 2, HeadSpec()).eval()
    places = len(classifier.blocks) if split_at is None else split_at
    module = classifier.prefix(places)
    dataset = run.read_data(settings_for(few), Events())
    chosen = image_set(Images(dataset, "train", spec))
    table = build_feature_table(
        FrozenPrefix(module, spec, torch.float32, CPU), chosen, View(), lambda done, total: None
    )
    for index in (0, 5, 11):
        image = normalise(load_image(dataset.source("train", index), spec)[None], spec)
        with torch.no_grad():
            expected = module(image)
        torch.testing.assert_close(table.take(torch.tensor([index])), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [5, None], ids=["pooled", "maps"])
@pytest.mark.parametrize("held", [True, False], ids=["in memory", "from the cache"])
def test_kept_batches_are_those_of_the_plan_but_for_unreadable_pictures(few, monkeypatch, width, held):
    monkeypatch.setattr(sources, "ROWS_AT_ONCE", 15)  # two batches at once
    monkeypatch.setattr(sources, "GATHERED_BYTES", 2**20 if held else 0)
    chosen = image_set(Images(scan_dataset(few), "train", SPEC))
    bad = [2, 7]
    chosen.note_bad([CorruptImage(place, "cats", "cannot be read") for place in bad])
    places = torch.arange(len(chosen))
    places[bad] = -1
    rows = torch.rand(len(chosen), *([width] if width else [3, 2, 2]))
    plan = [
        torch.tensor(part, dtype=torch.int64)
        for part in ([3, 1, 4], [2, 7], [5, 9, 2, 6, 8, 0, 10, 11], [], [7, 1, 1])
    ]
    found = list(sources.KeptFeatures(chosen, [FeatureTable(rows, places)], CPU).batches(plan, 0))
    expected = [[3, 1, 4], [], [5, 9, 6, 8, 0, 10, 11], [], [1, 1]]
    assert [batch.indices.tolist() for batch in found] == expected
    for batch in found:
        assert torch.equal(batch.values, rows[batch.indices])
        assert torch.equal(batch.labels, chosen.labels[batch.indices])
    source = sources.KeptFeatures(chosen, [FeatureTable(rows, places)], CPU)
    assert [len(batch.values) for batch in source.batches([torch.tensor(bad)], 0)] == [0]
    assert list(source.batches([], 0)) == []


def test_border_inside_the_backbone_keeps_maps_and_trains_the_same(few, tmp_path):
    phase = Phase("p", 2, 1e-2, unfreeze=8, batch_size=4)
    states = [
        train(settings_for(few, phase, cache=cache), tmp_path / str(cache))["state_dict"]
        for cache in (True, False)
    ]
    (store,) = list_stores()
    assert store["rows"] == 18
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unfreeze", [0, 8])
def test_several_looks_are_averaged_alike_kept_or_not(few, tmp_path, computed, unfreeze):
    phase = Phase("p", 1, 1e-2, unfreeze=unfreeze, batch_size=4)
    rows = [
        train(settings_for(few, phase, cache=cache, looks="whole"), tmp_path / str(cache))["history"][0]
        for cache in (True, False)
    ]
    assert sum(computed) == 12 + 4 * 6
    kinds = {Path(store["path"]).name.partition("-none")[2] for store in list_stores()}
    assert kinds == {"", "-mirrored", "-whole", "-whole-mirrored"}
    assert rows[0]["val_loss"] == pytest.approx(rows[1]["val_loss"], abs=1e-5)
    plain = train(settings_for(few, phase), tmp_path / "plain")["history"][0]
    assert plain["train_loss"] == rows[0]["train_loss"]
    assert plain["val_loss"] != rows[0]["val_loss"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("unfreeze", [0, 8])
def test_mixed_features_are_the_same_kept_or_not(few, tmp_path, precision, unfreeze):
    phase = Phase("p", 1, 1e-2, unfreeze=unfreeze, batch_size=4, mixup=0.4)
    states = [
        train(settings_for(few, phase, cache=cache, precision=precision), tmp_path / str(cache))["state_dict"]
        for cache in (True, False)
    ]
    assert differences(*states) == []


def test_fresh_augmentation_keeps_no_training_features(few, tmp_path):
    train(settings_for(few, Phase("p", 1, augment="light", batch_size=4)), tmp_path / "run")
    assert [store["rows"] for store in list_stores()] == [6]  # validation alone
    events = Events()
    train(settings_for(few, Phase("p", 1, augment="light", batch_size=4)), tmp_path / "again", events)
    assert events.of("features") == []


def test_no_cache_leaves_nothing_behind(few, tmp_path):
    train(settings_for(few, PHASE, cache=False), tmp_path / "run")
    assert list_stores() == []


def test_bfloat16_trains_and_keeps_half_the_bytes(few, tmp_path):
    train(settings_for(few, PHASE, precision="bf16"), tmp_path / "run")
    (store,) = list_stores()
    assert 18 * 256 * 2 <= store["bytes"] < 18 * 256 * 4
