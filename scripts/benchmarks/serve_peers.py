"""What people write by hand, for serve_load.py: a checkpoint's network behind FastAPI.

Run by serve_load.py with a Python that has FastAPI: serve_peers.py CKPT PORT. The network gets pictures cut
as catdog cuts them.
"""

import io
import sys
from pathlib import Path

import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from catdog_cli.runs.checkpoint import build_from_checkpoint, load_checkpoint

Rows = list[dict[str, float]]


class Network:
    """A checkpoint as a hand-written service would use it."""

    def __init__(self, checkpoint: str) -> None:
        from torchvision import transforms

        path = Path(checkpoint)
        model = build_from_checkpoint(load_checkpoint(path), path)
        spec = model.input_spec
        self.names, self.classifier = model.class_names, model.classifier.eval()
        self.transform = transforms.Compose(
            [
                transforms.Resize(spec.resize),
                transforms.CenterCrop(spec.size),
                transforms.ToTensor(),
                transforms.Normalize(spec.mean, spec.std),
            ]
        )

    def read(self, content: bytes) -> torch.Tensor:
        """Return the pixels (3, H, W) of a file."""
        return self.transform(Image.open(io.BytesIO(content)).convert("RGB"))

    @torch.inference_mode()
    def answer(self, pixels: torch.Tensor) -> Rows:
        """Return the probability of each class, a row for each of the pixels (B, 3, H, W)."""
        return [
            dict(zip(self.names, row, strict=True)) for row in self.classifier(pixels).softmax(1).tolist()
        ]


def run_fastapi(network: Network, port: int) -> None:
    """Serve with FastAPI: a picture at a time, in its pool of threads."""
    import fastapi
    import uvicorn
    from starlette.concurrency import run_in_threadpool

    app = fastapi.FastAPI()

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.post("/predict")
    async def predict(request: fastapi.Request) -> dict[str, float]:
        content = await request.body()
        return await run_in_threadpool(lambda: network.answer(network.read(content)[None])[0])

    uvicorn.run(app, port=port, log_level="error", access_log=False)


if __name__ == "__main__":
    run_fastapi(Network(sys.argv[1]), int(sys.argv[2]))
