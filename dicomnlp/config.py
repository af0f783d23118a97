"""Settings: one class per [table] of config.toml; name, default and description of a key are declared here only.

`config_file` writes the commented default file from them; a test holds ``config.toml`` against it.
Order of precedence: environment variable ``DICOMNLP_<TABLE>__<KEY>``, then the file, then the default.
"""

import difflib
import json
import os
import tomllib
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from dicomnlp.drift_settings import DriftSettings
from dicomnlp.errors import ConfigurationError
from dicomnlp.hl7_settings import HL7ReceiverSettings, HL7Settings
from dicomnlp.hook_settings import MailSettings, WebhookSettings
from dicomnlp.pacs_settings import PacsSettings, ReconcileSettings, WriteBackSettings
from dicomnlp.reading_settings import AnalyseSettings, ExtractSettings, LearnSettings
from dicomnlp.review_settings import ContradictionSettings, GuidanceSettings
from dicomnlp.setting_tables import AddressTable, Table, is_loopback
from dicomnlp.setting_types import (
    UID,
    AETitle,
    CertificateName,
    Codec,
    Network,
    PasscodeHash,
    Port,
    PrivateSOPClass,
)
from dicomnlp.web_settings import AuditSettings, OIDCSettings, WebSettings

__all__ = ["Settings", "Table", "is_loopback", "load", "tables"]

ENVIRONMENT_PREFIX = "DICOMNLP_"
DEFAULT_FILE = Path("config.toml")


class DICOMAddress(AddressTable):
    """A further address of the DICOM listener; any number of these tables."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(description="TCP port.", examples=[2762])
    tls: bool = Field(False, description="Speak TLS there, with the certificates of [tls].")
    allow_remote: bool = Field(
        False, description="Must be true for an address without TLS that other machines can reach."
    )

    @property
    def _is_encrypted(self) -> bool:
        return self.tls


class ListenerSettings(AddressTable):
    """The DICOM port."""

    ae_title: AETitle = Field("DICOMNLP", description="Application entity title that senders call.")
    ae_title_aliases: list[AETitle] = Field([], description="Further titles that senders may call.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(11112, description="TCP port.")
    tls: bool = Field(False, description="Speak TLS there, with the certificates of [tls].")
    processes: int = Field(1, ge=1, le=64, description="Listener processes that share the addresses.")
    allow_remote: bool = Field(
        False, description="Must be true for an address without TLS that other machines can reach."
    )
    maximum_associations: int = Field(
        256, ge=1, le=10000, description="Associations at a time in one process; further ones are told to come later."
    )
    maximum_associations_per_peer: int = Field(
        64,
        ge=1,
        le=10000,
        description="Of these, what one address, and one calling AE title, may have; the last eighth is for addresses "
        "that have none.",
    )
    maximum_pending_objects: int = Field(
        1000000,
        ge=1,
        description="With so many objects waiting for analysis no more are taken (A700, associations 2/3/1) until a "
        "tenth of them is done.",
    )
    maximum_object_bytes: int = Field(
        67108864, ge=1024, description="Larger objects, as sent or inflated, are refused (A700)."
    )
    network_timeout_seconds: float = Field(
        60.0,
        gt=0,
        description="An association without traffic for so long is aborted. (One that is within a message has half a "
        "minute, and has to send 1024 bytes a second.)",
    )
    private_sop_classes: list[PrivateSOPClass] = Field(
        [], description="UIDs of private SOP classes of reports that are taken beside the standard ones."
    )
    also: list[DICOMAddress] = Field([], description="Further addresses.")

    @property
    def _is_encrypted(self) -> bool:
        return self.tls

    @property
    def addresses(self) -> tuple[DICOMAddress, ...]:
        """Every address to listen on, the table's own first."""
        # unchecked: what was allowed of the table is allowed here
        own = DICOMAddress.model_construct(host=self.host, port=self.port, tls=self.tls, allow_remote=self.allow_remote)
        return (own, *self.also)


class TLSSettings(Table):
    """Certificates of the DICOM addresses that speak TLS (1.2 and 1.3, by BCP 195). Paths are relative to this file."""

    certificate: str = Field(
        "", description="PEM file with this service's certificate, those of intermediate authorities after it."
    )
    key: str = Field("", description="PEM file with its private key, without a passphrase; others may not read it.")
    client_ca: str = Field(
        "", description="PEM file with the authorities whose client certificates are trusted, or these themselves."
    )
    require_client_certificate: bool = Field(True, description="Whether a peer must show a certificate.")


class PeerSettings(Table):
    """A sender, by its calling AE title; any number of these tables.

    With none, every sender is accepted. With some, only those listed are; "*" stands for all others.
    """

    ae_title: AETitle = Field(description='Calling AE title; "*" for all that no other table names.', examples=["CT1"])
    networks: list[Network] = Field([], description="Addresses and networks it may come from; empty: any.")
    certificates: list[CertificateName] = Field(
        [],
        description="Client certificates it may show, then over TLS only; empty: any or none. "
        '"sha256:" and the fingerprint, "dns:" and a subject alternative name, or "cn:" and the common name.',
    )
    users: dict[str, PasscodeHash] = Field(
        {},
        description="Users of which it must name one (user identity, PS3.7 D.3.3.7), each with what "
        '`dicomnlp hash-passcode` prints, or "" for no passcode; empty: none is asked for.',
    )
    refused_sop_classes: list[UID] = Field([], description="UIDs of SOP classes that it may not send (0124).")
    images: Literal["refuse", "index"] = Field(
        "refuse",
        description='"index": images are accepted, their headers kept for the study, pixels dropped; "refuse": not.',
    )
    maximum_associations: int = Field(
        0,
        ge=0,
        le=10000,
        description="Associations it may have at a time in one process, in place of maximum_associations_per_peer; its "
        "address may have as many then, by whatever AE titles. 0: no limit of its own.",
    )
    language: str = Field("", description="In place of analyse.language for what it sends; empty: that one.")
    character_set_fallbacks: list[Codec] = Field(
        [], description="In place of extract.character_set_fallbacks for what it sends; empty: those."
    )


class WatchSettings(Table):
    """A folder whose files are taken in: those taken are deleted, others moved to its folder "refused"."""

    folder: str = Field("", description="Relative to this file; empty: none.")
    stable_seconds: float = Field(
        5.0, gt=0, description="How long a file must be left alone before it is taken; one moved in is taken at once."
    )


class DatabaseSettings(Table):
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
    minimum_free_bytes: int = Field(
        268435456,
        ge=16777216,
        description="With less free on the volume of a SQLite database or of large_object_directory no objects are "
        "taken (A700, associations 2/3/1) until there is a tenth more.",
    )
    lock_timeout_seconds: float = Field(
        10.0,
        gt=0,
        description="How long a write waits for another (SQLite) before it fails and the sender is told A700.",
    )


class WorkSettings(Table):
    """Extraction and analysis."""

    workers: int = Field(0, ge=0, le=1024, description="Worker processes; 0: as many as processor cores.")
    scheduler: str = Field(
        "", description='Address of a Dask scheduler, "tls://host:8786"; empty: a local cluster of worker processes.'
    )
    scheduler_ca: str = Field(
        "",
        description="PEM file with the authority of its certificates, relative to this file; empty: as Dask is set up.",
    )
    scheduler_certificate: str = Field("", description="PEM file with the certificate that is shown to the scheduler.")
    scheduler_key: str = Field("", description="PEM file with its private key, without a passphrase.")
    batch_objects: int = Field(256, ge=1, le=10000, description="Objects a task holds at the most; half a second's.")
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


class LogSettings(Table):
    """Log lines: JSON on stderr, never with anything of a patient."""

    level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")


class Settings(BaseSettings):
    """All of config.toml. Frozen: a changed configuration is a new object."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True
    )

    listener: ListenerSettings = Field(default_factory=ListenerSettings)
    tls: TLSSettings = Field(default_factory=TLSSettings)
    peers: list[PeerSettings] = Field(default_factory=list)
    watch: WatchSettings = Field(default_factory=WatchSettings)
    hl7: HL7Settings = Field(default_factory=HL7Settings)
    hl7_receivers: list[HL7ReceiverSettings] = Field(default_factory=list)
    webhooks: list[WebhookSettings] = Field(default_factory=list)
    mails: list[MailSettings] = Field(default_factory=list)
    pacs: list[PacsSettings] = Field(default_factory=list)
    reconcile: ReconcileSettings = Field(default_factory=ReconcileSettings)
    write_back: WriteBackSettings = Field(default_factory=WriteBackSettings)
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    work: WorkSettings = Field(default_factory=WorkSettings)
    extract: ExtractSettings = Field(default_factory=ExtractSettings)
    analyse: AnalyseSettings = Field(default_factory=AnalyseSettings)
    contradictions: ContradictionSettings = Field(default_factory=ContradictionSettings)
    guidance: GuidanceSettings = Field(default_factory=GuidanceSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    oidc: OIDCSettings = Field(default_factory=OIDCSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    learn: LearnSettings = Field(default_factory=LearnSettings)
    drift: DriftSettings = Field(default_factory=DriftSettings)
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

    @model_validator(mode="after")
    def _check_doors(self) -> Self:
        places = [(a.host, a.port) for a in self.listener.addresses]
        if len(set(places)) < len(places):
            raise ValueError("listener.also: an address is listed twice")
        titles = [p.ae_title.strip() for p in self.peers]
        if len(set(titles)) < len(titles):
            raise ValueError("peers: an ae_title is listed twice")
        names = [p.name for p in self.pacs]
        if len(set(names)) < len(names):
            raise ValueError("pacs: a name is listed twice")
        known = {p.name for p in self.pacs if p.ae_title or p.stow_url or p.fhir_url}
        if unknown := sorted(set(self.write_back.to) - known):
            raise ValueError(f"write_back.to: no [[pacs]] that takes documents is named {', '.join(unknown)}")
        if any(p.tls and not (p.ca or self.tls.client_ca) for p in self.pacs):
            raise ValueError("pacs: one that speaks TLS needs ca, or tls.client_ca, to be trusted by")
        names += [w.name for w in self.webhooks] + [m.name for m in self.mails] + [r.name for r in self.hl7_receivers]
        if len(set(names)) < len(names):
            raise ValueError("pacs, webhooks, mails, hl7_receivers: a name is listed twice")
        if self.speaks_tls:
            needed = ["certificate", "key", *(["client_ca"] if self.tls.require_client_certificate else [])]
            missing = [f"tls.{key}" for key in needed if not getattr(self.tls, key)]
            if missing:
                raise ValueError(
                    f"{', '.join(missing)}: must name a file: an address of the listener or hl7 speaks TLS"
                )
        files = (self.work.scheduler_ca, self.work.scheduler_certificate, self.work.scheduler_key)
        if any(files) and not (all(files) and self.work.scheduler.startswith("tls://")):
            raise ValueError("work: scheduler_ca, _certificate and _key go together, and with a scheduler at tls://")
        if (self.hl7.certificates or any(p.certificates for p in self.peers)) and not self.tls.client_ca:
            raise ValueError("peers, hl7: certificates can't be asked for without tls.client_ca to trust them by")
        return self

    @property
    def speaks_tls(self) -> bool:
        """Whether an address on which objects are taken speaks TLS."""
        return self.hl7.tls or any(a.tls for a in self.listener.addresses)

    def peer_of(self, ae_title: str) -> PeerSettings | None:
        """What is said of the sender with a calling AE title (without surrounding blanks); None: it isn't accepted."""
        if not self.peers:
            return PeerSettings(ae_title="*")
        by_title = {p.ae_title.strip(): p for p in self.peers}
        return by_title.get(ae_title, by_title.get("*"))

    def pacs_of(self, name: str) -> PacsSettings | None:
        """The archive that [[pacs]] calls so, None when none is."""
        return next((p for p in self.pacs if p.name == name), None)

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
    def watch_folder(self) -> Path | None:
        """`watch.folder`, absolute; None when no folder is watched."""
        return (self._folder / self.watch.folder).resolve() if self.watch.folder else None

    @property
    def overlays(self) -> Path | None:
        """`analyse.overlays`, absolute; None where the site adds nothing to the packs."""
        return (self._folder / self.analyse.overlays).resolve() if self.analyse.overlays else None

    @property
    def models(self) -> Path:
        """`learn.models`, absolute."""
        return (self._folder / self.learn.models).resolve()

    @property
    def gold(self) -> Path | None:
        """`learn.gold`, absolute; None where the site names no annotated reports."""
        return (self._folder / self.learn.gold).resolve() if self.learn.gold else None

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


def tables() -> dict[str, type[Table]]:
    """The tables of config.toml, in order."""
    return {name: f.annotation for name, f in Settings.model_fields.items() if isinstance(f.annotation, type)}


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def _check_environment() -> None:
    """Refuse DICOMNLP_ variables that name no key: a misspelt one would otherwise be without effect."""
    names = [f"{ENVIRONMENT_PREFIX}{t}__{k}".upper() for t, c in tables().items() for k in c.model_fields]
    table_names = [f"{ENVIRONMENT_PREFIX}{t}".upper() for t in Settings.model_fields]
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
    structured = {f"{ENVIRONMENT_PREFIX}{t}".upper() for t in Settings.model_fields} | {
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
        if not e["loc"]:  # of several tables together
            yield f"{file}: {e['msg'].removeprefix('Value error, ')}"
            continue
        key = ".".join(str(part) for part in e["loc"])
        table = str(e["loc"][0])
        # what is wrong with a table as a whole can come of any of its keys
        named = (
            [str(e["loc"][1])] if len(e["loc"]) > 1 else list(tables()[table].model_fields) if table in tables() else []
        )
        variables = dict.fromkeys(v for k in named if (v := _environment(table, k)))
        where = f"environment variable {', '.join(variables)}" if variables else file
        if e["type"] == "extra_forbidden":
            yield f"{where}: {key} is not a known key{_suggest(str(e['loc'][-1]), _known_keys(e['loc'][:-1]))}"
        else:
            yield f"{where}: {key}: {e['msg'].removeprefix('Value error, ')}"


def _known_keys(place: Iterable[int | str]) -> Iterable[str]:
    """The keys that may stand at a place in the settings."""
    model: type[BaseModel] = Settings
    for part in place:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            model = element_of(annotation) or annotation  # type: ignore[assignment]
    return model.model_fields


def element_of(annotation: Any) -> type[Table] | None:
    """The table of which a list of tables is made; None of anything else."""
    arguments = typing.get_args(annotation)
    is_table = len(arguments) == 1 and isinstance(arguments[0], type) and issubclass(arguments[0], Table)
    return arguments[0] if is_table else None
