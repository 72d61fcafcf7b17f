from __future__ import annotations

import socket
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs flawmap[station]")

from flawmap.errors import StationError
from flawmap.server.address import Address, open_socket


def test_this_machines_own_address_needs_nothing() -> None:
    address = Address()
    address.check(has_accounts=False)
    assert address.is_loopback
    assert address.hosts == ("127.0.0.1", "localhost", "[::1]")
    assert address.url(8080) == "http://127.0.0.1:8080"


def test_an_address_that_others_reach_takes_accounts_and_tls() -> None:
    with pytest.raises(StationError, match="flawmap station user add"):
        Address("0.0.0.0").check(has_accounts=False)
    with pytest.raises(StationError, match="--tls-cert"):
        Address("0.0.0.0").check(has_accounts=True)
    proxied = Address(is_behind_proxy=True, names=("station.example",))
    with pytest.raises(StationError, match="flawmap station user add"):
        proxied.check(has_accounts=False)
    proxied.check(has_accounts=True)
    assert proxied.is_secure
    assert not proxied.is_loopback
    assert "station.example" in proxied.hosts


def test_half_of_what_tls_takes_is_refused() -> None:
    with pytest.raises(StationError, match="--tls-key without --tls-cert"):
        Address(tls_key=Path("key.pem"))
    with pytest.raises(StationError, match="--allow-host"):
        Address(is_behind_proxy=True)


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StationError, match=rf"port {port} at 127\.0\.0\.1 cannot be had"):
            open_socket(Address(port=port))
    with pytest.raises(StationError, match="cannot be had"):
        open_socket(Address("192.0.2.1"))
