"""What people write by hand, for serve_load.py: a checkpoint's network behind FastAPI or LitServe.

Run by serve_load.py with the Python that has these packages: serve_peers.py fastapi|litserve CKPT PORT. Both
give the network the same pixels as catdog does; LitServe, which takes JSON or forms, gets pictures in base64;
it makes batches of at most 16 and waits 5 ms for company.
"""

import base64
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


def run_litserve(network: Network, port: int) -> None:
    """Serve with LitServe, which makes batches itself."""
    import litserve

    class Api(litserve.LitAPI):
        def setup(self, device: str) -> None:
            self.network = network

        def decode_request(self, request: dict[str, str]) -> torch.Tensor:
            return network.read(base64.b64decode(request["picture"]))

        def batch(self, inputs: list) -> torch.Tensor:
            return torch.stack(inputs)

        def predict(self, batch: torch.Tensor) -> Rows:
            return network.answer(batch)

        def unbatch(self, output: Rows) -> Rows:
            return output

        def encode_response(self, output: dict[str, float]) -> dict[str, float]:
            return output

    api = Api(max_batch_size=16, batch_timeout=0.005)
    litserve.LitServer(api, accelerator="cpu").run(port=port, log_level="error", generate_client_file=False)


if __name__ == "__main__":
    kind, path, number = sys.argv[1:]
    (run_fastapi if kind == "fastapi" else run_litserve)(Network(path), int(number))
