"""An exported file: one picture against a bare script, many against its checkpoint, int8 against float.

Run by itself it times one picture: python scripts/benchmarks/exported.py PICTURE CKPT MODEL.onnx [RUNS]
"""

import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from measure import KEEP_MEMORY, answer, run_catdog, run_child, run_worker
from prepare import list_pictures
from table import Found, Row, gather, markdown, ratio

BARE = """
import json, sys
import numpy as np
from PIL import Image
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[2], options, providers=["CPUExecutionProvider"])
names = json.loads(session.get_modelmeta().custom_metadata_map["catdog"])["classes"]
pixels = np.asarray(Image.open(sys.argv[1]).convert("RGB"))
(probabilities,) = session.run(["probabilities"], {"images": pixels[None]})
for index in np.argsort(-probabilities[0]):
    print(names[index], float(probabilities[0][index]))
"""
KINDS = ("onnx", "onnx-int8")
SIZE = (360, 400)  # px of the images that the graph alone is timed on


def measure(options: Namespace) -> dict[str, float]:
    """Return seconds of one picture and rates of many, by the checkpoint and by its files."""
    files, found = _export(options)
    photo = list_pictures(options.data, "val")[0]
    found |= _start(photo, options.checkpoint, files["onnx"], options.work)
    images = list_pictures(options.data, "train")[: options.predict_pictures]
    for name, source in {"checkpoint": options.checkpoint, **files}.items():
        arguments = {"source": source, "images": images, "alone": name != "checkpoint"}
        child, facts = run_worker(__file__, arguments, options.work, **KEEP_MEMORY)
        found |= {f"{name}_s": facts["seconds"], f"{name}_rate": len(images) / facts["seconds"]}
        found[f"{name}_peak_mb"] = child.peak_mb
        found |= {f"{name}_alone_rate": facts["alone"]} if "alone" in facts else {}
    return found


def _export(options: Namespace) -> tuple[dict[str, Path], dict[str, float]]:
    """Return the exported files, and how long exporting took; int8 is made once."""
    files = {kind: options.work / f"{kind}.onnx" for kind in KINDS}
    found = {}
    for kind, file in files.items():
        if kind == "onnx" or not file.exists():
            command = ["export", options.checkpoint, "--to", kind, "--output", file, "--max-loss", "100"]
            child = run_catdog([*command, "--data", options.data], options.work)
            found |= {f"{kind}_export_s": child.wall_s} if kind == "onnx" else {}
    return files, found


def _start(image: Path, checkpoint: Path, file: Path, work: Path) -> dict[str, float]:
    """Return wall and processor time, and peak memory, of one picture by a bare script and by catdog."""
    found = {}
    for name, command in (
        ("script", ["-c", BARE, str(image), str(file)]),
        ("file", ["-m", "catdog_cli", "predict", str(image), str(file)]),
        ("torch", ["-m", "catdog_cli", "predict", str(image), str(checkpoint), "--cpu"]),
    ):
        # as an installed catdog is: with its bytecode
        environment = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(work / "bytecode")}
        child = run_child([sys.executable, *command], work, **environment)
        found |= {f"{name}_wall_s": child.wall_s, f"{name}_processor_s": child.processor_s}
        found[f"{name}_start_mb"] = child.peak_mb
    return found


def start_rows(found: Found) -> list[Row]:
    """Return what one picture takes."""
    own, result = found["export"], []
    for kind, said in (("wall", ""), ("processor", ", processor time")):
        script = own[f"script_{kind}_s"]
        for name, what in (
            ("script", "a bare script with onnxruntime"),
            ("file", "catdog predict with the ONNX file"),
            ("torch", "catdog predict with the checkpoint"),
        ):
            seconds = own[f"{name}_{kind}_s"]
            peak = own[f"{name}_start_mb"] if kind == "wall" else []
            compared = (
                {} if name == "script" else {"ratio": ratio(seconds, script), "ratio_to": f"the script{said}"}
            )
            result.append(Row("export", f"one picture, {what}{said}", seconds, peak_mb=peak, **compared))
    return result


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return the start, the rates of many pictures, and those of the graph alone."""
    own, result = found["export"], start_rows(found)
    result.append(Row("export", "catdog export, with its proof on 300 pictures", own["onnx_export_s"]))
    for name, what in (
        ("checkpoint", "the checkpoint"),
        ("onnx", "its ONNX file"),
        ("onnx-int8", "its int8 file"),
    ):
        result.append(
            Row(
                "export",
                f"{options.predict_pictures} pictures, Predictor.predict with {what}",
                own[f"{name}_s"],
                own[f"{name}_rate"],
                peak_mb=own[f"{name}_peak_mb"],
                ratio=None if name == "checkpoint" else ratio(own[f"{name}_rate"], own["checkpoint_rate"]),
                ratio_to="the checkpoint's rate",
            )
        )
    for name, what in (("onnx", "float"), ("onnx-int8", "int8")):
        rate = own[f"{name}_alone_rate"]
        result.append(
            Row(
                "export",
                f"the {what} graph alone, a thread each core",
                pictures_per_s=rate,
                ratio=None if name == "onnx" else ratio(rate, own["onnx_alone_rate"]),
                ratio_to="float's rate",
            )
        )
    return result


def compute(source: str, images: list[str], alone: bool) -> dict[str, float]:
    """Predict in this process; return the seconds, and pictures a second of the graph alone."""
    from catdog_cli import Predictor

    options: dict[str, Any] = {"device": "cpu"}
    predictor = Predictor.load(source, **options)
    list(predictor.predict(map(Path, images[:16])))
    start = time.perf_counter()
    count = sum(answer.error is None for answer in predictor.predict(map(Path, images)))
    seconds = time.perf_counter() - start
    if count != len(images):
        raise SystemExit(f"{len(images) - count} of {len(images)} pictures got no answer.")
    return {"seconds": seconds, **({"alone": _time_graph(predictor)} if alone else {})}


def _time_graph(predictor: Any, count: int = 200) -> float:
    """Return pictures a second of the graph, of pixels that are there already."""
    import numpy as np

    from catdog_cli.runtime.parallel import map_in_order, usable_cores

    pixels = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), dtype=np.uint8)

    def run(_: int) -> Any:
        return predictor.run(pixels, ["logits"])

    list(map_in_order(run, range(8), usable_cores()))
    start = time.perf_counter()
    list(map_in_order(run, range(count), usable_cores()))
    return count / (time.perf_counter() - start)


def main() -> None:
    """Alternate the three, print medians and ratios."""
    image, checkpoint, file = (Path(name).resolve() for name in sys.argv[1:4])
    runs = int(sys.argv[4]) if len(sys.argv) > 4 else 5
    with tempfile.TemporaryDirectory() as work:
        rounds = [_start(image, checkpoint, file, Path(work)) for _ in range(runs + 1)]
    # the first run reads files from the disk, and makes bytecode
    print(markdown(start_rows({"export": gather(rounds[1:])})))


if __name__ == "__main__":
    main() if len(sys.argv) > 2 else answer(compute)
