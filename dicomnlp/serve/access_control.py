"""The one place that decides who a request is from; `access.require` asks it."""

from fastapi import Request

from dicomnlp.audit.trail import Recorder
from dicomnlp.config import Settings
from dicomnlp.serve.access import LOCAL, Principal
from dicomnlp.serve.connection import Connection


class AccessControl:
    """Knows principals by their keys and sessions.

    Parameters
    ----------
    settings
        Of [web].
    connection
        Where keys and sessions are held.
    """

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection
        self.recorder = Recorder(connection.get)

    async def identify(self, request: Request) -> Principal:  # noqa: ARG002
        """Who asks."""
        return LOCAL

    def close(self) -> None:
        """Write what of the trail waits."""
        self.recorder.close()
