"""The client of Isotherm for Python programs: `from isotherm.client import Client`.

`Client` blocks, `AsyncClient` is for asyncio; `errors` has what they raise. Loads nothing of the server.
"""

from isotherm.base import errors
from isotherm.base.errors import IsothermError
from isotherm.client.calls import AsyncCall, Call
from isotherm.client.service import AsyncClient, Client
from isotherm.client.verbs import AsyncStream, Stream

__all__ = ["AsyncCall", "AsyncClient", "AsyncStream", "Call", "Client", "IsothermError", "Stream", "errors"]
