"""A third language by data alone: German reports read whole, chosen without being declared."""

from pathlib import Path

import pytest

from dicomnlp.analyse import analyse, choose_language, load_pack
from dicomnlp.model import Assertion, Narrative

PACKAGE = Path(__file__).resolve().parents[2] / "dicomnlp" / "analyse"

CHEST = """CT Thorax mit Kontrastmittel vom 12.03.2026
Klinische Angaben: Z. n. Mammakarzinom rechts 2019. Husten seit 3 Wochen.
Fragestellung: Metastasen? Lungenembolie?
Befund: Kein Nachweis einer zentralen oder segmentalen Lungenembolie. Im rechten Oberlappen ein 9 mm messender \
Rundherd, in der Voruntersuchung 6 mm. Kleiner Pleuraerguss links mit angrenzender Dystelektase. Keine pathologisch \
vergrößerten Lymphknoten mediastinal oder hilär. Leberzyste im Segment VII, 2,3 cm.
Beurteilung:
1. Größenprogredienter Rundherd im rechten Oberlappen. CT-Kontrolle in 3 Monaten empfohlen.
2. Kleiner Pleuraerguss links.
"""
HEAD = """MRT Schädel nativ und nach KM
Indikation: Frau, 67 Jahre, Schwindel. Ausschluss Ischämie.
Befund: Keine Diffusionsstörung als Hinweis auf eine frische Ischämie. Keine intrakranielle Blutung. Mäßig ausgeprägte \
mikroangiopathische Marklagerveränderungen beidseits. 12 mm großes Meningeom links frontal ohne raumfordernde Wirkung.
Beurteilung: Keine Blutung. Kleines Meningeom links frontal, Verlaufskontrolle in 12 Monaten empfohlen.
"""
ABDOMEN = """Sonographie Abdomen
Befund: Keine fokalen Leberläsionen. Gallenblase mit multiplen Konkrementen bis 12 mm, kein Anhalt für Cholezystitis. \
Gallenwege nicht erweitert. Milz nicht vergrößert. Parenchymzyste der rechten Niere 3,1 x 2,8 cm. Keine freie \
Flüssigkeit.
Beurteilung: Cholezystolithiasis. Steatosis hepatis. V. a. Nierenstein links.
"""

# (report, words, concept, assertion, laterality, millimetres of now)
FINDINGS = [
    (CHEST, "Mammakarzinom", "breast_cancer", "historical", "right", None),
    (CHEST, "Husten", "cough", "present", None, None),
    (CHEST, "Metastasen", "metastasis", "hypothetical", None, None),
    (CHEST, "Lungenembolie.", "pulmonary_embolism", "absent", None, None),
    (CHEST, "Rundherd", "pulmonary_nodule", "present", "right", 9.0),
    (CHEST, "Pleuraerguss", "pleural_effusion", "present", "left", None),
    # the side behind a noun is not that of the noun after "mit"
    (CHEST, "Dystelektase", "atelectasis", "present", None, None),
    (CHEST, "vergrößerten Lymphknoten", "lymphadenopathy", "absent", None, None),
    (CHEST, "Leberzyste", "hepatic_cyst", "present", None, 23.0),
    (HEAD, "Ischämie", "ischemia", "hypothetical", None, None),
    (HEAD, "Diffusionsstörung", "restricted_diffusion", "absent", None, None),
    (HEAD, "intrakranielle Blutung", "intracranial_hemorrhage", "absent", None, None),
    (HEAD, "mikroangiopathische Marklagerveränderungen", "small_vessel_disease", "present", "bilateral", None),
    (HEAD, "Meningeom", "meningioma", "present", "left", 12.0),
    (HEAD, "raumfordernde Wirkung", "mass_effect", "absent", None, None),
    (ABDOMEN, "Leberläsionen", "hepatic_lesion", "absent", None, None),
    (ABDOMEN, "Konkrementen", "cholelithiasis", "present", None, 12.0),
    (ABDOMEN, "Cholezystitis", "cholecystitis", "absent", None, None),
    (ABDOMEN, "erweitert", "biliary_dilatation", "absent", None, None),
    (ABDOMEN, "vergrößert", "splenomegaly", "absent", None, None),
    (ABDOMEN, "Parenchymzyste", "renal_cyst", "present", "right", 31.0),
    (ABDOMEN, "freie Flüssigkeit", "free_fluid", "absent", None, None),
    (ABDOMEN, "Nierenstein", "nephrolithiasis", "possible", "left", None),
]


@pytest.mark.parametrize(
    ("report", "words", "concept", "assertion", "laterality", "size"), FINDINGS, ids=[f[1] for f in FINDINGS]
)
def test_german_reports_are_read(report, words, concept, assertion, laterality, size):
    """The first mention of the words is found with its assertion, its side and its size."""
    start = report.index(words)
    found = analyse(Narrative(report)).findings
    (finding,) = [f for f in found if f.start < start + len(words) and start < f.end and f.concept.id == concept]
    assert finding.assertion == assertion
    assert finding.laterality == laterality
    sizes = [v for m in finding.measurements if m.temporality == "current" for v in m.values]
    assert max(sizes, default=None) == size
    assert finding.language == "de"


def test_recommendations_carry_their_interval():
    """The words of time are the pack's."""
    (recommendation,) = analyse(Narrative(CHEST)).recommendations
    assert (recommendation.modality, recommendation.interval_days_min) == ("CT", 90)


@pytest.mark.parametrize("report", [CHEST, HEAD, ABDOMEN])
def test_undeclared_german_is_told_from_english(report):
    """Both have one script; the site's language gives way where the commonest words are those of another."""
    assert choose_language(report, default="en") == "de"
    assert choose_language("The heart is not enlarged and the lungs are clear. There is no effusion or mass.") == "en"
    assert choose_language("Kein Erguss.", default="en") == "en"  # too short to tell: the site's


def test_pack_is_as_large_as_it_says():
    """Concepts that another pack lends their codes, and cases that try them all."""
    pack = load_pack("de")
    assert len([c for c in pack.concepts.values() if c.terms or c.compose]) >= 150
    assert len(pack.cases) >= 80
    assert {c.assertion for c in pack.cases} == set(Assertion)


def test_no_code_knows_the_language():
    """A language is a folder: nothing of the engine names it."""
    named = [p for p in PACKAGE.rglob("*.py") if '"de"' in p.read_text(encoding="utf-8")]
    assert named == []
