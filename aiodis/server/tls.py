"""TLS for the embedded DIS: an authority of its own for each data folder, or files of yours.

The authority's certificate is for clients to trust; its key never leaves the folder,
where only the owner may read it. The server's certificate is made anew at each start.
"""

import os
import ssl
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from aiodis.errors import DISError

if TYPE_CHECKING:
    import trustme

__all__ = ["Secured", "TLSError", "with_authority", "with_files"]

_NAMES: Final = ("localhost", "127.0.0.1", "::1")


class TLSError(DISError):
    """The certificates cannot be used or made."""


class Secured(NamedTuple):
    """What the socket needs, and the file with the authority that clients are to trust."""

    context: ssl.SSLContext
    ca_file: Path | None


def with_files(certificate: Path, key: Path | None) -> Secured:
    """Take a certificate, its chain and its key from PEM files; one file may hold them all.

    Raises:
        TLSError: they cannot be read, or do not fit.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # A key with a passphrase fails at once; OpenSSL would ask at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as exc:  # an SSLError is an OSError
        files = certificate if key is None else f"{certificate} and {key}"
        raise TLSError(f"the certificate in {files} cannot be used: {exc}") from exc
    return Secured(context, None)


def with_authority(stack: AsyncExitStack, folder: Path | None, host: str) -> Secured:
    """Make a certificate for this machine, by the folder's authority, made if need be.

    Without a folder the authority lasts as long as the stack, and so does its file.

    Raises:
        TLSError: the authority cannot be read or written, or trustme is not installed.
    """
    try:
        import trustme  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise TLSError("TLS needs trustme: install aiodis[tls], or give a certificate") from exc
    try:
        if folder is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiodis-")))
            authority, ca_file = trustme.CA(), place / "ca.pem"
            _write(ca_file, authority.cert_pem.bytes(), mode=0o644)
        else:
            authority, ca_file = _authority_of(folder.absolute() / "tls")
    except (OSError, ValueError) as exc:
        raise TLSError(f"the authority in {folder} cannot be used: {exc}") from exc
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*dict.fromkeys((host, *_NAMES))).configure_cert(context)
    return Secured(context, ca_file)


def _authority_of(folder: Path) -> tuple["trustme.CA", Path]:
    import trustme  # noqa: PLC0415

    certificate, key = folder / "ca.pem", folder / "ca.key"
    if certificate.exists():
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes()), certificate
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    _write(key, authority.private_key_pem.bytes(), mode=0o600)
    # Last, so that whoever finds it finds its key.
    _write(certificate, authority.cert_pem.bytes(), mode=0o644)
    return authority, certificate


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file so that no one reads half of it, nor any of it without the right."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    part.replace(path)
