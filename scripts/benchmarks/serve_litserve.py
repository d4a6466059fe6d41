"""What people write by hand, for serve_load.py: a checkpoint's network behind LitServe.

Run by serve_load.py with a Python that has LitServe: serve_litserve.py CKPT PORT. It takes JSON or forms:
pictures come in base64. It makes batches of at most 16 and waits 5 ms for company.
"""

import base64
import sys

import litserve
import torch
from serve_peers import Network, Rows


class Api(litserve.LitAPI):
    """A picture in, the probability of each class out."""

    def __init__(self, checkpoint: str) -> None:
        super().__init__(max_batch_size=16, batch_timeout=0.005)
        self.checkpoint = checkpoint

    def setup(self, device: str) -> None:
        self.network = Network(self.checkpoint)

    def decode_request(self, request: dict[str, str]) -> torch.Tensor:
        return self.network.read(base64.b64decode(request["picture"]))

    def batch(self, inputs: list) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, batch: torch.Tensor) -> Rows:
        return self.network.answer(batch)

    def unbatch(self, output: Rows) -> Rows:
        return output

    def encode_response(self, output: dict[str, float]) -> dict[str, float]:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Api(sys.argv[1]), accelerator="cpu")
    server.run(port=int(sys.argv[2]), log_level="error", generate_client_file=False)
