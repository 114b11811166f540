"""What tests of applications use: sandboxes on an embedded DIS, assertions, scripts.

The fixtures of the pytest plugin (`pytest_aiodis`) hand these out.
"""

from aiodis.testing.sandbox import LocalSandbox, Sandbox, SandboxStream

__all__ = ["LocalSandbox", "Sandbox", "SandboxStream"]
