"""A pipeline's packs and overlays as one archive: what a site promotes is kept as it was, and every worker has it."""

import hashlib
import io
import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path, PurePosixPath

from dicomnlp.analyse.learned_registry import fingerprint
from dicomnlp.analyse.pipelines import Source, pipeline_names
from dicomnlp.errors import UsageError

PARTS = ("packs", "overlays")
MAXIMUM_BYTES = 16 * 1024 * 1024
"""Of all files together: packs have less than a megabyte. A task carries the archive."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The same files are the same archive, whenever they were written."""


def pack_archive(source: Source) -> tuple[bytes, str]:
    """The files of `source`, and the digest by which they are known.

    Raises
    ------
    UsageError
        There are none, or they are too large.
    """
    files: list[tuple[str, bytes]] = []
    for part in PARTS:
        folder: Path | None = getattr(source, part)
        if folder is not None:
            paths = sorted(folder.rglob("*.toml"))
            files += [(f"{part}/{path.relative_to(folder).as_posix()}", path.read_bytes()) for path in paths]
    if not files:
        raise UsageError("the folder holds no file of a pack or an overlay: in it must be a folder for each language")
    if sum(len(data) for _, data in files) > MAXIMUM_BYTES:
        raise UsageError(f"packs and overlays of more than {MAXIMUM_BYTES} bytes can't be kept")
    seen = hashlib.sha256()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
            seen.update(f"{name}\0{len(data)}\0".encode() + data)
    return held.getvalue(), seen.hexdigest()


def unpack_archive(archive: bytes, folder: Path) -> Source:
    """Write the files of an archive into `folder`, which is made; what to read by.

    Raises
    ------
    UsageError
        A name in it is none that `pack_archive` gives.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as held:
        for name in held.namelist():
            parts = PurePosixPath(name).parts
            if len(parts) < 3 or parts[0] not in PARTS or ".." in parts:
                raise UsageError("the archive isn't one of a pipeline")
            path = folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(held.read(name))
    packs, overlays = (folder / part if (folder / part).is_dir() else None for part in PARTS)
    return Source(packs, overlays)


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
