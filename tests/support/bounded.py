"""Objects read in a process of their own, with what it cost: for input that is made to exhaust a reader.

python -m support.bounded TRANSFER_SYNTAX_UID FILE...

Each file holds an encoded data set. Prints one JSON line a file: what intake's look and `extract` each made of it
(the state, or the reason code of the error), the processor seconds that each took, and the process's peak resident
memory so far.
"""

import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

from dicomnlp.errors import ObjectError
from dicomnlp.extract import extract, read_identity
from dicomnlp.model import StoredObject

GIGABYTE = 10**9
_CEILING = 8 * GIGABYTE
"""Address space of the process: a reader without bounds fails the test instead of taking the machine down."""


def cost_of_reading(folder, data, transfer_syntax_uid, *, timeout=60):
    """Read `data` in a new process: a dict with what came of it and what it cost; memory in bytes."""
    return costs_of_reading(folder, [data], transfer_syntax_uid, timeout=timeout)[0]


def costs_of_reading(folder, data_sets, transfer_syntax_uid, *, timeout=60):
    """Read several in one new process, one after the other: a dict for each."""
    paths = [folder / f"hostile{number}.bin" for number in range(len(data_sets))]
    for path, data in zip(paths, data_sets, strict=True):
        path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-m", "support.bounded", transfer_syntax_uid, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=Path(__file__).parents[1],
        env={"PYTHONPATH": ":".join([str(Path(__file__).parents[2]), str(Path(__file__).parents[1])])},
    )
    for path in paths:
        path.unlink()
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def _outcome(read):
    start = time.process_time()
    try:
        result = read()
    except ObjectError as error:
        return {"reason_code": error.reason_code, "seconds": time.process_time() - start}
    seconds = time.process_time() - start
    if not hasattr(result, "narrative"):
        return {"reason_code": None, "seconds": seconds}
    return {
        "reason_code": None,
        "seconds": seconds,
        "state": result.state.value,
        "characters": len(result.narrative.text),
        "items": len(result.items),
        "measurements": len(result.measurements),
        "warnings": list(result.warnings),
    }


def main(transfer_syntax_uid, *paths):
    """Read each file and print what it cost."""
    resource.setrlimit(resource.RLIMIT_AS, (_CEILING, _CEILING))
    for path in paths:
        sys.stdout.write(json.dumps(_read(transfer_syntax_uid, path)) + "\n")


def _read(transfer_syntax_uid, path):
    data = Path(path).read_bytes()
    told = {
        "intake": _outcome(lambda: read_identity(data, transfer_syntax_uid)),
        "extract": _outcome(lambda: extract(StoredObject(1, "", "", transfer_syntax_uid, data))),
    }
    # not ru_maxrss, which a new process inherits from the one that forked it
    status = Path("/proc/self/status").read_text()
    told["peak_bytes"] = int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024
    return told


if __name__ == "__main__":
    main(*sys.argv[1:])
