"""How long `catdog predict` takes for one picture, against the shortest script that does the same.

python scripts/bench/start.py PICTURE CKPT [RUNS]

The script imports torch and torchvision, loads the same checkpoint into torchvision's model and predicts.
Runs alternate; printed are the medians of wall and processor time, and catdog's ratio to the script.
"""

import os
import statistics
import subprocess
import sys
import time

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


def run_once(command: list[str]) -> tuple[float, float]:
    """Return wall and processor time of a command, in seconds."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, used


def main() -> None:
    """Alternate the two, print medians and ratios."""
    picture, checkpoint = sys.argv[1:3]
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    commands = {
        "script": [sys.executable, "-c", BARE, picture, checkpoint],
        "catdog": [sys.executable, "-m", "catdog_cli", "predict", picture, checkpoint],
    }
    times = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, command in commands.items():
            taken = run_once(command)
            if number:  # the first run reads files from the disk
                times[name].append(taken)
    for index, kind in enumerate(("wall", "processor")):
        script, catdog = (statistics.median(each[index] for each in times[name]) for name in commands)
        print(f"{kind}: script {script:.2f} s, catdog {catdog:.2f} s, ratio {catdog / script:.2f}")


if __name__ == "__main__":
    main()
