"""The loop of the usual tutorials, eager and in float32, that `catdog train` is compared with."""

import time
from argparse import Namespace
from collections.abc import Iterable
from typing import Any

from measure import KEEP_MEMORY, answer, run_worker
from prepare import take_some
from table import Found, Row, ratio

EPOCHS, BATCH_SIZE, WORKERS = 3, 32, 2
ALLOCATORS = {"default allocator": {}, "catdog's allocator settings": KEEP_MEMORY}


def measure(options: Namespace) -> dict[str, float]:
    """Return seconds, accuracy and peak memory of the loop, once for each allocator."""
    found = {}
    for number, environment in enumerate(ALLOCATORS.values()):
        child, facts = _run(options, environment)
        found |= {f"{number}_{name}": value for name, value in facts.items()}
        found[f"{number}_peak_mb"] = child.peak_mb
    return found


def _run(options: Namespace, environment: dict[str, str]) -> tuple[Any, dict[str, float]]:
    """Run the loop: whole with --full, else one epoch of some pictures, scaled to three of them all."""
    data, epochs = options.data, EPOCHS
    if not options.full:
        some = (options.tutorial_pictures, options.tutorial_val)
        data, epochs = take_some(options.data, options.work / "tutorial", *some), 1
    arguments = {"data": data, "weights": options.weights, "epochs": epochs}
    child, facts = run_worker(__file__, arguments, options.work, **environment)
    loops_s = facts["warm_s"] + facts["train_s"] + facts["val_s"]
    start_s = child.wall_s - loops_s  # imports and the like: once in any case
    train_s = facts["train_s"] / facts["seen"] * options.num_train * EPOCHS
    val_s = facts["val_s"] / facts["val_seen"] * options.num_val * EPOCHS
    return child, {"s": start_s + train_s + val_s, "accuracy": facts["accuracy"]}


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return a row for each allocator, compared with a cold `catdog train` where that was measured."""
    own, result = found["tutorial"], []
    some = f"{options.tutorial_pictures} + {options.tutorial_val} pictures scaled up"
    for number, allocator in enumerate(ALLOCATORS):
        seconds = own[f"{number}_s"]
        compared = {}
        if "train" in found:
            compared = {"ratio": ratio(seconds, found["train"]["cold_s"]), "ratio_to": "catdog train, cold"}
        result.append(
            Row(
                "tutorial",
                f"tutorial loop, {EPOCHS} epochs, {allocator}" + ("" if options.full else f"; {some}"),
                seconds,
                accuracy=own[f"{number}_accuracy"] if options.full else [],
                peak_mb=own[f"{number}_peak_mb"],
                **compared,
            )
        )
    return result


def build_network(weights: str) -> Any:
    """Return torchvision's network with its weights, frozen, and a new last layer, as tutorials do."""
    import torch
    from torchvision.models import mobilenet_v2

    network = mobilenet_v2()
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.requires_grad_(False)
    network.classifier[1] = torch.nn.Linear(1280, 2)
    return network


def compute(data: str, weights: str, epochs: int) -> dict[str, float]:
    """Train and validate in this process; return seconds, pictures seen and the best accuracy."""
    import torch

    network = build_network(weights)
    optimizer = torch.optim.Adam(network.classifier.parameters(), lr=1e-3)
    train_loader, val_loader = _loaders(data)
    facts = {"warm_s": 0.0, "train_s": 0.0, "val_s": 0.0, "seen": 0, "val_seen": 0, "accuracy": 0.0}
    start = time.perf_counter()
    train_epoch(network, optimizer, [(torch.rand(BATCH_SIZE, 3, 224, 224), torch.zeros(BATCH_SIZE).long())])
    facts["warm_s"] = time.perf_counter() - start  # a few batches are scaled up: they must not pay for this
    for _ in range(epochs):
        start = time.perf_counter()
        facts["seen"] += train_epoch(network, optimizer, train_loader)
        middle = time.perf_counter()
        correct, count = validate(network, val_loader)
        facts["train_s"] += middle - start
        facts["val_s"] += time.perf_counter() - middle
        facts["val_seen"] += count
        facts["accuracy"] = max(facts["accuracy"], correct / count)
    return facts


def _loaders(data: str) -> tuple[Iterable, Iterable]:
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    scale = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    vary = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *scale])
    centre = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *scale])
    train, val = datasets.ImageFolder(f"{data}/train", vary), datasets.ImageFolder(f"{data}/val", centre)
    return (
        DataLoader(train, BATCH_SIZE, shuffle=True, num_workers=WORKERS),
        DataLoader(val, BATCH_SIZE, num_workers=WORKERS),
    )


def train_epoch(network: Any, optimizer: Any, batches: Iterable) -> int:
    import torch

    network.train()
    seen = 0
    for images, labels in batches:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        seen += len(labels)
    return seen


def validate(network: Any, batches: Iterable) -> tuple[int, int]:
    import torch

    network.eval()
    correct = count = 0
    with torch.no_grad():
        for images, labels in batches:
            correct += (network(images).argmax(1) == labels).sum().item()
            count += len(labels)
    return correct, count


if __name__ == "__main__":
    answer(compute)
