"""Where a station is reached, and what that takes."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from flawmap.errors import StationError
from flawmap.server.api.guard import host_name
from flawmap.server.api.settings import LOOPBACK_HOSTS

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Address:
    """Where a station is reached.

    Args:
        host: address to listen at.
        port: of TCP; 0 for any that is free.
        tls_cert: file of a certificate and its chain in PEM; None without TLS.
        tls_key: file of its key; None where the certificate's file holds it.
        is_behind_proxy: whether a proxy on this machine adds TLS and passes requests on.
        names: under which it is asked for, beside the host itself.

    Raises:
        StationError: TLS is asked for in part.

    Example:
        >>> Address().url(8080)
        'http://127.0.0.1:8080'
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tls_cert: Path | None = None
    tls_key: Path | None = None
    is_behind_proxy: bool = False
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tls_key and not self.tls_cert:
            raise StationError("--tls-key without --tls-cert; give both files")
        if self.is_behind_proxy and not self.names:
            raise StationError("--behind-proxy without --allow-host; say what the proxy is called")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in _LOOPBACK and not self.is_behind_proxy

    @property
    def is_secure(self) -> bool:
        """Whether it is reached by TLS alone."""
        return self.tls_cert is not None or self.is_behind_proxy

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names under which it may be asked for."""
        own = () if self.host in ("0.0.0.0", "::") else (_bracketed(self.host),)
        names = (*self.names, *own, *LOOPBACK_HOSTS)
        return tuple(dict.fromkeys(host_name(name) for name in names))

    def url(self, port: int) -> str:
        """What to open in a browser.

        Args:
            port: that is listened at.
        """
        scheme = "https" if self.tls_cert else "http"
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else _bracketed(self.host)
        return f"{scheme}://{host}:{port}"

    def check(self, *, has_accounts: bool) -> None:
        """Refuse an address that others can reach, where anyone could do anything there.

        Args:
            has_accounts: whether any person has an account.

        Raises:
            StationError: it takes accounts, or TLS.
        """
        if self.is_loopback:
            return
        if not has_accounts:
            raise StationError(
                f"{self.host}: others can reach that address, and there is no account yet; make "
                "one by: flawmap station user add LOGIN --role approver --data DIR"
            )
        if not self.is_secure:
            raise StationError(
                f"{self.host}: others can reach that address, and passwords would go in the clear; "
                "give --tls-cert and --tls-key, or --behind-proxy where a proxy adds TLS"
            )


def open_socket(address: Address) -> socket.socket:
    """The socket that a station listens at.

    Args:
        address: where.

    Raises:
        StationError: the port is in use, or the address is none of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform != "win32":
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((address.host, address.port))
        opened.listen(128)
    except (OSError, OverflowError) as error:
        opened.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise StationError(
            f"port {address.port} at {address.host} cannot be had ({reason}); choose another one "
            "by --port"
        ) from error
    return opened


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
