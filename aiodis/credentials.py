"""Who calls: an access key pair, a token, or a password that IAM turns into tokens.

These are values. Fetching and renewing tokens is `aiodis.transport.identity`'s
work. No secret shows in a `repr`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from aiodis.errors import ConfigError

__all__ = ["AccessKey", "Credentials", "IAMPassword", "StaticToken"]


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A static AK/SK pair; temporary pairs come with a security token."""

    access_key: str
    secret_key: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _require(access_key=self.access_key, secret_key=self.secret_key)
        if self.security_token:
            _require(security_token=self.security_token)


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token that someone else fetches and renews (header `X-Auth-Token`)."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        _require(token=self.token)


@dataclass(frozen=True, slots=True)
class IAMPassword:
    """A user's name and password; IAM gives tokens of 24 hours for them.

    `iam_endpoint` defaults to the region's, or to the DIS endpoint itself when
    that is an embedded DIS, which answers IAM's calls too.
    """

    user_name: str
    password: str = field(repr=False)
    domain_name: str
    iam_endpoint: str | None = None

    def __post_init__(self) -> None:
        _require(user_name=self.user_name, password=self.password, domain_name=self.domain_name)


class Credentials:
    """The ways to make credentials; each gives a value to pass as `credentials=`."""

    Any = AccessKey | StaticToken | IAMPassword

    @staticmethod
    def static(access_key: str, secret_key: str, security_token: str | None = None) -> AccessKey:
        """Give a static access key pair."""
        return AccessKey(access_key, secret_key, security_token)

    @staticmethod
    def token(token: str) -> StaticToken:
        """Give a static token."""
        return StaticToken(token)

    @staticmethod
    def password(
        user_name: str, password: str, *, domain_name: str, iam_endpoint: str | None = None
    ) -> IAMPassword:
        """Give an IAM user's password; tokens are fetched, cached and renewed."""
        return IAMPassword(user_name, password, domain_name, iam_endpoint)

    @classmethod
    def from_env(
        cls: type[Self], environ: Mapping[str, str] | None = None
    ) -> AccessKey | StaticToken | IAMPassword:
        """Read the environment, in the names of the vendor's own SDK.

        `HUAWEICLOUD_SDK_AK` and `HUAWEICLOUD_SDK_SK` (and
        `HUAWEICLOUD_SDK_SECURITY_TOKEN`) come first, then
        `HUAWEICLOUD_SDK_AUTH_TOKEN`, then `HUAWEICLOUD_SDK_USER_NAME`,
        `HUAWEICLOUD_SDK_PASSWORD` and `HUAWEICLOUD_SDK_DOMAIN_NAME`.

        Raises:
            ConfigError: none of them is set, or one of a pair is missing.
        """
        env = os.environ if environ is None else environ

        def get(name: str) -> str | None:
            return env.get(f"HUAWEICLOUD_SDK_{name}") or None

        access_key, secret_key = get("AK"), get("SK")
        if access_key and secret_key:
            return AccessKey(access_key, secret_key, get("SECURITY_TOKEN"))
        if access_key or secret_key:
            missing = "SK" if access_key else "AK"
            raise ConfigError(f"the environment lacks HUAWEICLOUD_SDK_{missing}")
        if token := get("AUTH_TOKEN"):
            return StaticToken(token)
        user, password, domain = get("USER_NAME"), get("PASSWORD"), get("DOMAIN_NAME")
        if user and password and domain:
            return IAMPassword(user, password, domain)
        raise ConfigError(
            "no credentials: pass credentials=, or set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK"
        )


def _require(**values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"{name} is empty")
        if any(ord(char) < 32 for char in value):
            raise ConfigError(f"{name} holds a control character")
