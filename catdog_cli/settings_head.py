"""What a run is told of its head: layers, activation, normalisation, dropout, the last layer."""

from dataclasses import dataclass, field
from typing import Any

from .errors import SettingsError
from .settings_schema import NETWORK, PlainDict, about, check_choice, check_kind, check_range

ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "mish", "elu", "selu", "hardswish", "tanh", "sigmoid")
HEADS = ("linear", "cosine")
CUSTOM = "custom"  # a module of the user's own, which Python alone can give
MOST_DROPOUT = 0.99


def _check_layers(label: str, value: Any) -> None:
    check_kind(label, value, (tuple, list), "a list of whole numbers")
    check_range("number of hidden layers", len(value), 0, 100, whole=True)
    for units in value:
        check_range(label, units, 1, 65536, whole=True)


def _check_dropout(label: str, value: Any) -> None:
    for share in value if isinstance(value, tuple) and 1 <= len(value) <= 100 else (value,):
        check_range(label, share, 0, MOST_DROPOUT)


def _check_kind_of_head(label: str, value: Any) -> None:
    if value != CUSTOM:
        check_choice(label, value, HEADS)


@dataclass(frozen=True)
class HeadSpec(PlainDict):
    """What replaces a network's last Linear: hidden layers (units), and a layer with one output per class.

    A hidden layer is a Linear, its normalisation if any, its activation and its dropout. `dropout` is one
    number for all, or one a hidden layer. Of a "custom" head nothing else is known here.
    """

    hidden_layers: tuple[int, ...] = field(
        default=(),
        metadata=about(
            "Hidden layers of the head, such as 512,256.", NETWORK, tuple, default="none", check=_check_layers
        ),
    )
    dropout: float | tuple[float, ...] = field(
        default=0.2,
        metadata=about(
            "Dropout in the head: one number, or one a hidden layer, such as 0.3,0.2.",
            NETWORK,
            float,
            low=0,
            high=MOST_DROPOUT,
            metavar="P|P,P",
            check=_check_dropout,
        ),
    )
    activation: str = field(
        default="relu", metadata=about("What follows each hidden layer.", NETWORK, choices=ACTIVATIONS)
    )
    head_norm: str = field(
        default="none",
        metadata=about(
            "Normalisation of each hidden layer, before its activation.",
            NETWORK,
            choices=("none", "batch", "layer"),
        ),
    )
    head: str = field(
        default="linear",
        metadata=about(
            "The last layer; cosine: of features and weights of length 1, with a scale that is learnt.",
            NETWORK,
            choices=HEADS,
            check=_check_kind_of_head,
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.dropout_of_layers()

    @property
    def is_custom(self) -> bool:
        """Whether the head is a module of the user's own."""
        return self.head == CUSTOM

    def dropout_of_layers(self) -> tuple[float, ...]:
        """Return the dropout of each hidden layer; without any, that before the last layer.

        Raises:
            SettingsError: there are not as many numbers as layers.
        """
        count = max(1, len(self.hidden_layers))
        if not isinstance(self.dropout, tuple):
            return (self.dropout,) * count
        if len(self.dropout) != count:
            layers = (
                f"{count} hidden layer{'' if count == 1 else 's'}"
                if self.hidden_layers
                else "no hidden layer"
            )
            raise SettingsError(
                f"dropout has {len(self.dropout)} numbers, but the head has {layers}: give one number, or "
                f"one a layer of --hidden-layers."
            )
        return self.dropout
