"""The trainings that are tortured: tiny, and each with another part of catdog that could forget something."""

from pathlib import Path

TINY = "--arch simple_cnn --image-size 32 --cpu --precision fp32 --batch-size 4 "
FROZEN = "--weights WEIGHTS --epochs 8 --learning-rate 0.01 --hidden-layers 8"
SCRATCH = "--weights none --epochs 6 --learning-rate 0.01 --hidden-layers 8"
TRIMMINGS = "--ema 0.9 --mixup 0.4 --cutmix 0.4 --clip-norm 1 --scheduler one-cycle --label-smoothing 0.1"

LABELS = "labels.csv"  # of the same pictures, beside them

RECIPES = {
    "head": f"{FROZEN} --save-every 1 --workers 0",
    "head, no cache, 2 workers": f"{FROZEN} --save-every 3 --workers 2 --no-cache",
    "head, solved": "--weights WEIGHTS --optimizer lbfgs",
    "normed cosine head": f"{FROZEN} --head-norm batch --head cosine --save-every 1 --workers 0",
    "two phases": f"{FROZEN} --fine-tune-epochs 2 --unfreeze 6 --optimizer sgd --save-every 2 --workers 0",
    "two phases, no cache": f"{FROZEN} --fine-tune-epochs 2 --no-cache --save-every 1 --workers 0",
    "scratch": f"{SCRATCH} --save-every 1 --optimizer adamw --weight-decay 0.01 --workers 0",
    "scratch, 2 workers": f"{SCRATCH} --save-every 4 --augment strong --workers 2",
    "trimmings": f"{SCRATCH} {TRIMMINGS} --augment standard --save-every 1 --workers 0",
    "early stopping": f"{SCRATCH} --epochs 20 --patience 1 --monitor loss --save-every 2 --workers 0",
    "balanced": f"{SCRATCH} --sampler balanced --class-weights balanced --save-every 1s --workers 0",
    "fixed views": f"{FROZEN} --augment standard --views 2 --ema 0.5 --save-every 2 --workers 0",
    "several labels": f"{SCRATCH} --mixup 0.4 --class-weights balanced --save-every 2 --workers 0",
    "saves after epochs": f"{FROZEN} --fine-tune-epochs 2 --save-every off --workers 0",
}


def arguments(name: str, data: Path, weights: Path) -> list[str]:
    """Return the words behind `catdog` that train a recipe, without --output."""
    data = data.parent / LABELS if name == "several labels" else data
    words = f"{TINY} {RECIPES[name]}".split()
    return ["train", str(data), *(str(weights) if word == "WEIGHTS" else word for word in words)]


def draw(folder: Path) -> tuple[Path, Path]:
    """Draw the pictures and save random weights into `folder`; return the data folder and the weights."""
    import torch

    from catdog_cli.data.sources.sample import draw_dataset
    from catdog_cli.models.zoo.registry import source_of

    data, weights = folder / "data", folder / "weights.pth"
    draw_dataset(data, 12, 6)
    for image in sorted(data.glob("train/cats/*"))[:4]:
        image.unlink()  # the classes are of different sizes
    lines = [
        f"{image.relative_to(folder)},{image.parent.name};{'even' if int(image.stem[-1:], 36) % 2 else ''}"
        for image in sorted(data.rglob("*.jpg"))
    ]
    (folder / LABELS).write_text("\n".join(["path,labels", *lines]) + "\n")
    if not weights.exists():
        torch.manual_seed(1)
        torch.save(source_of("simple_cnn").build("simple_cnn").state_dict(), weights)
    return data, weights
