"""Who may use the side door: programs and people at this machine, and no page of the web.

A page in a browser can send requests to loopback, and by DNS rebinding even read the
answers, under its own host name. So the host must be this machine's, nobody's page may
be where the request comes from, and it must not have come through a proxy.
"""

import ipaddress
from collections.abc import Mapping

from aiodis.config import is_loopback

__all__ = ["refusal_of"]

_PROXIED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
_OWN_SITES = {"same-origin", "none"}  # none: typed into the address line


def refusal_of(
    peer: str | None, headers: Mapping[str, str], *, scheme: str, is_remote_allowed: bool = False
) -> str | None:
    """Tell why a request is refused, by its client's address and its headers; None if it is not.

    With `is_remote_allowed` other machines may ask as well, by an address or a name of no
    domain, which no page of the web has.
    """
    host = headers.get("Host", "")
    name = _name_of(host)
    checks = (
        (is_remote_allowed or _is_this_machine(peer), "for other machines"),
        (
            is_loopback(name) or (is_remote_allowed and _is_of_no_domain(name)),
            f"served under the name {name!r}",
        ),
        (
            is_remote_allowed or not any(header in headers for header in _PROXIED),
            "for what comes through a proxy",
        ),
        (
            headers.get("Origin", f"{scheme}://{host}").lower() == f"{scheme}://{host}".lower()
            and headers.get("Sec-Fetch-Site", "none") in _OWN_SITES,
            "for pages of other sites",
        ),
    )
    refused = next((what for is_met, what in checks if not is_met), None)
    return f"the admin routes are not {refused}" if refused else None


def _name_of(host: str) -> str:
    """Take the port off a Host header."""
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.rpartition(":")[0] if ":" in host else host


def _is_of_no_domain(name: str) -> bool:
    """Say whether it is an address, or a name such as Docker gives, which no public DNS has."""
    return name != "" and ("." not in name or _address(name) is not None)


def _is_this_machine(peer: str | None) -> bool:
    address = _address((peer or "").partition("%")[0])
    return address is not None and (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
