"""Chinese reports through the whole service: character sets as senders write them, and overlays that are broken."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from support.service import Service, make_report, write_report

DCMTK = next((p for p in ("/usr/bin/storescu", shutil.which("storescu")) if p and Path(p).exists()), None)
pytestmark = pytest.mark.skipif(DCMTK is None, reason="DCMTK's storescu isn't installed")

TEXT = (
    "检查所见：右肺上叶见结节，范围7mm×5mm，双侧胸腔与心包未见积液。\n"
    "诊断意见：右肺上叶结节，考虑良性病变，建议6个月后复查。"
)
FINDINGS = [
    ("pulmonary_nodule", "present", "right"),
    ("pleural_effusion", "absent", "bilateral"),
    ("pericardial_effusion", "absent", None),
    ("pulmonary_nodule", "present", "right"),
    ("benign_lesion", "possible", "right"),
]


def _iso_2022(text: str) -> bytes:
    """PS3.5 K.2: GB 2312 is designated to G1 anew in each line that has Chinese characters."""
    return b"\n".join(b"\x1b$)A" + line.encode("gb2312") for line in text.split("\n"))


SENT = {
    # declared (0008,0005), and how the text is in fact written
    "GB18030": ("GB18030", TEXT.encode("gb18030")),
    "GBK": ("GBK", TEXT.encode("gbk")),
    "ISO 2022 IR 58": ("\\ISO 2022 IR 58", _iso_2022(TEXT)),
    "UTF-8": ("ISO_IR 192", TEXT.encode()),
    # mislabelled, as converters and old devices do
    "GB18030 as Latin 1": ("ISO_IR 100", TEXT.encode("gb18030")),
    "GB18030 as nothing": ("", TEXT.encode("gb18030")),
    "UTF-8 as Latin 1": ("ISO_IR 100", TEXT.encode()),
    "UTF-8 as GB18030": ("GB18030", TEXT.encode()),
    "GB18030 as UTF-8": ("ISO_IR 192", TEXT.encode("gb18030")),
    "GB 2312 without escape": ("\\ISO 2022 IR 58", TEXT.encode("gb2312")),
}


def _write(folder: Path, number: int, declared: str, text: bytes) -> Path:
    """A report as a sender's software writes it, whatever it declares: pydicom would correct it."""
    placeholder = "?" * (len(text) + len(text) % 2)
    dataset = make_report(number, placeholder)
    dataset.SpecificCharacterSet = declared.split("\\") if declared else None
    path = write_report(dataset, folder / f"{number}.dcm")
    whole = path.read_bytes()
    assert whole.count(placeholder.encode()) == 1
    path.write_bytes(whole.replace(placeholder.encode(), text.ljust(len(placeholder))))
    return path


def test_every_character_set_ends_as_the_same_findings(tmp_path: Path) -> None:
    """Ten ways to write one report, sent by DCMTK: each is stored as the same text and read as the same findings."""
    files = [_write(tmp_path, number, *sent) for number, sent in enumerate(SENT.values(), 1)]
    service = Service(tmp_path, analyse__language="en")
    try:
        service.start()
        port = str(service.port)
        done = subprocess.run(
            [DCMTK, "-aec", "DICOMNLP", "127.0.0.1", port, *map(str, files)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        service.wait_until_analysed()
        read = {}
        for number, name in enumerate(SENT, 1):
            answer = service.get(f"/api/v1/studies/1.2.826.0.1.3680043.10.1511.1.{number}/findings")[1]
            found = json.loads(answer)["findings"]
            read[name] = [(f["concept"]["id"], f["assertion"], f["laterality"]) for f in found]
            assert {f["language"] for f in found} == {"zh"}, name
    finally:
        service.kill()
    assert read == dict.fromkeys(SENT, FINDINGS)


def test_the_service_starts_without_a_broken_overlay_and_says_so(tmp_path: Path) -> None:
    """In its log, in /api/v1/status and in `dicomnlp check`; reports are read all the same."""
    overlay = tmp_path / "site" / "zh"
    overlay.mkdir(parents=True)
    (overlay / "concepts.toml").write_text(
        '[concepts]\nnodule = { terms = ["球球"], colour = "red" }\n', encoding="utf-8"
    )
    (overlay / "context.toml").write_text("[[cues]\n", encoding="utf-8")
    service = Service(tmp_path, analyse__overlays="site")
    try:
        service.start()
        service.send([make_report(1, "双肺未见实变。")])
        assert service.wait_until_analysed()["analysed"] == 1
        refused = json.loads(service.get("/api/v1/status")[1])["refused_overlays"]
        checked = service.command("check")
    finally:
        service.kill()
    assert [told.split(": ")[0] for told in refused["zh"]] == ["zh/concepts.toml:2", "zh/context.toml:1"]
    assert checked.returncode == 1
    assert "zh/concepts.toml:2: concepts.nodule.colour" in checked.stdout + checked.stderr
    logged = [json.loads(line) for line in service.stderr.read_text().splitlines() if line.startswith("{")]
    told = [line for line in logged if line.get("event") == "overlay_refused"]
    assert told
    assert told[0]["count"] == 2
    assert told[0]["message"].startswith("zh/concepts.toml:2: ")
