"""Weights from the Hugging Face hub: what its cache has, and a download that fails at once without a network.

The hub's own client asks for a file for 47 seconds, again and again, before it says that there is no network.
"""

import socket
import threading
import urllib.parse
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ...errors import require
from ...runtime.http import find_reason, open_url

CONNECT_S = 1.5  # to reach the hub or the proxy before it: no answer means no network
ANSWER_S = 10  # for the hub to say whether it has a file, once it is reached


class HubError(OSError):
    """The hub cannot be reached, or does not give a file; the text says why."""


def find_cached(repository: str, filenames: tuple[str, ...]) -> Path | None:
    """Return the first of `filenames` of a repository (NAME, or NAME@REVISION) that the hub's cache has."""
    name, _, revision = repository.partition("@")
    for filename in filenames:
        found = _hub().try_to_load_from_cache(name, filename, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def download(repository: str, filenames: tuple[str, ...]) -> Path:
    """Return the first of `filenames` that the repository has, downloaded into the hub's cache.

    Raises:
        HubError: the hub cannot be reached, within 1.5 s, or refuses, or has none of them.
    """
    try_hub()
    constants = _hub().constants
    name, _, revision = repository.partition("@")
    for filename in filenames:
        url = f"{constants.ENDPOINT}/{name}/resolve/{revision or 'main'}/{filename}"
        if _has_file(url):
            try:
                _hub().utils.disable_progress_bars()
                return Path(_hub().hf_hub_download(name, filename, revision=revision or None))
            except Exception as error:  # of the hub's client and of the HTTP client that it uses
                raise HubError(" ".join(str(error).split())[:200] or type(error).__name__) from error
    raise HubError(f"{name} has no {' or '.join(filenames)}")


def try_hub() -> None:
    """Raise HubError unless the hub may be asked, and takes a connection within 1.5 s."""
    constants = _hub().constants
    if constants.HF_HUB_OFFLINE:
        raise HubError("HF_HUB_OFFLINE is set")
    try_address(constants.ENDPOINT)


def download_address(url: str, path: Path) -> None:
    """Download a file that is not on the hub, to `path`.

    Raises:
        HubError: its server cannot be reached, within 1.5 s, or does not give it.
    """
    import torch

    try_address(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except (OSError, HTTPException, RuntimeError) as error:
        raise HubError(find_reason(error)) from error


def try_address(url: str) -> None:
    """Raise HubError unless the server, or the proxy on the way to it, takes a connection within CONNECT_S.

    In a thread: the system may look for an address for longer than any timeout says.
    """
    host, port = _first_hop(url)
    found: list[OSError | None] = []

    def try_it() -> None:
        try:
            socket.create_connection((host, port), CONNECT_S).close()
            found.append(None)
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=try_it, daemon=True)
    thread.start()
    thread.join(CONNECT_S)
    if not found:
        raise HubError(f"{host} does not answer within {CONNECT_S:g} s")
    if found[0] is not None:
        raise HubError(f"{host}: {find_reason(found[0])}")


def _first_hop(url: str) -> tuple[str, int]:
    """Return the host and port that a request goes to: those of a proxy where one is set."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or "huggingface.co"
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host = parts.hostname or host
    return host, parts.port or (443 if parts.scheme == "https" else 80)


def _has_file(url: str) -> bool:
    """Say whether the hub has a file.

    Raises:
        HubError: it refuses for another reason than that there is none.
    """
    token = _hub().get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with open_url(url, ANSWER_S, headers, method="HEAD"):
            return True
    except (OSError, HTTPException, ValueError) as error:
        if getattr(error, "code", None) == 404:
            return False
        raise HubError(find_reason(error)) from error


def _hub() -> Any:
    return require("huggingface_hub", "timm")
