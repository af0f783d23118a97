"""The learning curve of annotations that are made over HTTP, as a reader makes them.

    python benchmarks/annotations.py --spans KIT.jsonl --out figures.json

``--spans``: a span a line, ``text``, ``start``, ``end``, ``label``, ``report_no``, as benchmarks/models.py takes them.
A quarter of the patients tests. Sentences of the others come as Structured Reports into a service that is started for
this; a scripted annotator, who is wrong one time in twenty, marks one span of each: the finding that stands there,
else one that is added. At each size the annotations are exported by HTTP, a model is trained on them, and rules and
model together are tested on the patients that were held out.
"""

import argparse
import json
import random
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "tests")]

from models import SIZES, WRONG, spans
from support.service import Service, make_report, write_report

from dicomnlp.analyse.learned_files import Split
from dicomnlp.learn.curve import point
from dicomnlp.learn.formats import read_gold
from dicomnlp.learn.gold import GoldFinding, GoldReport, patient_of
from dicomnlp.learn.models import HELD_OUT
from dicomnlp.learn.training import SEED
from dicomnlp.model import Assertion, to_json

SPARE = 20
"""Sentences beyond the largest size, for those whose words aren't found again in what was read of the object."""
PATIENCE_SECONDS = 600.0


def main() -> None:
    """Run all of it and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    arguments = parser.parse_args()
    sizes = sorted(int(size) for size in arguments.sizes.split(","))
    gold = spans(arguments.spans)
    split = Split(seed=str(SEED), held_out=HELD_OUT)
    fitted = [r for r in gold if not split.holds_out(patient_of(r))]
    tested = [r for r in gold if split.holds_out(patient_of(r))]
    asked = random.Random(SEED).sample(fitted, min(len(fitted), sizes[-1] + SPARE))  # noqa: S311
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        service = Service(folder, web__maximum_requests_per_minute=100_000, logs__level="warning")
        try:
            service.start(PATIENCE_SECONDS)
            uids = load(service, folder, asked)
            exports, seconds = annotate(service, folder, asked, uids, sizes)
        finally:
            service.kill()
        points = [point((), fitted, tested, split)]
        for size, path in exports.items():
            print(f"training on {size} annotations", flush=True)
            points.append(point(read_gold(path), fitted, tested, split))
    for found in points:
        f1 = found.scores["assertion"]
        print(f"{found.annotations:5d}  assertion F1 {f1.value:.4f} ({f1.low:.4f} to {f1.high:.4f})")
    figures = {"curve": to_json(points), "seconds_of_an_annotation": seconds, "tested": len(tested)}
    arguments.out.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def load(service: Service, folder: Path, reports: Sequence[GoldReport]) -> list[str]:
    """Have each report received from disk and analysed; their SOP Instance UIDs."""
    objects = folder / "objects"
    objects.mkdir()
    uids = []
    for number, report in enumerate(reports, 1):
        dataset = make_report(number, report.text, patient_id=patient_of(report))
        write_report(dataset, objects / f"{number}.dcm")
        uids.append(str(dataset.SOPInstanceUID))
    done = service.command("import", objects)
    if done.returncode:
        raise SystemExit(done.stderr)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while ask(service, "GET", "/api/v1/status")["objects"]["pending"]:
        if time.monotonic() > deadline:
            raise SystemExit("the reports weren't analysed in time")
        time.sleep(0.5)
    return uids


def annotate(
    service: Service, folder: Path, reports: Sequence[GoldReport], uids: Sequence[str], sizes: Sequence[int]
) -> tuple[dict[int, Path], float]:
    """Mark one span of each report; what was exported at each size, and the seconds that an annotation took."""
    generator = random.Random(SEED)  # noqa: S311  a scripted annotator is no secret
    exports: dict[int, Path] = {}
    made, seconds = 0, 0.0
    for report, uid in zip(reports, uids, strict=True):
        [target] = report.targets
        started = time.perf_counter()
        shown = ask(service, "GET", f"/api/v1/annotations/reports/{uid}")
        place = found_again(report.text, target, shown["text"])
        if place is None:
            continue
        said = answer(target, generator)
        ask(service, "POST", f"/api/v1/annotations/reports/{uid}", body(shown, place, said))
        seconds += time.perf_counter() - started
        made += 1
        if made in sizes:
            exports[made] = folder / f"{made}.jsonl"
            exports[made].write_bytes(fetch(service, "GET", "/api/v1/annotations/export"))
        if made == sizes[-1]:
            break
    return exports, seconds / made


def found_again(text: str, target: GoldFinding, shown: str) -> tuple[int, int] | None:
    """Where the span stands in what was read of the object, in which blanks may differ."""
    before, words = text[: target.start].split(), text[target.start : target.end].split()
    pattern = r"\s*".join(re.escape(word) for word in before) + r"\s*(" + r"\s+".join(map(re.escape, words)) + ")"
    match = re.search(pattern, shown)
    return match.span(1) if match else None


def answer(target: GoldFinding, generator: random.Random) -> Assertion:
    """The right assertion, or one time in twenty another."""
    if generator.random() >= WRONG:
        return target.accepted[0]
    return generator.choice([a for a in Assertion if a not in target.accepted])


def body(shown: dict[str, Any], place: tuple[int, int], said: Assertion) -> dict[str, Any]:
    """What is posted: about the finding that stands at the place, else an added one."""
    here = [f["concept"]["id"] for f in shown["findings"] if (f["start"], f["end"]) == place]
    marked = {"start": place[0], "end": place[1], "assertion": said.value, "text_sha256": shown["text_sha256"]}
    if here:
        return {"verdict": "relabel", "finding_concept": here[0], **marked}
    return {"verdict": "add", "concept": "unlisted_finding", **marked}


def ask(service: Service, method: str, path: str, sent: dict[str, Any] | None = None) -> Any:
    """The JSON of an answer."""
    return json.loads(fetch(service, method, path, sent))


def fetch(service: Service, method: str, path: str, sent: dict[str, Any] | None = None) -> bytes:
    """The body of an answer, which must be right."""
    url = f"http://127.0.0.1:{service.web_port}{path}"
    data = None if sent is None else json.dumps(sent).encode()
    headers = {} if sent is None else {"Content-Type": "application/json"}
    asked = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(asked, timeout=60) as answered:  # noqa: S310
        return bytes(answered.read())


if __name__ == "__main__":
    main()
