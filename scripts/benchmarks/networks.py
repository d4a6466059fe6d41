"""Cold head training of several networks, each against its own floor: decoding, forward pass and imports."""

from argparse import Namespace

import floor
from measure import KEEP_MEMORY, run_worker
from prepare import list_pictures
from table import Found, Row, ratio
from training import train_cold

ARCHS = ("mobilenet_v2", "tf_efficientnet_lite0")


def measure(options: Namespace) -> dict[str, float] | None:
    """Return seconds of the floor and of a cold training of each network; None without timm or weights."""
    found = {}
    images = list_pictures(options.data, "train")[: options.floor_pictures]
    for arch in ARCHS:
        weights = options.weights.with_name(f"{arch}-imagenet.pth")
        if not weights.exists():
            return None
        arguments = {"images": images, "weights": weights, "arch": arch}
        _, rates = run_worker(floor.__file__, arguments, options.work, **KEEP_MEMORY)
        child, accuracy, _ = train_cold(options, ["--arch", arch, "--weights", weights])
        sums = sum(options.num_pictures / rates[name] for name in ("decode", "forward"))
        found |= {
            f"{arch}_floor_s": sums,
            f"{arch}_s": child.wall_s,
            f"{arch}_accuracy": accuracy,
            f"{arch}_peak_mb": child.peak_mb,
        }
    return found


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return two rows a network: its floor without imports, and the training compared with it."""
    own, result = found["networks"], []
    for arch in ARCHS:
        under, seconds = own[f"{arch}_floor_s"], own[f"{arch}_s"]
        result += [
            Row("networks", f"{arch}, decode + forward", under),
            Row(
                "networks",
                f"{arch}, catdog train, empty feature cache",
                seconds,
                accuracy=own[f"{arch}_accuracy"],
                peak_mb=own[f"{arch}_peak_mb"],
                ratio=ratio(seconds, under),
                ratio_to="its decode + forward",
            ),
        ]
    return result
