"""Maps of a class over what a network looks at: how much each place speaks for the class, or against it.

- Where features are the mean over places and the head is linear, the logit is a mean over places, too, and
  the map is exact: class activation mapping (Zhou et al., arXiv 1512.04150). Nothing is differentiated.
- Elsewhere it is HiResCAM, gradient times activation summed over channels (Draelos and Carin, arXiv
  2011.08891); of a transformer's tokens the same is called gradient times token.

All are in logits: the mean of an exact map is the logit without its bias.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from ..models.heads import CosineLinear, Head, Standardise
from ..models.inference_form.inference_form import InferenceForm
from .explanation import EXACT
from .network_cut import INPUT, MAP, TOKENS, Cut, differentiable, find_cut

METHODS = {MAP: "HiResCAM", TOKENS: "gradient x token", INPUT: "gradient x input"}


class LinearHead(NamedTuple):
    """A head as logits = weight @ (features - centre) + bias: (C, D), (D,), (C,)."""

    weight: torch.Tensor
    centre: torch.Tensor
    bias: torch.Tensor


class ClassMaps(NamedTuple):
    """Of one class: the map of each network, float32 (rows, columns) on the CPU; the bias if it is exact."""

    grids: list[torch.Tensor]
    bias: float | None


def linear_head(head: Head, features: torch.Tensor) -> LinearHead | None:
    """Return a head without hidden layers as one linear function, None of others.

    A cosine head is one for features of a given length, which is that of `features` (1, D).
    """
    layers = [layer for layer in head if not isinstance(layer, nn.Dropout)]
    if len(layers) != 2 or not isinstance(layers[0], Standardise):
        return None
    norm, last = head.norm, layers[1]
    if isinstance(last, CosineLinear):
        length = norm(features).norm().clamp_min(torch.finfo(torch.float32).tiny)
        weight = last.scale * nn.functional.normalize(last.weight) / length
        bias = weight.new_zeros(len(weight))
    elif type(last) is nn.Linear:
        weight = last.weight
        bias = weight.new_zeros(len(weight)) if last.bias is None else last.bias
    else:
        return None
    return LinearHead(weight / norm.std, norm.mean, bias)


class ClassMapper:
    """Makes the maps of a classifier's classes; its networks are cut when the first is asked for."""

    def __init__(
        self,
        networks: Sequence[Sequence[InferenceForm]],
        prefixes: Sequence[int],
        sizes: Sequence[int],
        head: Head,
    ):
        """Cut each network.

        Args:
            networks: as they predict: of each the forms that it runs in turn, most often one.
            prefixes: how many tokens each puts before those of its patches.
            sizes: side of each network's input in px.
            head: on their features, in eval mode.
        """
        self.head = head
        self.forms = [forms[0] for forms in networks]  # which take the images
        self.cuts = [find_cut(*each) for each in zip(networks, prefixes, sizes, strict=True)]
        self._tails: list[nn.Module] | None = None

    @torch.no_grad()
    def activate(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return what lies at the cut of each network, of its normalised images (B, 3, H, W)."""
        pairs = zip(self.forms, self.cuts, inputs, strict=True)
        return [cut.trunk(form.prepare(batch)) for form, cut, batch in pairs]

    @torch.no_grad()
    def embed(self, activations: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the features (B, D), float32: the bits that prediction has."""
        pairs = zip(self.cuts, activations, strict=True)
        return torch.cat([cut.tail(values.clone()) for cut, values in pairs], 1).float()

    def describe(self, features: torch.Tensor) -> tuple[str, bool]:
        """Return the method, and whether its maps are exact."""
        if self._is_exact(features):
            return EXACT, True
        return " + ".join(dict.fromkeys(METHODS[cut.kind] for cut in self.cuts)), False

    def _is_exact(self, features: torch.Tensor) -> bool:
        return all(cut.is_mean for cut in self.cuts) and linear_head(self.head, features) is not None

    def map_classes(
        self, activations: Sequence[torch.Tensor], features: torch.Tensor, classes: Sequence[int]
    ) -> list[ClassMaps]:
        """Return the maps of some classes, of one image.

        Args:
            activations: what `activate` returned of it, each of batch size 1.
            features: (1, D), what `embed` made of them.
            classes: their indices.
        """
        linear = linear_head(self.head, features)
        if linear is None or not self._is_exact(features):
            return self._differentiate(activations, classes)
        return [self._weigh(activations, linear, label) for label in classes]

    @torch.no_grad()
    def _weigh(self, activations: Sequence[torch.Tensor], linear: LinearHead, label: int) -> ClassMaps:
        grids = _grids(self.cuts, activations)
        widths = [grid.shape[0] for grid in grids]
        parts = zip(grids, linear.weight[label].split(widths), linear.centre.split(widths), strict=True)
        found = [
            torch.tensordot(weight, grid - centre[:, None, None], 1).cpu() for grid, weight, centre in parts
        ]
        return ClassMaps(found, float(linear.bias[label]))

    def _differentiate(self, activations: Sequence[torch.Tensor], classes: Sequence[int]) -> list[ClassMaps]:
        if self._tails is None:
            self._tails = [differentiable(cut.tail) for cut in self.cuts]
        values = [each.float().detach().requires_grad_() for each in activations]
        with torch.enable_grad():
            rows = [tail(each) for tail, each in zip(self._tails, values, strict=True)]
            logits = self.head(torch.cat(rows, 1))[0]
            gradients = [torch.autograd.grad(logits[label], values, retain_graph=True) for label in classes]
        own = _grids(self.cuts, values)
        found = []
        for each in gradients:
            pairs = zip(own, _grids(self.cuts, each), strict=True)
            # times the number of places: then the mean is what all places add up to
            products = [(grid * slope).sum(0) * grid[0].numel() for grid, slope in pairs]
            found.append(ClassMaps([product.detach().cpu() for product in products], None))
        return found


def _grids(cuts: Sequence[Cut], values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return what lies at each cut, of one image, as float32 (C, rows, columns)."""
    return [cut.to_grid(each)[0].float() for cut, each in zip(cuts, values, strict=True)]
