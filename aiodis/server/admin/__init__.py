"""The side door of the embedded DIS: health, faults, clock, requests, state; `/_aiodis/v1/`.

It is for tests, for people at this machine, and for programs in other languages. Nothing
of it is the service's. It is never faulted, never noted among the requests, asks for no
signature, and answers nobody but this machine (`guard`).
"""

from aiodis.server.admin.admin import Admin
from aiodis.server.admin.front import AdminFront
from aiodis.server.admin.routes import ROUTES, Route

__all__ = ["ROUTES", "Admin", "AdminFront", "Route"]
