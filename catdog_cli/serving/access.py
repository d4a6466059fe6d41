"""Who may ask a service: by the name that it was called, by the page that asks, by the token.

A browser sends a request for any page that asks it to. What keeps other pages out: Host must be a name of
this server, or a stranger could have a name of his own lead here (DNS rebinding); a POST must come from this
server's own page, or from no page at all.
"""

import secrets
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from ..errors import SettingsError, quote
from .http_server import is_loopback
from .limits import RefusedError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class Access:
    """The names of a server, and the token that it asks for, if any."""

    def __init__(self, host: str, allow_hosts: Iterable[str] = (), token: str | None = None) -> None:
        """Take the address that is listened on, and the names that lead to it.

        Raises:
            SettingsError: other machines reach it, but under no name; or the token is empty.
        """
        allowed = tuple(allow_hosts)
        if not is_loopback(host) and not allowed:
            raise SettingsError(
                f"--host {host} lets other machines in: say under which names they may ask with --allow-host "
                f"NAME (repeatable, names or addresses), so that no stranger's page can ask through a name "
                f"of its own."
            )
        for name in allowed:
            plain = name.lower().strip("[]")
            if _host_name(f"[{plain}]" if plain.count(":") > 1 else plain) != plain:
                raise SettingsError(
                    f"--allow-host {quote(name)} must be a name or an address as it stands in a browser, "
                    f"without http:// and port."
                )
        if token is not None and len(token) < 8:
            raise SettingsError("The token has fewer than 8 characters: choose one that nobody guesses.")
        own = (host,) if is_loopback(host) else ()
        self.hosts = frozenset(name.lower().strip("[]") for name in (*LOOPBACK_NAMES, *own, *allowed))
        self._token = None if token is None else token.encode()

    @property
    def wants_token(self) -> bool:
        """Whether a token is asked for."""
        return self._token is not None

    def check_host(self, headers: Any) -> None:
        """Raise RefusedError where the request calls this server by a foreign name."""
        given = headers.getlist("host")
        if len(given) != 1 or _host_name(given[0]) not in self.hosts:
            raise RefusedError(421, "This server is not known under this name (see --allow-host).")

    def check_page(self, headers: Any) -> None:
        """Raise RefusedError where another page asks."""
        own = headers.get("host", "").lower()
        origin = headers.get("origin")
        from_here = origin is None or origin.lower() in (f"http://{own}", f"https://{own}")
        if not from_here or headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise RefusedError(403, "Another page asked for this.")

    def check_token(self, headers: Any) -> None:
        """Raise RefusedError where the token is asked for and not given."""
        if self._token is None:
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        is_right = secrets.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        if not is_right or kind.lower() != "bearer":
            raise RefusedError(
                401, "This needs the header Authorization: Bearer TOKEN.", WWW_Authenticate="Bearer"
            )


def _host_name(host: str) -> str:
    """Return the name in a Host header, without port, in lower case; "" of what is no name."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises where it is none
    except ValueError:
        return ""
    is_plain = parts.netloc == host and "@" not in host
    return (parts.hostname or "") if is_plain else ""
