"""Writes the files that are made from the code: config.toml and the generated pages of docs/reference.

Run it after changing a configuration key, a command, or a log event; a test holds the files against it.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click
import typer
from pydantic.fields import FieldInfo
from pydicom.datadict import dictionary_description
from pydicom.uid import UID

from dicomnlp import config, config_file, implementation
from dicomnlp.cli.main import app
from dicomnlp.export import sr_codes
from dicomnlp.extract.identity import IDENTITY_TAGS
from dicomnlp.logs import Event
from dicomnlp.model import Assertion, Code, Laterality, Measurement, Severity, Temporality
from dicomnlp.receive import archive_find, commitment, contexts, fetch, images, negotiation, tls
from dicomnlp.receive.pdu import Timeouts
from dicomnlp.receive.reasons import Reason
from dicomnlp.store import commitment as stored_commitment
from dicomnlp.store.schema import IMAGE_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- made by scripts/generate_docs.py; don't edit -->"


def configuration() -> str:
    """docs/reference/configuration.md."""
    lines = [
        NOTE,
        "# Configuration",
        "",
        "`config.toml` in the current folder, or the file named by `--config`. Each key can also be set as an",
        "environment variable `DICOMNLP_<TABLE>__<KEY>`, which comes before the file. Unknown keys and misspelt",
        "variables are refused with the nearest known name. Relative paths are relative to the file.",
    ]
    single = {f"[{name}]": table for name, table in config.tables().items()}
    several = {f"[[{name}]]": table for name, table in config_file.lists_of_tables().items()}
    for name, table in (single | several).items():
        lines += ["", f"## {name}", "", inspect.cleandoc(table.__doc__ or ""), ""]
        lines += ["| key | default | meaning |", "|---|---|---|"]
        lines += [
            f"| `{key}` | {_default(field)} | {field.description} |" for key, field in config_file.keys(table).items()
        ]
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    return "(must be given)" if field.is_required() else f"`{config_file.default_text(field)}`"


def log_events() -> str:
    """docs/reference/log-events.md."""
    lines = [
        NOTE,
        "# Log events",
        "",
        "One JSON object a line on standard error, with `timestamp` (UTC), `level`, `part` (supervisor, listen, work,",
        "web, worker) and the fields below. Nothing else can be logged: a value that isn't of its field's kind is",
        "written as `(malformed)`, and messages of libraries, warnings and exceptions are replaced by their place in",
        "the source, because they may quote a report.",
        "",
        "| event | level | fields |",
        "|---|---|---|",
    ]
    for event in Event:
        level, fields = event.value
        lines.append(f"| `{event.name.lower()}` | {level} | {', '.join(f'`{f}`' for f in fields)} |")
    return "\n".join(lines) + "\n"


def command_line() -> str:
    """docs/reference/command-line.md."""
    lines = [
        NOTE,
        "# Command line",
        "",
        "`dicomnlp [--config FILE] COMMAND`. Machine output goes to standard output, messages and progress to standard",
        "error. Exit code 0: done; 1: something failed, and the message says what; 2: wrong usage; 130:",
        "stopped by Ctrl-C.",
    ]
    root = typer.main.get_command(app)
    for path, command in _commands(root, "dicomnlp"):
        lines += ["", f"## {path}", ""]
        lines += [line.strip() for line in (command.help or "").strip().splitlines()]
        rows = [row for p in command.params if (row := _parameter(p))]
        if rows:
            lines += ["", "| argument | meaning |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    # Typer brings its own copy of click in some versions, so groups are known by what they have
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            if not getattr(child, "commands", None):
                yield f"{path} {name}", child
            yield from _commands(child, f"{path} {name}")


def _parameter(parameter: click.Parameter) -> str | None:
    if getattr(parameter, "hidden", False) or parameter.name == "help":
        return None
    if parameter.param_type_name == "argument":
        name = (parameter.metavar or str(parameter.name)).upper() + ("..." if parameter.nargs == -1 else "")
    else:
        name = ", ".join(parameter.opts)
    return f"| `{name}` | {getattr(parameter, 'help', None) or ''} |"


def conformance() -> str:
    """docs/conformance.md, with the tables between its marks made anew."""
    timeouts = Timeouts()
    kept = ("sop_class_uid", "sop_instance_uid", "study_instance_uid", *IMAGE_COLUMNS)
    tables = {
        "association": _table(
            ("", ""),
            [
                ("application context", f"`{contexts.APPLICATION_CONTEXT_NAME}`"),
                ("implementation class UID", f"`{implementation.IMPLEMENTATION_CLASS_UID}`"),
                ("implementation version name", f"`{implementation.IMPLEMENTATION_VERSION_NAME}`"),
                ("maximum length received", f"{contexts.MAXIMUM_LENGTH_RECEIVED} bytes"),
                ("longest A-ASSOCIATE-RQ", f"{negotiation.MAXIMUM_REQUEST_LENGTH} bytes"),
            ],
        ),
        "rejections": _table(
            ("result, source, diagnostic", "reason"),
            [
                (f"{r.result}, {r.source}, {r.diagnostic}", r.reason_code.replace("_", " "))
                for r in vars(negotiation).values()
                if isinstance(r, negotiation.Rejection)
            ],
        ),
        "transfer-syntaxes": _table(
            ("transfer syntax", "UID"), [(name, f"`{uid}`") for uid, name in contexts.TRANSFER_SYNTAXES.items()]
        ),
        "sop-classes": _table(
            ("SOP class", "UID"),
            [
                (name, f"`{uid}`")
                for uid, name in {
                    contexts.VERIFICATION_SOP_CLASS: "Verification",
                    contexts.STORAGE_COMMITMENT_SOP_CLASS: "Storage Commitment Push Model (5.2.5)",
                    **contexts.STORAGE_SOP_CLASSES,
                }.items()
            ],
        ),
        "image-transfer-syntaxes": _table(
            ("transfer syntax", "UID"),
            [
                (name, f"`{uid}`")
                for uid, name in images.IMAGE_TRANSFER_SYNTAXES.items()
                if uid not in contexts.TRANSFER_SYNTAXES
            ],
        ),
        "image-sop-classes": _table(
            ("SOP class", "UID"), [(name, f"`{uid}`") for uid, name in images.IMAGE_SOP_CLASSES.items()]
        ),
        "header-elements": _table(
            ("tag", "attribute"),
            [
                (f"({tag >> 16:04X},{tag & 0xFFFF:04X})", dictionary_description(tag))
                for tag in sorted((IDENTITY_TAGS | images.IMAGE_TAGS)[name] for name in kept)
            ],
        ),
        "timers": _table(
            ("timer", "seconds", "for"),
            [
                ("ARTIM", f"{timeouts.artim:g}", "the A-ASSOCIATE-RQ to be there whole; the peer to close at the end"),
                ("TLS handshake", f"{tls.HANDSHAKE_SECONDS:g}", "the handshake, counted within ARTIM's time"),
                (
                    "association",
                    f"{config.ListenerSettings().network_timeout_seconds:g} (`listener.network_timeout_seconds`)",
                    "the next message to begin, and a PDU that has begun to be complete",
                ),
                (
                    "message",
                    f"{timeouts.message:g}",
                    f"a message that has begun to go on; the lag behind {timeouts.bytes_per_second:g} bytes a second",
                ),
                ("drain", f"{timeouts.drain:g}", "associations to end by themselves when the service stops"),
            ],
        ),
        "requests": _table(
            ("SOP class of the SCU", "UID"),
            [(UID(uid).name, f"`{uid}`") for uid in (archive_find.MODEL, *fetch.MODELS)],
        ),
        "query-keys": _table(
            ("level", "keys"), [(level, ", ".join(keys)) for level, keys in archive_find.KEYS.items()]
        ),
        "commitment-statuses": _table(
            ("status", "when"), [(f"{status:04X}", words) for status, words in sorted(commitment.STATUSES.items())]
        ),
        "failure-reasons": _table(
            ("Failure Reason", "when"),
            [(f"{reason:04X}", words) for reason, words in sorted(stored_commitment.FAILURE_REASONS.items())],
        ),
        "reason-codes": _table(
            ("reason code", "status", "meaning"),
            [(f"`{code}`", f"{status:04X}", r.meaning) for r in Reason for status, code in [r.answer]],
        ),
    }
    tables |= _written_tables()
    text = (ROOT / "docs/conformance.md").read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- generated: {name} -->\n", "<!-- end -->"
        before, _, rest = text.partition(begin)
        text = before + begin + table + end + rest.partition(end)[2]
    return text


def _written_tables() -> dict[str, str]:
    """The codes of what is written back."""
    quantities = [
        (f"{'one size' if n == 1 else 'two sizes' if n == 2 else 'three sizes'}", "size", (9.0, 6.0, 3.0)[:n])
        for n in (1, 2, 3)
    ] + [(kind.replace("_", " "), kind, (1.0,)) for kind in (*sr_codes.QUANTITIES, "any other")]
    rows = []
    for words, kind, values in quantities:
        measurement = Measurement(values, "mm", kind, Temporality.CURRENT, "", 0, 0)
        names = dict.fromkeys(name for name, _ in sr_codes.quantities(measurement))
        known = kind != "any other"
        rows.append((words, ", ".join(map(_code, names)) if known else f"its kind, {sr_codes.OWN_SCHEME}"))
    modalities = dict.fromkeys((*sr_codes.PROCEDURES, ""))
    return {
        "written-contexts": _table(
            ("the report says", "Finding (121071, DCM)", "qualitative evaluation of the concept"),
            [
                (
                    a.value,
                    "the concept" if a is Assertion.PRESENT else "none",
                    "" if a is Assertion.PRESENT else _code(c),
                )
                for a, c in sr_codes.CONTEXTS.items()
            ],
        ),
        "written-quantities": _table(("measured", "concept name of the NUM item"), rows),
        "written-modifiers": _table(
            ("what", "value", "code"),
            [("side", side.value, _code(sr_codes.side(side))) for side in Laterality]
            + [("severity", degree.value, _code(sr_codes.degree(degree))) for degree in Severity]
            + [
                ("procedure reported", modality or "any other", _code(sr_codes.procedures((modality,))[0]))
                for modality in modalities
            ],
        ),
    }


def _code(code: Code) -> str:
    return f"({code.value}, {code.scheme}, “{code.meaning}”)"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


FILES = {
    "config.toml": config_file.default_file,
    "docs/reference/configuration.md": configuration,
    "docs/reference/command-line.md": command_line,
    "docs/reference/log-events.md": log_events,
    "docs/conformance.md": conformance,
}


if __name__ == "__main__":
    for name, make in FILES.items():
        (ROOT / name).write_text(make(), encoding="utf-8")
        print(name)
