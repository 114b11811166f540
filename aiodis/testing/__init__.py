"""What tests of applications use: sandboxes on an embedded DIS, assertions, scripts.

The fixtures of the pytest plugin (`pytest_aiodis`) hand sandboxes out.
"""

from aiodis.testing.assertions import (
    assert_delivered,
    assert_key_order,
    assert_no_duplicates,
    assert_no_gaps,
)
from aiodis.testing.remote_sandbox import RemoteSandbox
from aiodis.testing.sandbox import LocalSandbox, Sandbox, SandboxStream
from aiodis.testing.scripted import Hang, ScriptedSession, SentRequest, Slow, answer, refusal

__all__ = [
    "Hang",
    "LocalSandbox",
    "RemoteSandbox",
    "Sandbox",
    "SandboxStream",
    "ScriptedSession",
    "SentRequest",
    "Slow",
    "answer",
    "assert_delivered",
    "assert_key_order",
    "assert_no_duplicates",
    "assert_no_gaps",
    "refusal",
]
