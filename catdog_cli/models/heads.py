"""The head: what replaces a network's last Linear."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import SettingsError
from ..settings import HeadSpec

GAIN = 0.3  # standard deviation of what the head gets
NEARLY_CONSTANT = 0.1  # times the mean deviation: what a column's counts as at least
COSINE_SCALE = 10.0  # with which cosines begin, as in Gidaris and Komodakis: a cosine is at most 1
DEAD = 0.005  # times the largest deviation: a median below says that most columns tell nothing


class Standardise(nn.Module):
    """Subtract a mean and divide by a standard deviation, both fixed: (B, D) -> (B, D).

    Until `fit` is called it passes features through. A head on standardised features trains several
    times faster: every direction has the same scale (LeCun et al., Efficient BackProp, 1998, 4.3). They
    are brought to GAIN, not to 1: at 1 and the default rate a head on 2,000 pictures has its best epoch
    first and overfits from then on; at 0.3 its log loss falls through all five.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, feature_dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("std", torch.ones(feature_dim))

    @torch.no_grad()
    def fit(self, features: torch.Tensor, widths: Sequence[int] = ()) -> bool:
        """Take mean and deviation from `features` (N, D); nearly constant columns are not blown up.

        Where most columns are nearly constant, as those of a network that looks at far smaller images than it
        was trained on, all are divided by the largest deviation: any other one would be of noise, and would
        make enormous numbers of what the columns become once the network itself trains.

        Args:
            widths: how many columns each of several networks has: their scales do not compare.

        Returns:
            Whether most columns are nearly constant, of one network at least.
        """
        self.mean.copy_(features.mean(0))
        parts = features.std(0, correction=0).split(list(widths) or features.shape[1])
        found = []
        for std, own in zip(parts, self.std.split([len(part) for part in parts]), strict=True):
            found.append(bool(std.median() < DEAD * std.max()))
            least = std.max() if found[-1] else NEARLY_CONSTANT * std.mean()
            own.copy_(std.clamp_min(least.item() or 1.0) / GAIN)
        return any(found)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        # (features - mean) / std in one pass; a step on kept features is little more than such passes
        return torch.addcmul(-self.mean / self.std, features, 1 / self.std)


class Dropout(nn.Dropout):
    """`nn.Dropout` that draws 15 bits an element on a CPU, where torch's own draw takes most of a step.

    The share dropped is `p` to 1/32768. Random numbers come from torch's global generator, or from
    `generator`.
    """

    generator: torch.Generator | None = None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.p or features.device.type != "cpu":
            return super().forward(features)
        words = torch.empty(-(-features.numel() // 4), dtype=torch.int64)
        words.random_(generator=self.generator)  # 63 random bits each
        bits = words.view(torch.int16)[: features.numel()].view(features.shape)
        dropped = round(self.p * 2**15)
        kept = bits.bitwise_and_(0x7FFF).ge_(dropped)  # 0 or 1, in int16: half the time of a bool
        return features * kept.to(features.dtype).mul_(1 / (1 - dropped / 2**15))


class HeadMisfitError(SettingsError):
    """A module given as head that is missing or does not fit."""


class CosineLinear(nn.Module):
    """Cosines between features and a weight for each class, times a scale that is learnt: (B, D) -> (B, C).

    Neither the length of a feature vector nor that of a class's weights counts, which helps where classes
    have few images or very different numbers of them (Gidaris and Komodakis, arXiv 1804.09458, 3.2; Qi et
    al., arXiv 1712.07136).
    """

    def __init__(self, feature_dim: int, num_classes: int):
        super().__init__()
        self.weight = nn.Linear(feature_dim, num_classes, bias=False).weight
        self.scale = nn.Parameter(torch.tensor(COSINE_SCALE))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.scale * F.linear(F.normalize(features), F.normalize(self.weight))


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
LAST_LAYERS: dict[str, type[nn.Module]] = {"linear": nn.Linear, "cosine": CosineLinear}


class KeptWeights(nn.Module):
    """The weights of a custom head without its module, by name: it can be described, and computes nothing."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]):
        super().__init__()
        for name, tensor in tensors.items():
            *path, last = name.split(".")
            home: nn.Module = self
            for part in path:
                if part not in home._modules:
                    home.add_module(part, nn.Module())
                home = home.get_submodule(part)
            if tensor.is_floating_point() and not last.startswith("running_"):
                home.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
            else:
                home.register_buffer(last, tensor)


class Head(nn.Sequential):
    """Standardisation, then hidden layers and one output per class, or the user's own: (B, D) -> (B, C)."""

    norm: Standardise


def build_head(feature_dim: int, num_classes: int, spec: HeadSpec, custom: nn.Module | None = None) -> Head:
    """Build a head; without hidden layers the dropout stands before the last layer alone.

    Names of its modules: `norm`, `hiddenN`, `normN` if any, `reluN` (or another activation's name),
    `dropoutN` (or `dropout`), `output`; of a custom head `norm` and `custom`, a copy of the user's module.

    Raises:
        HeadMisfitError: a custom head is missing, or does not fit.
    """
    layers = Head()
    layers.add_module("norm", Standardise(feature_dim))
    if spec.is_custom:
        is_kept = isinstance(custom, KeptWeights)
        layers.add_module("custom", custom if is_kept else _own_head(feature_dim, num_classes, custom))
        return layers
    width, dropouts = feature_dim, spec.dropout_of_layers()
    for index, units in enumerate(spec.hidden_layers):
        layers.add_module(f"hidden{index}", nn.Linear(width, units))
        if spec.head_norm != "none":
            layers.add_module(f"norm{index}", NORMS[spec.head_norm](units))
        layers.add_module(f"{spec.activation}{index}", ACTIVATIONS[spec.activation]())
        layers.add_module(f"dropout{index}", Dropout(dropouts[index]))
        width = units
    if not spec.hidden_layers:
        layers.add_module("dropout", Dropout(dropouts[0]))
    layers.add_module("output", LAST_LAYERS[spec.head](width, num_classes))
    return layers


def _own_head(feature_dim: int, num_classes: int, module: nn.Module | None) -> nn.Module:
    """Return a float32 copy of the user's module on the CPU, tried with features of two images.

    Raises:
        HeadMisfitError: there is none, or it does not make (B, num_classes) of (B, feature_dim).
    """
    if module is None:
        raise HeadMisfitError(
            "The head is a custom head, a module that only Python can give: do this there, with head=MODULE."
        )
    name = f"The custom head {type(module).__name__}"
    must = (
        f"{name} must make ({num_classes},) numbers, one a class, of ({feature_dim},) features of each image"
    )
    try:
        with torch.device("cpu"), torch.no_grad():  # where networks are built without numbers, too
            own = copy.deepcopy(module).cpu().float()
            found = own.eval()(torch.zeros(2, feature_dim))
    except Exception as error:  # of code that is not ours
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise HeadMisfitError(f"{must}, but fails ({reason}): change it.") from error
    shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    if shape != (2, num_classes):
        raise HeadMisfitError(f"{must}, but of 2 images it makes {shape}: change it.")
    if not any(True for _ in own.parameters()):
        raise HeadMisfitError(f"{name} has no parameters to train: give another.")
    return own.train()


def check_custom_weights(head: nn.Module, state_dict: Mapping[str, torch.Tensor]) -> None:
    """Raise HeadMisfitError unless a custom head has the tensors that a checkpoint holds of it."""
    own = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    kept = {name: tensor for name, tensor in state_dict.items() if name.startswith("head.")}
    odd = next((name for name in [*own, *kept] if name not in own or name not in kept), None)
    odd = odd or next((name for name, tensor in own.items() if tensor.shape != kept[name].shape), None)
    if odd is None:
        return
    shapes = [str(tuple(each[odd].shape)) if odd in each else "not there" for each in (kept, own)]
    raise HeadMisfitError(
        f"The custom head that was given is another than was trained ({odd.removeprefix('head.custom.')} was "
        f"{shapes[0]} and is {shapes[1]}): give a module of the same layers."
    )
