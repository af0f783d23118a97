"""What tables of config.toml have in common."""

import ipaddress
import json
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


def is_loopback(host: str) -> bool:
    """Whether `host` (an address or "localhost") can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Table(BaseModel):
    """A table of config.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class AddressTable(Table):
    """One with an address to listen on."""

    host: str
    allow_remote: bool

    @property
    def _is_encrypted(self) -> bool:
        return False

    @model_validator(mode="after")
    def _refuse_open_door(self) -> Self:
        if not is_loopback(self.host) and not self.allow_remote and not self._is_encrypted:
            raise ValueError(
                f"host = {json.dumps(self.host)} can be reached from other machines; "
                "set allow_remote = true in the same table if that is meant, or use 127.0.0.1"
            )
        return self
