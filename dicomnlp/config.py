"""Settings: one class per [table] of config.toml; name, default and description of a key are declared here only.

``python -m dicomnlp.config`` prints the commented default file; a test holds ``config.toml`` against it.
Order of precedence: environment variable ``DICOMNLP_<TABLE>__<KEY>``, then the file, then the default.
"""

import difflib
import ipaddress
import json
import os
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from dicomnlp.errors import ConfigurationError
from dicomnlp.model import is_uid

ENVIRONMENT_PREFIX = "DICOMNLP_"
DEFAULT_FILE = Path("config.toml")


def _check_ae_title(text: str) -> str:
    if not 1 <= len(text) <= 16 or not text.strip() or not all(" " <= c <= "~" and c != "\\" for c in text):
        raise ValueError("1 to 16 printable ASCII characters, not only spaces, no backslash (PS3.5 6.2, AE)")
    return text


def _check_codec(text: str) -> str:
    try:
        "".encode(text)
    except (LookupError, ValueError):
        raise ValueError("must be the name of a Python codec, such as gb18030 or cp1250") from None
    return text


def _check_private_sop_class(text: str) -> str:
    if not is_uid(text) or text.startswith("1.2.840.10008."):
        raise ValueError("must be a UID (PS3.5 9.1) outside the standard's own 1.2.840.10008")
    return text


Codec = Annotated[str, AfterValidator(_check_codec)]
PrivateSOPClass = Annotated[str, AfterValidator(_check_private_sop_class)]
AETitle = Annotated[str, AfterValidator(_check_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]


def is_loopback(host: str) -> bool:
    """Whether `host` (an address or "localhost") can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class _Address(_Table):
    host: str
    allow_remote: bool

    @model_validator(mode="after")
    def _refuse_open_door(self) -> Self:
        if not is_loopback(self.host) and not self.allow_remote:
            raise ValueError(
                f"host = {json.dumps(self.host)} can be reached from other machines; "
                "set allow_remote = true in the same table if that is meant, or use 127.0.0.1"
            )
        return self


class ListenerSettings(_Address):
    """The DICOM port."""

    ae_title: AETitle = Field("DICOMNLP", description="Application entity title that senders call.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(11112, description="TCP port.")
    processes: int = Field(1, ge=1, le=64, description="Listener processes that share the port.")
    allow_remote: bool = Field(
        False, description="Must be true for an address that other machines can reach: DICOM here is not encrypted."
    )
    maximum_associations: int = Field(
        256, ge=1, le=10000, description="Associations at a time in one process; further ones are told to come later."
    )
    maximum_object_bytes: int = Field(
        67108864, ge=1024, description="Larger objects, as sent or inflated, are refused (A700)."
    )
    network_timeout_seconds: float = Field(
        60.0, gt=0, description="An association without traffic for so long is aborted."
    )
    private_sop_classes: list[PrivateSOPClass] = Field(
        [], description="UIDs of private SOP classes of reports that are taken beside the standard ones."
    )


class DatabaseSettings(_Table):
    """Where originals and findings are kept."""

    url: str = Field(
        "sqlite:///var/dicomnlp.db",
        description="SQLite file (relative to this file) or postgresql+psycopg://user:password@host/name.",
    )
    large_object_bytes: int = Field(
        1048576, ge=4096, description="Originals above this size are files in large_object_directory, not rows."
    )
    large_object_directory: Path = Field(
        Path("var/objects"), description="Relative to this file; names are content hashes."
    )
    lock_timeout_seconds: float = Field(
        10.0,
        gt=0,
        description="How long a write waits for another (SQLite) before it fails and the sender is told A700.",
    )


class WorkSettings(_Table):
    """Extraction and analysis."""

    workers: int = Field(0, ge=0, le=1024, description="Worker processes; 0: as many as processor cores.")
    scheduler: str = Field(
        "", description='Address of a Dask scheduler, "tls://host:8786"; empty: a local cluster of worker processes.'
    )
    batch_objects: int = Field(32, ge=1, le=10000, description="Objects a task holds at the most.")
    batch_bytes: int = Field(4194304, ge=1024, description="Bytes a task holds at the most (one object always fits).")
    maximum_attempts: int = Field(
        3, ge=1, le=100, description="An object that so often takes its worker down ends as failed."
    )
    object_timeout_seconds: float = Field(
        60.0, gt=0, description="Time one object may take before its worker is stopped; counts as an attempt."
    )
    memory_limit_bytes: int = Field(
        2147483648, ge=268435456, description="A worker process above this is stopped; its objects are tried again."
    )


class ExtractSettings(_Table):
    """Reading of objects."""

    character_set_fallbacks: list[Codec] = Field(
        ["gb18030", "cp1252"],
        description="Python codecs tried, in order of preference, for text that no declared character set fits.",
    )
    character_set_fallbacks_by_ae_title: dict[AETitle, list[Codec]] = Field(
        {},
        description='The same for what single senders send, by calling AE title: {"OLDPACS" = ["cp1250"]}.',
    )


class AnalyseSettings(_Table):
    """Language processing."""

    language: str = Field(
        "en", description="Language of a text that declares none and whose script does not tell.", min_length=2
    )


class WebSettings(_Address):
    """HTTP."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8080, description="TCP port.")
    allow_remote: bool = Field(
        False,
        description="Must be true for an address that other machines can reach: requests are not authenticated, "
        "so put a proxy that authenticates and encrypts before it.",
    )


class LogSettings(_Table):
    """Log lines: JSON on stderr, never with anything of a patient."""

    level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")


class Settings(BaseSettings):
    """All of config.toml. Frozen: a changed configuration is a new object."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    listener: ListenerSettings = Field(default_factory=ListenerSettings)
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    work: WorkSettings = Field(default_factory=WorkSettings)
    extract: ExtractSettings = Field(default_factory=ExtractSettings)
    analyse: AnalyseSettings = Field(default_factory=AnalyseSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    logs: LogSettings = Field(default_factory=LogSettings)

    _file: Path | None = None
    _folder: Path = Path()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before file; nothing else."""
        return env_settings, init_settings

    @property
    def file(self) -> Path | None:
        """The configuration file in use, absolute; None when there is none."""
        return self._file

    @property
    def folder(self) -> Path:
        """What relative paths are relative to, absolute."""
        return self._folder

    @property
    def database_url(self) -> str:
        """`database.url` with a relative SQLite path made absolute."""
        url = self.database.url
        prefix = "sqlite:///"
        if url.startswith(prefix) and url != prefix and ":memory:" not in url:
            return prefix + str((self._folder / url.removeprefix(prefix)).resolve())
        return url

    @property
    def large_object_directory(self) -> Path:
        """`database.large_object_directory`, absolute."""
        return (self._folder / self.database.large_object_directory).resolve()


def load(file: Path | None = None) -> Settings:
    """The settings from `file`, or from config.toml in the current folder if there is one, or the defaults.

    Raises
    ------
    ConfigurationError
        The file is missing or isn't TOML, or a key is unknown or has a wrong value; the message lists each key.
    """
    explicit = file is not None
    path = (file or DEFAULT_FILE).resolve()
    values: dict[str, Any] = {}
    if path.exists():
        values = _read(path)
    elif explicit:
        raise ConfigurationError(f"configuration file {path} does not exist; name another with --config")
    _check_environment()
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(error, path.name if values else "configuration"))) from None
    except SettingsError:
        raise ConfigurationError(_not_json()) from None
    settings._file = path if path.exists() else None  # noqa: SLF001
    settings._folder = path.parent  # noqa: SLF001
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path.name} is not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} can't be read: {type(error).__name__}") from None


def tables() -> dict[str, type[_Table]]:
    """The tables of config.toml, in order."""
    return {name: f.annotation for name, f in Settings.model_fields.items() if isinstance(f.annotation, type)}


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def _check_environment() -> None:
    """Refuse DICOMNLP_ variables that name no key: a misspelt one would otherwise be without effect."""
    names = [f"{ENVIRONMENT_PREFIX}{t}__{k}".upper() for t, c in tables().items() for k in c.model_fields]
    table_names = [f"{ENVIRONMENT_PREFIX}{t}".upper() for t in tables()]
    for name in os.environ:
        if name.upper().startswith(ENVIRONMENT_PREFIX) and name.upper() not in names + table_names:
            raise ConfigurationError(f"environment variable {name} names no configuration key{_suggest(name, names)}")


def _environment(table: str, key: str) -> str | None:
    """The variable that sets a key, as it is spelt in the environment; None when none does."""
    spelt = {name.upper(): name for name in os.environ}
    own = spelt.get(f"{ENVIRONMENT_PREFIX}{table}__{key}".upper())
    whole = spelt.get(f"{ENVIRONMENT_PREFIX}{table}".upper())
    if own is None and whole is not None:
        values = _from_json(os.environ[whole])
        return whole if not isinstance(values, dict) or key in values else None
    return own


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _not_json() -> str:
    """What to say of the variables of lists and tables that pydantic-settings couldn't read; it names only one."""
    structured = {f"{ENVIRONMENT_PREFIX}{t}".upper() for t in tables()} | {
        f"{ENVIRONMENT_PREFIX}{t}__{k}".upper()
        for t, c in tables().items()
        for k, field in c.model_fields.items()
        if isinstance(field.default, list | dict)
    }
    wrong = [n for n in os.environ if n.upper() in structured and _from_json(os.environ[n]) is None]
    return f"environment variable {', '.join(wrong)}: must be JSON"


def _explain(error: ValidationError, file: str) -> Iterable[str]:
    """A line for each thing that is wrong, with where it was said: in the environment or in `file`."""
    for e in error.errors():
        key = ".".join(str(part) for part in e["loc"])
        table = str(e["loc"][0])
        # what is wrong with a table as a whole can come of any of its keys
        named = (
            [str(e["loc"][1])] if len(e["loc"]) > 1 else list(tables()[table].model_fields) if table in tables() else []
        )
        variables = dict.fromkeys(v for k in named if (v := _environment(table, k)))
        where = f"environment variable {', '.join(variables)}" if variables else file
        if e["type"] == "extra_forbidden":
            parent, _, leaf = key.rpartition(".")
            known = tables()[parent].model_fields if parent in tables() else tables()
            yield f"{where}: {key} is not a known key{_suggest(leaf, known)}"
        else:
            yield f"{where}: {key}: {e['msg'].removeprefix('Value error, ')}"


def keys(table: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a table, in the order in which the file shows them."""
    return {key: table.model_fields[key] for key in table.__annotations__ if key in table.model_fields}


def default_text(field: FieldInfo) -> str:
    """A key's default as TOML."""
    return json.dumps(str(field.default) if isinstance(field.default, Path) else field.default)


def default_file() -> str:
    """The text of config.toml with every key, its description and its default."""
    lines = [
        "# Configuration of dicomnlp. Each key can also be set as an environment variable:",
        "# DICOMNLP_<TABLE>__<KEY>, e.g. DICOMNLP_LISTENER__PORT=11113.",
        "# Made by `python -m dicomnlp.config`; the values below are the defaults.",
    ]
    for name, table in tables().items():
        lines += ["", f"# {(table.__doc__ or '').strip()}", f"[{name}]"]
        for key, field in keys(table).items():
            lines += [f"# {field.description}", f"{key} = {default_text(field)}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(default_file())
