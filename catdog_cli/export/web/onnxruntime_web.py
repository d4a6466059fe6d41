"""ONNX Runtime for browsers: three files out of its npm package, fetched once into catdog's cache.

The version and what its files must be stand here, so that a page never runs anything else. Of the package's
33 MB a page needs 14, unpacked: the build for WebAssembly, which computes what the one for Python does.
"""

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from ...data.sources.fetch import RemoteFile, fetch_file
from ...errors import CatdogError, quote
from ...runtime.files import cache_root, expand_home, write_atomic

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web-{VERSION}.tgz"
PACKAGE_BYTES = 33_106_585
PACKAGE_SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
REGISTRY = "https://registry.npmjs.org"
REGISTRY_SETTINGS = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
FOLDER = "onnxruntime-web"  # in the cache

Report = Callable[[str, int, int], None]


class Wanted(NamedTuple):
    """A file of the package, what it is called in a page, and what it must be."""

    member: str
    name: str
    num_bytes: int
    sha256: str


FILES = (  # .js: some servers do not know .mjs, and browsers then refuse it
    Wanted(
        "package/dist/ort.wasm.min.mjs",
        "ort.wasm.min.js",
        50_126,
        "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    ),
    Wanted(
        "package/dist/ort-wasm-simd-threaded.mjs",
        "ort-wasm-simd-threaded.js",
        24_381,
        "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    ),
    Wanted(
        "package/dist/ort-wasm-simd-threaded.wasm",
        "ort-wasm-simd-threaded.wasm",
        14_239_897,
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
)


def load_runtime(package: str | Path | None = None, report: Report | None = None) -> dict[str, bytes]:
    """Return the files that a page needs, by name.

    Args:
        package: the npm package, a .tgz file; None: out of the cache, else from npm's registry, which
            npm_config_registry names as for npm.
        report: called as (step, bytes done, bytes in all) while it is fetched.

    Raises:
        CatdogError: there is no network and nothing in the cache, or the file is another one.
    """
    if package is not None:
        return _unpack(Path(expand_home(package)))
    kept = read_cache()
    return _fetch(report or (lambda step, done, total: None)) if kept is None else kept


def read_cache() -> dict[str, bytes] | None:
    """Return the files by name, None unless all of them are in the cache, and whole."""
    found = {}
    for each in FILES:
        try:
            content = (_folder() / each.name).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content).hexdigest() != each.sha256:
            return None
        found[each.name] = content
    return found


def _folder() -> Path:
    return cache_root() / FOLDER / VERSION


def _fetch(report: Report) -> dict[str, bytes]:
    folder = _folder()
    remote = RemoteFile(
        f"{find_registry(os.environ)}/onnxruntime-web/-/{PACKAGE}",
        f"sha512:{PACKAGE_SHA512}",
        PACKAGE_BYTES,
        refused=f"get the file with `npm pack onnxruntime-web@{VERSION}` and give it with --ort {PACKAGE}",
        offline=(
            f", or get {PACKAGE} elsewhere (`npm pack onnxruntime-web@{VERSION}`) and give it with --ort FILE"
        ),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            path = Path(place, PACKAGE)
            fetch_file(remote, path, lambda done, total: report(f"fetching {PACKAGE}", done, total))
            found = _unpack(path)
    except OSError as error:
        raise CatdogError(
            f"Cannot keep {PACKAGE} in {str(folder)!r} ({error.strerror or error}): free space there, or set "
            f"CATDOG_CACHE to another folder."
        ) from error
    for name, content in found.items():
        write_atomic(folder / name, content, CatdogError, "set CATDOG_CACHE to another folder")
    return found


def find_registry(environment: Mapping[str, str]) -> str:
    """Return the address of npm's registry, or of the one in its place that npm is told of."""
    given = next((environment[key] for key in REGISTRY_SETTINGS if environment.get(key)), REGISTRY)
    return given.rstrip("/")


def _unpack(path: Path) -> dict[str, bytes]:
    """Return the files out of a package.

    Raises:
        CatdogError: it is not that package.
    """
    wanted = {each.member: each for each in FILES}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                each = wanted.get(member.name)
                file = archive.extractfile(member) if each is not None and member.isfile() else None
                if each is None or file is None:
                    continue
                found[each.name] = file.read(each.num_bytes + 1)
                if len(found) == len(FILES):
                    break
    except Exception as error:  # of damaged bytes tarfile raises anything, TypeError, too
        reason = getattr(error, "strerror", None) or "it is not a .tgz file, or damaged"
        raise CatdogError(f"Cannot read {quote(str(path))} ({reason}): give {PACKAGE}.") from error
    for each in FILES:
        if hashlib.sha256(found.get(each.name, b"")).hexdigest() != each.sha256:
            what = "has another" if each.name in found else "lacks"
            raise CatdogError(
                f"{str(path)!r} {what} {each.member!r}: give {PACKAGE}, which "
                f"`npm pack onnxruntime-web@{VERSION}` fetches."
            )
    return found
