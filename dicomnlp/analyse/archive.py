"""A pipeline's packs, overlays and models as one archive: what a site promotes is kept as it was, for every worker."""

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dicomnlp.analyse.learned_registry import fingerprint
from dicomnlp.analyse.pipelines import Source, pipeline_names
from dicomnlp.errors import UsageError

if TYPE_CHECKING:
    from dicomnlp.analyse.learned_registry import Registered

PARTS = ("packs", "overlays", "models")
MAXIMUM_BYTES = 16 * 1024 * 1024
"""Of all files of packs and overlays together, which have less than a megabyte."""
MAXIMUM_MODEL_BYTES = 64 * 1024 * 1024
"""Of the files of models, which have some megabytes a language; most of their numbers are 0, and take no room."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The same files are the same archive, whenever they were written."""


def pack_archive(source: Source, models: Iterable["Registered"] = ()) -> tuple[bytes, str]:
    """The files of `source`, and the digest by which they are known.

    Parameters
    ----------
    source
        Packs and overlays, and the folder that `models` are in.
    models
        The trained models that stand beside the rules, one of a language; none: those that the site has promoted, as
        they are when a report is read.

    Raises
    ------
    UsageError
        There are none, or they are too large.
    ModelRefusedError
        A model isn't what was registered.
    """
    files: list[tuple[str, bytes]] = []
    for part in ("packs", "overlays"):
        folder: Path | None = getattr(source, part)
        if folder is not None:
            paths = sorted(folder.rglob("*.toml"))
            files += [(f"{part}/{path.relative_to(folder).as_posix()}", path.read_bytes()) for path in paths]
    if sum(len(data) for _, data in files) > MAXIMUM_BYTES:
        raise UsageError(f"packs and overlays of more than {MAXIMUM_BYTES} bytes can't be kept")
    chosen = sorted(models, key=lambda model: model.name)
    if chosen:
        assert source.models is not None
        files += _files_of(source.models, chosen)
    if not files:
        raise UsageError("the folder holds no file of a pack or an overlay: in it must be a folder for each language")
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return held.getvalue(), _digest(files)


def _files_of(folder: Path, models: Iterable["Registered"]) -> list[tuple[str, bytes]]:
    """The files of models, and a registry that promotes just these."""
    from dicomnlp.analyse.learned_files import contents_of  # noqa: PLC0415  numpy, which few commands need
    from dicomnlp.analyse.learned_registry import REGISTRY, only, open_model  # noqa: PLC0415  likewise

    files: list[tuple[str, bytes]] = []
    for model in models:
        path = open_model(folder, model).path
        files += [(f"models/{model.name}/{name}", data) for name, data in contents_of(path, model.digest).items()]
    if sum(len(data) for _, data in files) > MAXIMUM_MODEL_BYTES:
        raise UsageError(f"models of more than {MAXIMUM_MODEL_BYTES} bytes can't be kept in a pipeline")
    registry = json.dumps(only(models).model_dump(), sort_keys=True)
    return [*files, (f"models/{REGISTRY}", registry.encode())]


def _digest(files: Iterable[tuple[str, bytes]]) -> str:
    seen = hashlib.sha256()
    for name, data in files:
        seen.update(f"{name}\0{len(data)}\0".encode() + data)
    return seen.hexdigest()


def unpack_archive(archive: bytes, folder: Path, sha256: str = "") -> Source:
    """Write the files of an archive into `folder`, which is made; what to read by.

    Parameters
    ----------
    archive
        As `pack_archive` gives it.
    folder
        For its files.
    sha256
        The digest by which it is known; "": of an archive that isn't to be read by.

    Raises
    ------
    UsageError
        It isn't one that `pack_archive` gives, or not the one with this digest.
    """
    if not zipfile.is_zipfile(io.BytesIO(archive)):
        raise UsageError("the archive isn't one of a pipeline")
    with zipfile.ZipFile(io.BytesIO(archive)) as held:
        if sum(entry.file_size for entry in held.infolist()) > MAXIMUM_BYTES + MAXIMUM_MODEL_BYTES:
            raise UsageError("the archive isn't one of a pipeline")
        files = [(name, held.read(name)) for name in held.namelist()]
    if sha256 and _digest(files) != sha256:
        raise UsageError("the archive of the pipeline isn't what was added: its digest is another")
    for name, data in files:
        parts = PurePosixPath(name).parts
        if not parts or parts[0] not in PARTS or ".." in parts or len(parts) < (2 if parts[0] == "models" else 3):
            raise UsageError("the archive isn't one of a pipeline")
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Source(*(folder / part if (folder / part).is_dir() else None for part in PARTS))


def names_of(archive: bytes | None, overlays: Path | None, models: Path | None = None) -> dict[str, str]:
    """Language -> name of the pipeline by which it is read.

    Parameters
    ----------
    archive
        Of a pipeline that was added; None for that of the configuration.
    overlays, models
        Of the configuration.
    """
    return _names_of(archive, overlays, models, fingerprint(models) if models is not None else "")


@lru_cache(16)
def _names_of(archive: bytes | None, overlays: Path | None, models: Path | None, _promoted: str) -> dict[str, str]:
    if archive is None:
        return pipeline_names(Source(overlays=overlays), models)
    with tempfile.TemporaryDirectory(prefix="dicomnlp-pipeline-") as folder:
        return pipeline_names(unpack_archive(archive, Path(folder)), models)
