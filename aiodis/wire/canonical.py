"""How each client spells the text that it signs: path, query and header values.

No two of the vendor's clients spell alike, and the service takes them all. J,
K, P2, GO and V3 are the clients that docs/service names so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote, unquote_plus

__all__ = ["DIALECTS", "Dialect", "encode"]


def encode(text: str) -> bytes:
    """Give the bytes that arrived; those that were no UTF-8 are surrogates in `text`.

    Lone surrogates of any other origin become question marks, as no client sends them.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _percent(text: str, safe: str = "~") -> str:
    return quote(encode(text), safe=safe)


def _unpercent(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def _pairs(query: str, decode: Callable[[str], str]) -> list[tuple[str, str]]:
    # J leaves a "&" at the end (*seen in the SDK*); empty pieces count for nothing.
    pieces = (piece.partition("=") for piece in query.split("&") if piece)
    return [(decode(name), decode(value)) for name, _, value in pieces]


# A producer's requests all have the same path and query.
@lru_cache(maxsize=128)
def _path_with_slash(path: str) -> str:
    # V3 decodes before it splits, so its %2F becomes a slash.
    canonical = _percent(_unpercent(path), safe="/~")
    return canonical if canonical.endswith("/") else f"{canonical}/"


def _path_resolved(path: str) -> str:
    kept: list[str] = []
    for segment in map(_unpercent, path.split("/")):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(_percent(segment))
    return f"/{'/'.join(kept)}/" if kept else "/"


def _path_twice(path: str) -> str:
    return _percent(_percent(_unpercent(path), safe="/~"), safe="/~") or "/"


@lru_cache(maxsize=128)
def _query_by_pair(query: str) -> str:
    pairs = sorted(_pairs(query, _unpercent))
    return "&".join(f"{_percent(name)}={_percent(value)}" for name, value in pairs)


def _query_by_text(query: str) -> str:
    # On the wire P2's spaces are "+" and its empty values "k=".
    pairs = _pairs(query, lambda text: unquote_plus(text, errors="surrogateescape"))
    return "&".join(sorted(f"{_percent(n)}={_percent(v)}" if v else _percent(n) for n, v in pairs))


def _query_as_sent(query: str) -> str:
    return query.rstrip("&")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one client spells the parts of its canonical requests."""

    path: Callable[[str], str]
    query: Callable[[str], str]
    drops_port: bool = False
    collapses_space: bool = False

    def value(self, name: str, value: str) -> str:
        if self.drops_port and name == "host":
            return value.partition(":")[0]
        return " ".join(value.split()) if self.collapses_space else value


# All *seen in the SDK*. `sign` uses the first; for the names and the parameters of DIS,
# none of which is empty or needs encoding, all rows give the same text.
DIALECTS: Final = (
    Dialect(_path_with_slash, _query_by_pair),  # V3, GO
    Dialect(_path_with_slash, _query_as_sent),  # V3 with a list of numbers
    Dialect(_path_resolved, _query_by_text, drops_port=True),  # P2
    Dialect(_path_twice, _query_by_pair, collapses_space=True),  # J, K
)
