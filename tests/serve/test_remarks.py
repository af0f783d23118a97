"""What a second reader would remark, over HTTP and as pages."""

import pytest
from support.patients import Visit, come, study_uid

SIDES = "FINDINGS: 8 mm solid nodule in the left upper lobe.\nIMPRESSION: Right upper lobe nodule."
ORGAN = "FINDINGS: Uterine fibroid."


@pytest.fixture
def remarked(archive):
    """Three reports: one of two sides, one of an organ of the other sex, one of nothing."""
    come(
        archive.database,
        Visit(1, "20260105", "CT CHEST", text=SIDES, patient_id="P-1"),
        Visit(2, "20260106", "US <b>PELVIS", "US", text=ORGAN, patient_id="P-2", sex="M"),
        Visit(3, "20260107", "CT CHEST", text="FINDINGS: Clear lungs.", patient_id="P-3"),
    )
    return archive


def listed(client, path, key, query=""):
    """What is answered under `key`."""
    answered = client.get(f"/api/v1/{path}{query}")
    assert answered.status_code == 200, answered.text
    return answered.json()[key]


def test_discrepancies_have_both_places(client, remarked):
    """In the words of the text, or of the header; the newest study first."""
    organ, sides = listed(client, "discrepancies", "discrepancies")
    assert (sides["kind"], sides["study_instance_uid"]) == ("laterality_text", study_uid(1))
    for place in (sides["first"], sides["second"]):
        assert SIDES[place["start"] : place["end"]] == place["words"]
    assert sides["facts"] == {"findings": "left", "impression": "right"}
    assert (organ["kind"], organ["first"]["field"], organ["second"]["words"]) == (
        "sex",
        "PatientSex",
        "Uterine fibroid",
    )
    assert 0.5 < organ["confidence"] <= 1


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("?kind=sex", ["sex"]),
        ("?min_confidence=0.99", []),
        ("?from=2026-01-06", ["sex"]),
        ("?to=2026-01-05", ["laterality_text"]),
        ("?patient_id=P-1", ["laterality_text"]),
        (f"?study_instance_uid={study_uid(2)}", ["sex"]),
        ("?limit=1", ["sex"]),
    ],
)
def test_discrepancies_fit_the_query(client, remarked, query, kinds):
    """Each parameter alone."""
    assert [d["kind"] for d in listed(client, "discrepancies", "discrepancies", query)] == kinds


@pytest.mark.parametrize("query", ["?kind=odd", "?min_confidence=2", "?limit=0", "?after=odd", "?colour=red"])
def test_discrepancies_refuse_what_they_do_not_know(client, remarked, query):
    """With a problem document."""
    answered = client.get(f"/api/v1/discrepancies{query}")
    assert (answered.status_code // 100, answered.headers["content-type"]) == (4, "application/problem+json")


def test_guidance_tells_what_is_known_missing_and_advised(client, remarked):
    """Of the nodule; a guideline that there isn't is refused."""
    [found] = listed(client, "guidance", "guidance", "?guideline=fleischner_2017")
    assert found["known"] == {"count": "single", "size_mm": "8", "texture": "solid"}
    assert (found["missing"], found["outcome"], found["recommendation"]) == (["risk"], "not_stated", None)
    assert {a["modality"] for a in found["advice"]} == {"CT"}
    assert listed(client, "guidance", "guidance", "?outcome=followed") == []
    assert client.get("/api/v1/guidance?guideline=odd").status_code == 400


def test_quality_measures_are_counted(client, remarked):
    """With what each is, and where it comes from."""
    counted = {m["measure"]: m for m in listed(client, "quality-measures", "measures")}
    assert (counted["mips_364"]["reports"], counted["mips_364"]["met"]) == (1, 0)
    assert (counted["mips_436"]["reports"], counted["mips_436"]["met"]) == (2, 0)
    assert counted["mips_364"]["source"]
    assert listed(client, "quality-measures", "measures", "?from=2027-01-01") == []


def test_unchanged_lists_are_not_sent_again(client, remarked):
    """By their entity tag."""
    tag = client.get("/api/v1/discrepancies").headers["etag"]
    assert client.get("/api/v1/discrepancies", headers={"if-none-match": tag}).status_code == 304


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/second-look", ["Side: findings and impression", "PatientSex", "Uterine fibroid", "US &lt;b&gt;PELVIS"]),
        ("/second-look?lang=zh", ["侧别：所见与印象", "性别"]),
        ("/second-look?kind=sex", ["Uterine fibroid"]),
        ("/second-look/guidance", ["Fleischner", "CT at 6 to 12 months", "Left out"]),
        ("/second-look/guidance?lang=zh&outcome=not_stated", ["Fleischner学会", "6至12个月复查CT"]),
        ("/second-look/quality", ["CT reports document techniques"]),
        ("/second-look/quality?lang=zh", ["CT报告写明降低剂量的技术"]),
    ],
)
def test_pages_show_what_is_remarked(client, remarked, path, words):
    """In both languages; what a report says is never markup."""
    answered = client.get(path)
    assert answered.status_code == 200, answered.text
    for each in words:
        assert each in answered.text
    assert "<b>PELVIS" not in answered.text


@pytest.mark.parametrize(
    "path",
    ["/second-look?kind=odd", "/second-look?min_confidence=many", "/second-look?from=odd", "/second-look?colour=red"],
)
def test_pages_refuse_what_they_do_not_know(client, remarked, path):
    """As everywhere."""
    assert client.get(path).status_code in {400, 422}
