"""How long `catdog predict` takes for one picture, against the shortest script that does the same.

python scripts/benchmarks/start.py PICTURE CKPT [RUNS]

The script imports torch and torchvision, loads the same checkpoint into torchvision's model and predicts.
Runs alternate; printed are the medians of wall and processor time, and catdog's ratio to the script.
"""

import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from measure import run_child
from prepare import list_pictures
from table import Found, Row, gather, markdown, ratio

BARE = """
import sys
import torch, torchvision
from PIL import Image
content = torch.load(sys.argv[2], weights_only=True)
spec, state = content["input_spec"], content["state_dict"]
model = torchvision.models.get_model(content["arch"], num_classes=len(content["class_to_idx"]))
head = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}
last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
last.weight.data = head["output.weight"] / head["norm.std"]
last.bias.data = head["output.bias"] - last.weight.data @ head["norm.mean"]
prefix = "backbone."
body = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
model.load_state_dict(body, strict=False)
look = torchvision.transforms.Compose([
    torchvision.transforms.Resize(spec["resize"]), torchvision.transforms.CenterCrop(spec["size"]),
    torchvision.transforms.ToTensor(), torchvision.transforms.Normalize(spec["mean"], spec["std"])])
with torch.no_grad():
    picture = look(Image.open(sys.argv[1]).convert("RGB"))
    probabilities = model.eval()(picture[None])[0].div(content.get("temperature", 1.0)).softmax(0)
for probability, index in zip(*probabilities.sort(descending=True)):
    print(list(content["class_to_idx"])[index], float(probability))
"""


def measure(options: Namespace) -> dict[str, float]:
    """Return wall and processor time of the script and of catdog for one picture."""
    return _run_both(list_pictures(options.data, "val")[0], options.checkpoint, options.work)


def _run_both(image: Path, checkpoint: Path, work: Path) -> dict[str, float]:
    found, arguments = {}, [str(image), str(checkpoint)]
    for name, command in (("script", ["-c", BARE]), ("catdog", ["-m", "catdog_cli", "predict"])):
        extra = ["--cpu"] if name == "catdog" else []
        child = run_child([sys.executable, *command, *arguments, *extra], work)
        found |= {f"{name}_wall_s": child.wall_s, f"{name}_processor_s": child.processor_s}
        found[f"{name}_peak_mb"] = child.peak_mb
    return found


def rows(options: Namespace, found: Found) -> list[Row]:
    """Return wall and processor time of both, catdog's compared with the script's."""
    own, result = found["start"], []
    for kind, said in (("wall", ""), ("processor", ", processor time")):
        peaks = {name: own[f"{name}_peak_mb"] if kind == "wall" else [] for name in ("script", "catdog")}
        script, catdog = own[f"script_{kind}_s"], own[f"catdog_{kind}_s"]
        result += [
            Row("start", f"one picture, the shortest script{said}", script, peak_mb=peaks["script"]),
            Row(
                "start",
                f"one picture, catdog predict{said}",
                catdog,
                peak_mb=peaks["catdog"],
                ratio=ratio(catdog, script),
                ratio_to=f"the script{said}",
            ),
        ]
    return result


def main() -> None:
    """Alternate the two, print medians and ratios."""
    image, checkpoint = (Path(name).resolve() for name in sys.argv[1:3])
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    with tempfile.TemporaryDirectory() as work:
        rounds = [_run_both(image, checkpoint, Path(work)) for _ in range(runs + 1)]
    # the first run reads files from the disk
    print(markdown(rows(Namespace(), {"start": gather(rounds[1:])})))


if __name__ == "__main__":
    main()
