"""The log: only catalogued events and fields, and nothing of what libraries or exceptions say."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dicomnlp.logs import FIELDS, MALFORMED, Event

PACKAGE = Path(__file__).resolve().parents[1] / "dicomnlp"
CANARY = "Zebulon^Quux"

ASYNCIO = f"""
import asyncio
async def main():
    asyncio.get_running_loop().call_exception_handler({{"message": "{CANARY}"}})
asyncio.run(main())
"""


def run(code):
    """Standard error and output of `code` in a process that logs as the service does."""
    start = "from dicomnlp import logs\nfrom dicomnlp.logs import Event, log\nlogs.configure('debug', 'test')\n"
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_line_is_json_with_time_level_part_and_fields():
    """One object a line, in UTC."""
    line = json.loads(run("log(Event.READY, component='listener', address='127.0.0.1:104')"))
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "ready",
        "level": "info",
        "part": "test",
        "component": "listener",
        "address": "127.0.0.1:104",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sop_instance_uid", "1.2\n3.4"),
        ("sop_instance_uid", CANARY),
        ("study_instance_uid", "../../etc/passwd"),
        ("calling_ae_title", "\x1b[31mRED"),
        ("calling_ae_title", "MORE_THAN_SIXTEEN"),
        ("reason_code", "patient " + CANARY),
        ("route", f"/studies/{CANARY}"),
        ("status", CANARY),
    ],
)
def test_value_that_is_not_of_its_kind_is_not_written(field, value):
    """A field admits values of its kind only, so no caller can leak by mistake."""
    assert FIELDS[field](value) == MALFORMED


@pytest.mark.parametrize(
    "code",
    [
        f"import logging; logging.getLogger('pynetdicom').error('{CANARY}')",
        f"import logging; logging.getLogger('new').warning('%s', '{CANARY}')",
        f"import warnings; warnings.warn('{CANARY}')",
        f"import loguru; loguru.logger.error('{CANARY}')",
        f"raise ValueError('{CANARY}')",
        f"import threading\ndef f(): raise ValueError('{CANARY}')\nt = threading.Thread(target=f); t.start(); t.join()",
        f"class C:\n  def __del__(self): raise ValueError('{CANARY}')\nC()",
        f"log(Event.READY, patient_name='{CANARY}')",
        ASYNCIO,
    ],
    ids=["stdlib", "stdlib-new", "warning", "loguru", "uncaught", "thread", "unraisable", "undeclared", "asyncio"],
)
def test_what_others_say_is_not_repeated_but_noted(code):
    """Libraries, warnings and exceptions may quote a report: a line says that and where, never what."""
    written = run(code)
    assert CANARY not in written
    assert json.loads(written.splitlines()[0])["event"]


def test_loguru_debug_of_the_stock_sentence_splitter_is_silent():
    """PyRuSH prints every token at DEBUG through loguru."""
    assert run(f"import loguru; loguru.logger.debug('{CANARY}')") == ""


def test_broken_standard_error_harms_nobody():
    """A full disk under the log must not abort an association whose object is committed."""
    code = "import sys, os; os.close(2); log(Event.READY); sys.stderr.close(); log(Event.READY); print('on')"
    assert run(code).strip() == "on"


def _calls():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "log" and node.args:
                yield path.relative_to(PACKAGE), node


def test_every_call_uses_fields_that_its_event_declares():
    """An undeclared field would be left out at run time; here it is found before."""
    checked = 0
    for path, call in _calls():
        event = call.args[0]
        if not (isinstance(event, ast.Attribute) and event.attr in Event.__members__):
            continue
        allowed = Event[event.attr].value[1]
        for keyword in call.keywords:
            if keyword.arg is not None:
                assert keyword.arg in allowed, f"{path}:{call.lineno} {event.attr}({keyword.arg})"
                checked += 1
    assert checked > 5


def test_every_declared_field_has_a_kind():
    """The catalogue is complete."""
    assert {f for e in Event for f in e.value[1]} <= set(FIELDS)


def test_nothing_but_the_catalogue_logs_or_prints():
    """No module of the package has a logger of its own or prints."""
    for path in PACKAGE.rglob("*.py"):
        if path.name == "logs.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.func if isinstance(node, ast.Call) else None
            if isinstance(name, ast.Name):
                assert name.id != "print", f"{path}:{node.lineno}"
            if isinstance(name, ast.Attribute):
                assert name.attr != "getLogger", f"{path}:{node.lineno}"
