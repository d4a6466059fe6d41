"""The floor: what decoding and the network's forward pass cost on their own, on all cores, and imports."""

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure import KEEP_MEMORY, answer, run_child, run_worker
from prepare import list_pictures
from table import Found, Row

BATCHES = (8, 16)  # pictures; the better one counts


def measure(options: Namespace) -> dict[str, float]:
    """Return rates of decoding and of the forward pass, and seconds for all pictures and for imports."""
    imports = run_child(
        [sys.executable, "-c", "import torch, torchvision, os; os._exit(0)"], options.work, **KEEP_MEMORY
    )
    images = list_pictures(options.data, "train")[: options.floor_pictures]
    arguments = {"images": images, "weights": options.weights}
    child, rates = run_worker(__file__, arguments, options.work, **KEEP_MEMORY)
    decode_s, forward_s = (options.num_pictures / rates[name] for name in ("decode", "forward"))
    return {
        **rates,
        "decode_s": decode_s,
        "forward_s": forward_s,
        "sum_s": decode_s + forward_s,
        "imports_s": imports.wall_s,
        "peak_mb": child.peak_mb,
    }


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return a row each for decoding, forward, their sum and imports."""
    count, own = options.num_pictures, found["floor"]
    return [
        Row("floor", f"decode {count} pictures", own["decode_s"], own["decode"]),
        Row("floor", f"forward {count} pictures", own["forward_s"], own["forward"]),
        Row("floor", "decode + forward", own["sum_s"], peak_mb=own["peak_mb"]),
        Row("floor", "import torch, torchvision", own["imports_s"]),
    ]


def floor_and_imports(found: Found) -> list[float]:
    """Return the sum of both, a round each."""
    return [a + b for a, b in zip(found["floor"]["sum_s"], found["floor"]["imports_s"], strict=True)]


def rate(function: Callable[[Any], Any], items: list, images: int) -> float:
    """Return pictures a second of `function` over `items`, on all cores with one torch thread each."""
    import torch

    from catdog_cli.runtime.parallel import usable_cores

    threads = usable_cores()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(function, items[: 2 * threads]))  # the first pass of a kernel makes it
        start = time.perf_counter()
        list(pool.map(function, items))
        return images / (time.perf_counter() - start)


def compute(images: list[str], weights: str, arch: str = "mobilenet_v2") -> dict[str, float]:
    """Measure in this process: pictures a second of decoding, and of the fast form in its best batch."""
    import torch

    from catdog_cli.images.transforms import load_image, normalise
    from catdog_cli.models.classifier import build_classifier
    from catdog_cli.models.inference_form.inference_form import InferenceForm
    from catdog_cli.models.weights import load_backbone
    from catdog_cli.models.zoo.registry import source_of
    from catdog_cli.runtime.devices import pick_precision
    from catdog_cli.settings import HeadSpec

    spec, cpu = source_of(arch).input_spec(arch, weights), torch.device("cpu")
    classifier = build_classifier(arch, 2, HeadSpec())
    load_backbone(classifier, weights)
    dtype = pick_precision("auto", cpu)
    network = InferenceForm(classifier.prefix(len(classifier.blocks)), dtype, cpu)
    paths = [Path(image) for image in images]
    decode = rate(lambda path: load_image(path, spec), paths, len(paths))
    loaded = torch.stack([load_image(path, spec) for path in paths[: max(BATCHES)]])
    ready = normalise(loaded.contiguous(memory_format=torch.channels_last), spec).to(dtype)
    forward = max(_forward_rate(network, ready, size, len(paths)) for size in BATCHES)
    return {"decode": decode, "forward": forward}


def _forward_rate(network: Any, ready: Any, size: int, count: int) -> float:
    batch = ready[:size].clone()  # fewer where fewer pictures were given
    repeats = max(1, count // len(batch))
    return rate(lambda _: network(batch), list(range(repeats)), repeats * len(batch))


if __name__ == "__main__":
    answer(compute)
