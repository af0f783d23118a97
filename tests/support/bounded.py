"""One object read in a process of its own, with what it cost: for input that is made to exhaust a reader.

python -m support.bounded TRANSFER_SYNTAX_UID FILE

The file holds the encoded data set. Prints one JSON line: what intake's look and `extract` each made of it
(the state, or the reason code of the error), the processor seconds that each took, and the process's peak resident
memory.
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
    path = folder / "hostile.bin"
    path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-m", "support.bounded", transfer_syntax_uid, str(path)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=Path(__file__).parents[1],
        env={"PYTHONPATH": ":".join([str(Path(__file__).parents[2]), str(Path(__file__).parents[1])])},
    )
    path.unlink()
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}"
    return json.loads(done.stdout)


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


def main(transfer_syntax_uid, path):
    """Read one file and print what it cost."""
    resource.setrlimit(resource.RLIMIT_AS, (_CEILING, _CEILING))
    data = Path(path).read_bytes()
    told = {
        "intake": _outcome(lambda: read_identity(data, transfer_syntax_uid)),
        "extract": _outcome(lambda: extract(StoredObject(1, "", "", transfer_syntax_uid, data))),
    }
    # not ru_maxrss, which a new process inherits from the one that forked it
    status = Path("/proc/self/status").read_text()
    told["peak_bytes"] = int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
