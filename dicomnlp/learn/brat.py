"""brat standoff annotations: a folder of ``.txt`` files, each with its ``.ann`` file.

A text-bound annotation (T) is a finding, its attributes (A, M) make the assertion. Relations, events and notes say
nothing of an assertion and are passed over.
"""

from pathlib import Path

from dicomnlp.errors import UsageError
from dicomnlp.learn.attributes import assertion_of, laterality_of
from dicomnlp.learn.gold import GoldFinding, GoldReport, checked_span

NOT_FINDINGS = frozenset({"anatomy", "anatomicalsite", "bodysite", "bodypart", "section", "heading", "cue", "modifier"})
"""Types of annotations that are marked for other ends, without case, hyphens and underscores."""


def read_folder(folder: Path) -> tuple[GoldReport, ...]:
    """The annotated reports of a brat folder and the folders below it, in the order of their names.

    A report's id is its path without ending; reports without an ``.ann`` file aren't annotated and are left out.

    Raises
    ------
    UsageError
        A text is missing or an annotation malformed: the message names the file and the line.
    """
    return tuple(_report(path, folder) for path in sorted(folder.rglob("*.ann")))


def _report(path: Path, folder: Path) -> GoldReport:
    text = _read(path.with_suffix(".txt"))
    spans: dict[str, tuple[str, int, int]] = {}
    attributes: dict[str, dict[str, object]] = {}
    for number, line in enumerate(_read(path).split("\n"), 1):
        try:
            match line[:1]:
                case "T":
                    identifier, kind, start, end = _text_bound(line)
                    spans[identifier] = kind, *checked_span(start, end, text)
                case "A" | "M":
                    name, of, *value = line.split("\t")[1].split()
                    attributes.setdefault(of, {})[name] = value[0] if value else True
        except UsageError as error:
            raise UsageError(f"{path}, line {number}: {error}") from None
        except (ValueError, IndexError):
            raise UsageError(f"{path}, line {number}: not a brat annotation") from None
    findings = []
    for identifier, (kind, start, end) in spans.items():
        if "".join(c for c in kind.lower() if c.isalnum()) in NOT_FINDINGS:
            continue
        said = attributes.get(identifier, {})
        try:
            findings.append(GoldFinding(start, end, (assertion_of(said),), kind, laterality_of(said)))
        except UsageError as error:
            raise UsageError(f"{path}, {identifier}: {error}") from None
    return GoldReport(
        id=path.relative_to(folder).with_suffix("").as_posix(),
        text=text,
        findings=tuple(sorted(findings, key=lambda f: (f.start, f.end))),
        fields={"folder": path.parent.relative_to(folder).as_posix()} if path.parent != folder else {},
    )


def _text_bound(line: str) -> tuple[str, str, int, int]:
    """(id, type, start, end); a discontinuous annotation is taken from its first to its last character."""
    identifier, where, *_ = line.split("\t")
    kind, places = where.split(" ", 1)
    parts = [tuple(map(int, part.split())) for part in places.split(";")]
    return identifier, kind, min(a for a, _ in parts), max(b for _, b in parts)


def _read(path: Path) -> str:
    # brat counts characters of the text as it is: line ends must not be translated
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} isn't UTF-8 text") from None
