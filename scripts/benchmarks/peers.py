"""The same task in what people would otherwise install, where it is installed: an epoch, scaled to three.

Ultralytics predicts, too, as its command line does. No peer's own weights can be had offline: fastai gets
the file's, timm and Ultralytics start from random ones, which takes the same time.
"""

import importlib.util
import time
from argparse import Namespace
from tempfile import TemporaryDirectory
from typing import Any

from measure import answer, run_worker
from prepare import take_some
from table import Found, Row, ratio
from tutorial import BATCH_SIZE, EPOCHS, WORKERS, train_epoch, validate

SAID = {
    "fastai": "fastai, mobilenet_v2, frozen",
    "timm": "timm, mobilenetv2_100, frozen",
    "ultralytics": "Ultralytics, yolo11n-cls, frozen",
}


def measure(name: str, options: Namespace) -> dict[str, float] | None:
    """Return seconds and peak memory of a peer, None where it is not installed."""
    if not importlib.util.find_spec(name):
        return None
    count = options.tutorial_pictures
    share = options.num_val / options.num_train  # so that one factor scales both
    some = take_some(options.data, options.work / "peers", count, max(2, round(count * share)))
    arguments = {"name": name, "data": some, "weights": options.weights}
    quiet = {"YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(options.work)}
    child, facts = run_worker(__file__, arguments, options.work, **quiet)
    scaled_s = facts["epoch_s"] * options.num_train / count * EPOCHS
    found = {"s": child.wall_s - facts["epoch_s"] + scaled_s, "peak_mb": child.peak_mb}
    return found | ({"predict_rate": facts["predict_rate"]} if "predict_rate" in facts else {})


def rows(name: str, options: Namespace, found: Found) -> list[Row]:
    """Return a peer's row, compared with a cold `catdog train` where that was measured."""
    seconds, compared = found[name]["s"], {}
    if "train" in found:
        compared = {"ratio": ratio(seconds, found["train"]["cold_s"]), "ratio_to": "catdog train, cold"}
    what = f"{SAID[name]}, {EPOCHS} epochs; one of {options.tutorial_pictures} pictures scaled up"
    result = [Row("peers", what, seconds, peak_mb=found[name]["peak_mb"], **compared)]
    if "predict_rate" in found[name]:
        rates, compared = found[name]["predict_rate"], {}
        if "predict" in found:
            compared = {"ratio": ratio(rates, found["predict"]["library_rate"]), "ratio_to": "catdog's rate"}
        said = f"{name} predict, yolo11n-cls, without its start"
        result.append(Row("peers", said, pictures_per_s=rates, **compared))
    return result


def compute(name: str, data: str, weights: str) -> dict[str, float]:
    """Train and validate for an epoch in this process; return its seconds."""
    fit = {"fastai": _fastai, "timm": _timm, "ultralytics": _ultralytics}[name](data, weights)
    start = time.perf_counter()
    fit()
    found = {"epoch_s": time.perf_counter() - start}
    return found | ({"predict_rate": _ultralytics_rate(data)} if name == "ultralytics" else {})


def _fastai(data: str, weights: str) -> Any:
    import torch
    import torchvision
    from fastai.vision.all import ImageDataLoaders, Resize, imagenet_stats, vision_learner
    from fastai.vision.learner import default_split, model_meta

    def mobilenet(pretrained: bool) -> torch.nn.Module:
        network = torchvision.models.mobilenet_v2()
        network.load_state_dict(torch.load(weights, weights_only=True))
        return network

    loaders = ImageDataLoaders.from_folder(
        data,
        train="train",
        valid="val",
        item_tfms=Resize(224),
        bs=BATCH_SIZE,
        num_workers=WORKERS,
        device="cpu",
    )
    model_meta[mobilenet] = {"cut": -1, "split": default_split, "stats": imagenet_stats}
    learner = vision_learner(loaders, mobilenet)  # which also trains the frozen part's BatchNorm
    return lambda: learner.fit(1)


def _timm(data: str, weights: str) -> Any:
    import timm
    import torch
    from timm.data import create_dataset, create_loader

    network = timm.create_model("mobilenetv2_100", num_classes=2)
    network.requires_grad_(False)
    network.get_classifier().requires_grad_(True)
    optimizer = torch.optim.Adam(network.get_classifier().parameters(), lr=1e-3)
    train_loader, val_loader = (
        create_loader(
            create_dataset("", f"{data}/{split}"),
            (3, 224, 224),
            BATCH_SIZE,
            is_training=split == "train",
            num_workers=WORKERS,
            use_prefetcher=False,
            device=torch.device("cpu"),
        )
        for split in ("train", "val")
    )
    return lambda: (train_epoch(network, optimizer, train_loader), validate(network, val_loader))


def _ultralytics(data: str, weights: str) -> Any:
    from ultralytics import YOLO
    from ultralytics import settings as own_settings

    own_settings.update(dict.fromkeys(("clearml", "comet", "dvc", "mlflow", "raytune"), False))
    network = YOLO("yolo11n-cls.yaml")
    project = TemporaryDirectory()
    settings = {"imgsz": 224, "batch": BATCH_SIZE, "workers": WORKERS, "freeze": 10, "plots": False}

    def fit() -> None:
        with project:
            network.train(data=data, epochs=1, device="cpu", project=project.name, verbose=False, **settings)

    return fit


def _ultralytics_rate(data: str) -> float:
    from pathlib import Path

    from ultralytics import YOLO

    network, paths = YOLO("yolo11n-cls.yaml"), sorted(map(str, Path(data).glob("train/*/*.jpg")))
    how = {"imgsz": 224, "device": "cpu", "verbose": False, "stream": True}
    for _ in network.predict(paths[:8], **how):  # what it prepares first
        pass
    start = time.perf_counter()
    count = sum(1 for _ in network.predict(paths, **how))
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    answer(compute)
