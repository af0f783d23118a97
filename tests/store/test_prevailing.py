"""The rules of what prevails, one by one; docs/explanation/life-of-a-report.md tells them in the same order."""

import dataclasses
import itertools

import pytest

from dicomnlp.store.prevailing import Facts, is_preliminary, prevail, rejection_reason

REPORT = ("LN", "11528-7", "Radiology Report")
CT = ("LN", "18747-6", "CT Report")
MR = ("LN", "18755-9", "MRI Report")
DOSE = ("DCM", "113701", "X-Ray Radiation Dose Report")
EXPIRED = ("DCM", "113039", "Data Retention Policy Expired")
NOTE = ("DCM", "113037", "Rejected for Patient Safety Reasons")


def facts(name, **said):
    """A complete, verified report `name` of one study and patient, that says nothing else than `said`."""
    common = {
        "object_id": ord(name),
        "sop_instance_uid": name,
        "study_instance_uid": "study",
        "patient": "patient",
        "accession_number": "A",
        "title": REPORT,
        "completion_flag": "COMPLETE",
        "verification_flag": "VERIFIED",
        "has_text": True,
    }
    return Facts(**{**common, **said})


def decide(*documents):
    """Name -> status and by what, the same in every order."""
    answers = []
    for order in itertools.permutations(documents):
        found = prevail(order)
        answers.append({chr(i): f"{s.status}{f' by {s.by}' if s.by else ''}" for i, s in sorted(found.items())})
    assert all(a == answers[0] for a in answers)
    return answers[0]


P = facts("p", preliminary_flag="PRELIMINARY")
F = facts("f", preliminary_flag="FINAL")
STANDS, LOST = "prevailing", "superseded by f"


@pytest.mark.parametrize(
    ("preliminary", "final", "expected"),
    [
        ({}, {}, LOST),
        ({"title": CT}, {}, LOST),  # one says what of, the other only that it is a report
        ({"title": ("", "", "")}, {"title": CT}, LOST),
        ({"title": CT}, {"title": MR}, STANDS),
        ({"title": ("99X", "1", "Befund")}, {"title": ("99X", "2", "befund")}, LOST),  # the same words
        ({"title": ("99X", "1", "Befund")}, {}, STANDS),
        ({}, {"title": DOSE, "has_text": False}, STANDS),  # a dose report is complete, and no state of a report
        ({"title": DOSE, "has_text": False}, {"title": DOSE, "has_text": False}, LOST),
        ({}, {"study_instance_uid": "other"}, STANDS),
        ({}, {"accession_number": "B"}, STANDS),
        ({"accession_number": ""}, {}, LOST),
        ({}, {"patient": "other"}, STANDS),
        ({"patient": ""}, {}, LOST),
        ({}, {"preliminary_flag": ""}, LOST),  # complete, and no draft
        ({}, {"preliminary_flag": "", "completion_flag": "PARTIAL", "verification_flag": "UNVERIFIED"}, STANDS),
        ({}, {"preliminary_flag": "", "completion_flag": "PARTIAL"}, STANDS),  # PARTIAL and VERIFIED: also a draft
        ({}, {"completion_flag": "PARTIAL"}, LOST),  # FINAL says enough
        ({}, {"addendum": "title"}, STANDS),
        ({}, {"addendum": "section"}, LOST),  # a final report with its addendum in it
        ({}, {"addendum": "section", "predecessors": ("x",)}, STANDS),
    ],
)
def test_preliminary_report_gives_way_to_the_final_of_the_same_logical_report(preliminary, final, expected):
    """And to nothing else."""
    decided = decide(dataclasses.replace(P, **preliminary), dataclasses.replace(F, **final))
    assert decided == {"f": STANDS, "p": expected}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("PRELIMINARY", "COMPLETE", "VERIFIED"), True),
        (("FINAL", "PARTIAL", "VERIFIED"), False),
        (("", "PARTIAL", "VERIFIED"), True),  # dcm4chee's P
        (("", "PARTIAL", "UNVERIFIED"), False),  # every report of many systems
        (("", "COMPLETE", "UNVERIFIED"), False),
        (("", "", ""), False),
    ],
)
def test_flags_tell_what_is_preliminary(flags, expected):
    """Only where they do."""
    assert is_preliminary(*flags) is expected


CHEST = "Infiltrate in the right lower lobe with a small effusion. Heart size normal."
CHEST_AGAIN = "Infiltrate in the right lower lobe, no effusion after all. Heart size normal."
ABDOMEN = "Gallstones without cholecystitis. Pancreas and kidneys unremarkable."


def draft(name, text="", at="", **said):
    """A preliminary report, written at this time of one day."""
    return facts(name, preliminary_flag="PRELIMINARY", text=text, content_date_time=at and f"20261122{at}", **said)


def final(name, text="", at="", **said):
    """A final report, written at this time of one day."""
    return facts(name, preliminary_flag="FINAL", text=text, content_date_time=at and f"20261122{at}", **said)


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        # it says which one it is the final form of
        ((draft("p", CHEST), draft("q", CHEST), final("f", CHEST, predecessors=("p",))), {"p": LOST, "q": STANDS}),
        # what it names isn't held: as if it named nothing
        ((draft("p"), final("f", predecessors=("x",))), {"p": LOST}),
        # two procedures, one title: the final report says again what its own draft said
        ((draft("p", CHEST), draft("q", ABDOMEN), final("f", CHEST_AGAIN)), {"p": LOST, "q": STANDS}),
        (
            (draft("p", CHEST), draft("q", ABDOMEN), final("f", CHEST_AGAIN), final("g", ABDOMEN)),
            {"p": LOST, "q": "superseded by g"},
        ),
        # two drafts of one report that don't name each other
        ((draft("p", CHEST), draft("q", CHEST_AGAIN), final("f", CHEST)), {"p": LOST, "q": LOST}),
        # drafts that name each other are one report, whatever the final says
        (
            (draft("p", CHEST), draft("q", ABDOMEN, predecessors=("p",)), final("f", "-")),
            {"p": "superseded by q", "q": LOST},
        ),
        # rewritten beyond recognition: still the final form of one
        ((draft("p", CHEST), draft("q", ABDOMEN), final("f", "Normal heart.")), {"p": LOST, "q": STANDS}),
        # one draft alone needs no likeness
        ((draft("p", CHEST), final("f", "Normal.")), {"p": LOST}),
        (
            (draft("p", "右肺下叶见结节。"), draft("q", "肝脏未见异常。"), final("f", "右肺下叶结节。")),
            {"p": LOST, "q": STANDS},
        ),
        # one procedure is done with when the next is reported
        (
            (draft("p", at="100000"), final("f", at="103000"), draft("q", at="110000")),
            {"p": LOST, "q": STANDS},
        ),
        (
            (draft("p", at="100000"), final("f", at="103000"), draft("q", at="110000"), final("g", at="113000")),
            {"p": LOST, "q": "superseded by g"},
        ),
        # the same second, or an unknown time, tells nothing
        ((draft("p", at="103000"), final("f", at="103000")), {"p": LOST}),
        ((draft("p", at="110000"), final("f")), {"p": LOST}),
        # the draft of an amendment is later, and isn't heard until it is final
        ((final("f", at="103000"), draft("p", at="110000", predecessors=("f",))), {"f": STANDS, "p": LOST}),
    ],
)
def test_final_report_supersedes_only_drafts_of_itself(documents, expected):
    """Several preliminary reports under one accession number and title, in every order of arrival."""
    decided = decide(*documents)
    assert {name: decided[name] for name in expected} == expected


def test_reports_without_a_relation_all_prevail():
    """Two finals, a draft of another study, one without any flag."""
    documents = (
        F,
        facts("g"),
        facts("h", completion_flag="", verification_flag=""),
        dataclasses.replace(P, study_instance_uid="x"),
    )
    assert set(decide(*documents).values()) == {STANDS}


def test_amendments_supersede_along_the_chain():
    """Each by the one that names it, the last prevails; a missing link breaks no more than itself."""
    a, b, c = facts("a"), facts("b", predecessors=("a",)), facts("c", predecessors=("b",))
    assert decide(a, b, c) == {"a": "superseded by b", "b": "superseded by c", "c": STANDS}
    assert decide(a, c) == {"a": STANDS, "c": STANDS}
    assert decide(a, dataclasses.replace(c, predecessors=("a", "b")), b)["a"] == "superseded by c"


def test_ring_of_predecessors_leaves_one():
    """The latest verified, else by UID: something always prevails."""
    a = facts("a", predecessors=("c",), verification_date_time="20261122")
    b, c = facts("b", predecessors=("a",)), facts("c", predecessors=("b",))
    decided = decide(a, b, c)
    assert decided["a"] == STANDS
    assert list(decided.values()).count(STANDS) == 1
    assert decide(facts("a", predecessors=("a",))) == {"a": STANDS}


def test_draft_of_an_amendment_does_not_take_the_place_of_the_final_report():
    """Until it is final itself."""
    assert decide(F, dataclasses.replace(P, predecessors=("f",))) == {"f": STANDS, "p": LOST}
    assert decide(F, facts("q", preliminary_flag="FINAL", predecessors=("f",)))["f"] == "superseded by q"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"addendum": "title"}, STANDS),
        ({"addendum": "section"}, STANDS),
        ({}, "superseded by b"),
        ({"addendum": "section", "text": "Findings: - a NODULE. Addendum: late."}, "superseded by b"),
        ({"addendum": "title", "text": "A nodule was overlooked."}, STANDS),
    ],
)
def test_addendum_supersedes_only_what_it_repeats(said, expected):
    """Word for word, whatever case and punctuation."""
    assert decide(facts("a", text="FINDINGS:\n a nodule."), facts("b", predecessors=("a",), **said))["a"] == expected


def test_rejected_report_takes_its_claims_with_it():
    """What it had superseded stands again; nothing comes of a note on what is not held."""
    note = facts("n", title=NOTE, rejects=("f", "x"), has_text=False)
    assert decide(P, F, note) == {"f": "withdrawn by n", "n": STANDS, "p": STANDS}
    assert prevail((F, note))[ord("f")].reason_code == "rejected_for_patient_safety_reasons"


def note(name, *rejects, title=NOTE):
    """A rejection note."""
    return facts(name, title=title, rejects=rejects, has_text=False)


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ((note("m", "f"), note("n", "m")), {"f": STANDS, "m": "withdrawn by n"}),
        # rejecting the note that rejects the note: the first counts again
        ((note("m", "f"), note("n", "m"), note("o", "n")), {"f": "withdrawn by m", "m": STANDS}),
        # one of two is rejected
        ((note("m", "f"), note("o", "f"), note("n", "m")), {"f": "withdrawn by o", "m": "withdrawn by n"}),
        # both in one note: the report is rejected by the note that rejects the note
        ((note("m", "f"), note("n", "f", "m")), {"f": "withdrawn by n", "m": "withdrawn by n"}),
        # each other: nobody's word counts more, and what is withdrawn stays so
        ((note("m", "f", "n"), note("n", "m")), {"f": "withdrawn by m", "m": STANDS, "n": STANDS}),
        # a ring, and one from outside that breaks it
        (
            (note("m", "f", "n"), note("n", "m"), note("o", "n")),
            {"f": "withdrawn by m", "m": STANDS, "n": "withdrawn by m"},
        ),
        # that a note is kept no longer doesn't make it wrong
        ((note("m", "f"), note("n", "m", title=EXPIRED)), {"f": "withdrawn by m", "m": STANDS}),
        ((note("m", "f"), note("n", "f", "m", title=EXPIRED)), {"f": "withdrawn by m", "m": STANDS}),
    ],
)
def test_rejected_rejection_note_gives_the_report_back(notes, expected):
    """By a note for quality, safety or a wrong worklist entry, in every order of arrival."""
    decided = decide(F, *notes)
    assert {name: decided[name] for name in expected} == expected


def test_rejection_titles_are_those_of_dicom():
    """The same number of another scheme is another title."""
    assert rejection_reason("DCM", "113039") == "data_retention_policy_expired"
    assert rejection_reason("99X", "113039") is None
    assert rejection_reason("DCM", "113000") is None


def test_copies_count_once_and_fall_together():
    """Final before preliminary, verified before unverified; named by either; through a third."""
    a = facts("a", identical_documents=("b",), verification_flag="UNVERIFIED")
    b, c = facts("b", study_instance_uid="s2"), facts("c", study_instance_uid="s3", identical_documents=("b",))
    assert decide(a, b, c) == {"a": "identical by b", "b": STANDS, "c": "identical by b"}
    amended = facts("d", predecessors=("c",))
    assert decide(a, b, c, amended) == dict.fromkeys("abc", "superseded by d") | {"d": STANDS}
    note = facts("n", title=NOTE, rejects=("b",), has_text=False)
    assert decide(a, b, c, note)["b"] == "withdrawn by n"
    assert decide(facts("a", copy_key="k"), facts("b", copy_key="k"), facts("c", copy_key="l")) == {
        "a": STANDS,
        "b": "identical by a",
        "c": STANDS,
    }


CHAINS = (
    (P, F, facts("a", addendum="title", predecessors=("f",)), facts("n", title=NOTE, rejects=("p",))),
    (P, F, facts("a", addendum="title", predecessors=("f",)), facts("n", title=NOTE, rejects=("f",))),
    (P, F, facts("r"), facts("n", title=NOTE, rejects=("r",))),
    (P, F, facts("a", predecessors=("f",)), facts("n", title=NOTE, rejects=("a",))),
)


@pytest.mark.parametrize("chain", CHAINS)
def test_chains_are_decided_the_same_in_all_24_orders(chain):
    """`decide` tries them all."""
    assert len(decide(*chain)) == 4


SAME = {"words": "no nodule", "requests": frozenset({"A"})}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, "identical by o"),
        ({"requests": frozenset({"B", "A"}), "study_instance_uid": "other"}, "identical by o"),
        ({"requests": frozenset(), "study_instance_uid": "study"}, "identical by o"),
        ({"requests": frozenset({"B"}), "study_instance_uid": "other"}, STANDS),
        ({"patient": "other"}, STANDS),
        ({"patient": ""}, STANDS),
        ({"words": "nodule"}, STANDS),  # which of both is the corrected one, nobody knows
        ({"words": ""}, STANDS),
        ({"is_message": False}, STANDS),  # two objects may say the same of one request
    ],
)
def test_a_message_that_says_what_an_object_says_counts_once(message, expected):
    """The object stands for both, verified or not; what says another word, or of another request, stays."""
    o = facts("o", **SAME, verification_flag="UNVERIFIED")
    m = facts("m", **{"is_message": True, **SAME, **message})
    assert decide(o, m) == {"m": expected, "o": STANDS}


def test_a_final_message_stands_for_a_preliminary_object_and_falls_with_what_it_repeats():
    """A draft takes no final report's place; a correction takes that of both forms, in whichever form it comes."""
    o, m = facts("o", **SAME), facts("m", is_message=True, **SAME)
    draft = dataclasses.replace(o, preliminary_flag="PRELIMINARY")
    assert decide(draft, m) == {"m": STANDS, "o": "identical by m"}
    corrected = {"words": "a nodule", "requests": frozenset({"A"})}
    by_object = facts("x", **corrected, predecessors=("o",))
    assert decide(o, m, by_object) == {"m": "superseded by x", "o": "superseded by x", "x": STANDS}
    by_message = facts("y", is_message=True, **corrected, predecessors=("m",))
    assert decide(o, m, by_message) == {"m": "superseded by y", "o": "superseded by y", "y": STANDS}
    assert decide(o, m, by_object, by_message) == {
        "m": "superseded by y",
        "o": "superseded by y",
        "x": STANDS,
        "y": "identical by x",
    }
