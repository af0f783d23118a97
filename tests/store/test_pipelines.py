"""Pipelines beside the one that counts: kept, compared, promoted while reports arrive, and gone back from."""

import threading

import pytest
import sqlalchemy as sa
from support.records import STUDY, instance_uid, make_finding, make_processed, make_record

from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.model import Assertion, Processed, State
from dicomnlp.store import pipelines, queue, shadow, switching
from dicomnlp.store.comparisons import compare_pipelines
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.pipelines import CONFIGURED, combinations, promote, read_active, read_promotions, taken_back
from dicomnlp.store.queries import findings_of_study, reports_of_study
from dicomnlp.store.reprocess import Selection, state_character_set
from dicomnlp.store.schema import analysis, finding, sop_instance
from dicomnlp.store.search import search_findings
from dicomnlp.store.search_filters import Filters

OLD, NEW = {"en": "en-1+old", "zh": "zh-1+same"}, {"en": "en-1+new", "zh": "zh-1+same"}
EVERY_OLD, EVERY_NEW = combinations(OLD.values()), combinations(NEW.values())
NODULE = (make_finding(),)
NO_NODULE = (make_finding(assertion=Assertion.ABSENT),)


@pytest.fixture
def ids(database):
    """Six reports: 1 to 4 by the old pipeline, 5 by one that both have, 6 waits."""
    receipts = record_arrivals(database, [make_record(n) for n in range(1, 7)])
    ids = {n: r.object_id for n, r in enumerate(receipts, 1)}
    queue.save_processed(database, [processed(ids[n], OLD["en"], NODULE) for n in (1, 2, 3, 4)])
    queue.save_processed(database, [processed(ids[5], OLD["zh"], NODULE)])
    pipelines.add_pipeline(database, "next", b"archive", "ab12", NEW, "local:test")
    return ids


def processed(object_id, pipeline, findings, **more):
    """A result of one report, with these findings."""
    return make_processed(object_id, pipeline, findings=findings, **more)


def counting(database):
    """(pipeline, assertions) of each report that is analysed, by its number: as a reader sees it."""
    found = {}
    for report in reports_of_study(database, STUDY):
        if report.analysis is not None:
            found[int(report.sop_instance_uid.rpartition(".")[2])] = (report.analysis.pipeline, [])
    for f in findings_of_study(database, STUDY):
        pipeline, said = found[int(f.sop_instance_uid.rpartition(".")[2])]
        assert f.pipeline == pipeline  # never findings of one and a report of another
        said.append(f.finding.assertion.value)
    return found


def test_shadow_is_seen_by_nobody_who_does_not_ask(database, ids):
    """Neither findings nor searches change; the same run again finds nothing to do."""
    before = counting(database)
    chosen, done = shadow.objects_for_shadow(database, Selection(everything=True), EVERY_NEW)
    assert (chosen, done) == ([ids[n] for n in (1, 2, 3, 4)], 1)  # 5 is by it anyway, 6 has none to compare with
    shadow.save_shadow(database, "next", [processed(i, NEW["en"], NO_NODULE) for i in chosen])
    assert counting(database) == before
    assert len(search_findings(database, Filters()).findings) == 5
    assert shadow.objects_for_shadow(database, Selection(everything=True), EVERY_NEW) == ([], 5)


def test_sample_is_the_same_each_time_and_of_those_selected(database, ids):
    """So that a run that was stopped goes on with the same reports."""
    chosen, _ = shadow.objects_for_shadow(database, Selection(everything=True), EVERY_NEW, sample=3)
    again, _ = shadow.objects_for_shadow(database, Selection(everything=True), EVERY_NEW, sample=3)
    assert chosen == again
    assert len(chosen) + 1 >= 3 >= len(chosen)
    assert set(chosen) <= set(ids.values())


def test_shadow_leaves_the_analysis_that_counts(database, ids):
    """Also where the pipeline is the same: its findings keep their numbers."""
    before = [f.id for f in findings_of_study(database, STUDY)]
    shadow.save_shadow(database, "next", [processed(ids[1], OLD["en"], NO_NODULE)])
    assert [f.id for f in findings_of_study(database, STUDY)] == before


def test_comparison_tells_findings_added_gone_and_changed(database, ids):
    """By concept and assertion, with examples; reports that one of the two hasn't read don't count."""
    effusion = (make_finding("pleural_effusion", "effusion", 53, Assertion.ABSENT),)
    shadow.save_shadow(
        database,
        "next",
        [
            processed(ids[1], NEW["en"], NODULE),  # the same
            processed(ids[2], NEW["en"], NO_NODULE),
            processed(ids[3], NEW["en"], NODULE + effusion),
            Processed(ids[4], State.FAILED, NEW["en"], reason_code="language_not_supported"),
        ],
    )
    found = compare_pipelines(database, "next", EVERY_NEW)
    assert (found.compared, found.same_analysis, found.differing, found.unchanged) == (3, 1, 2, 2)
    told = {(c.kind, c.concept_id, c.assertion_before, c.assertion_after, c.count) for c in found.changes}
    assert told == {
        ("changed", "pulmonary_nodule", "present", "absent", 1),
        ("added", "pleural_effusion", None, "absent", 1),
    }
    [changed] = [c for c in found.changes if c.kind == "changed"]
    [example] = changed.examples
    assert example.before.sop_instance_uid == example.after.sop_instance_uid == instance_uid(2)
    assert (found.total("added"), found.total("gone"), found.total("changed")) == (1, 0, 1)
    assert found.failures == (("language_not_supported", 1),)
    assert found.failed == ((instance_uid(4), "language_not_supported"),)
    back = compare_pipelines(database, CONFIGURED, EVERY_OLD, EVERY_NEW)
    assert {(c.kind, c.assertion_before, c.assertion_after) for c in back.changes} == {
        ("changed", "absent", "present"),
        ("gone", "absent", None),
    }
    assert compare_pipelines(database, "next", EVERY_NEW, kind="gone").changes == ()
    assert len(compare_pipelines(database, "next", EVERY_NEW, concept="pleural_effusion").changes) == 1


def test_success_in_shadow_takes_an_earlier_failure_back(database, ids):
    """What failed is told only as long as it does."""
    failed = Processed(ids[1], State.FAILED, NEW["en"], reason_code="timeout")
    shadow.save_shadow(database, "next", [failed])
    shadow.record_shadow_failure(database, "next", ids[1], "worker_killed")
    assert compare_pipelines(database, "next", EVERY_NEW).failures == (("worker_killed", 1),)
    shadow.save_shadow(database, "next", [processed(ids[1], NEW["en"], NODULE)])
    assert compare_pipelines(database, "next", EVERY_NEW).failures == ()


def test_promotion_switches_what_was_read_in_shadow_and_marks_the_rest(database, ids):
    """Each report is all old or all new; what waits is read by the new one, and going back restores what counted."""
    shadow.save_shadow(database, "next", [processed(ids[n], NEW["en"], NO_NODULE) for n in (1, 2)])
    before = counting(database)
    promotion = promote(database, "next", NEW, "local:test")
    assert read_active(database).name == "next"
    done = switching.bring_all(database, promotion.id, EVERY_NEW)
    assert (done.unchanged, done.switched, done.marked, done.finished_at is not None) == (1, 2, 2, True)
    old, new = (OLD["en"], ["present"]), (NEW["en"], ["absent"])
    assert counting(database) == {1: new, 2: new, 3: old, 4: old, 5: (OLD["zh"], ["present"])}
    assert states(database) == {1: "analysed", 2: "analysed", 3: "pending", 4: "pending", 5: "analysed", 6: "pending"}
    queue.save_processed(
        database, [processed(ids[n], NEW["en"], NO_NODULE, generation=promotion.id) for n in (3, 4, 6)]
    )
    assert {p for p, _ in counting(database).values()} == {NEW["en"], NEW["zh"]}
    taken, target = taken_back(read_promotions(database))
    assert (taken.id, target) == (promotion.id, None)
    back = promote(database, CONFIGURED, OLD, "local:test", undoes=taken.id)
    done = switching.bring_all(database, back.id, EVERY_OLD)
    assert (done.unchanged, done.switched, done.marked) == (1, 4, 1)  # 6 has never been read by the old one
    assert {n: told for n, told in counting(database).items() if n != 6} == before
    assert taken_back(read_promotions(database)) is None


def states(database):
    """State of each report by its number."""
    with database.read() as connection:
        rows = connection.execute(sa.select(sop_instance.c.sop_instance_uid, sop_instance.c.state))
        return {int(row.sop_instance_uid.rpartition(".")[2]): row.state for row in rows}


def test_results_of_before_a_promotion_are_not_saved(database, ids):
    """From the moment on new reports are by the new one: what a worker still had in hand is read again."""
    promotion = promote(database, "next", NEW, "local:test")
    assert queue.save_processed(database, [processed(ids[6], OLD["en"], NODULE, generation=0)]) == 0
    assert states(database)[6] == "pending"
    assert queue.save_processed(database, [processed(ids[6], NEW["en"], NODULE, generation=promotion.id)]) == 1
    assert counting(database)[6] == (NEW["en"], ["present"])


def test_promotion_goes_on_where_it_was_cut_off(database, ids, monkeypatch):
    """Whoever continues it; each report is looked at once."""
    monkeypatch.setattr(switching, "AT_ONCE", 2)
    shadow.save_shadow(database, "next", [processed(ids[n], NEW["en"], NO_NODULE) for n in (1, 2, 3, 4)])
    promotion = promote(database, "next", NEW, "local:test")
    assert switching.bring_some(database, promotion.id, EVERY_NEW)
    half = counting(database)
    assert [half[n][0] for n in (1, 2, 3, 4)] == [NEW["en"], NEW["en"], OLD["en"], OLD["en"]]
    assert pipelines.unfinished_promotion(database).id == promotion.id
    assert promote(database, "next", NEW, "local:test").id == promotion.id  # asked again: it goes on
    done = switching.bring_all(database, promotion.id, EVERY_NEW)
    assert (done.unchanged, done.switched, done.marked) == (1, 4, 0)
    assert pipelines.unfinished_promotion(database) is None


def test_a_later_promotion_ends_an_earlier_one(database, ids, monkeypatch):
    """Half-way forth, then back: everything is as it was."""
    monkeypatch.setattr(switching, "AT_ONCE", 2)
    shadow.save_shadow(database, "next", [processed(ids[n], NEW["en"], NO_NODULE) for n in (1, 2, 3, 4)])
    before = counting(database)
    forth = promote(database, "next", NEW, "local:test")
    switching.bring_some(database, forth.id, EVERY_NEW)
    back = promote(database, CONFIGURED, OLD, "local:test", undoes=forth.id)
    assert not switching.bring_some(database, forth.id, EVERY_NEW)
    switching.bring_all(database, back.id, EVERY_OLD)
    assert counting(database) == before


def test_going_back_brings_back_what_counted_and_not_what_the_program_would_say(database, ids):
    """A report that was last read by a pipeline of long ago is again the one of long ago."""
    queue.save_processed(database, [processed(ids[1], "en-0+ancient", NODULE)])
    shadow.save_shadow(database, "next", [processed(ids[n], NEW["en"], NO_NODULE) for n in (1, 2)])
    forth = promote(database, "next", NEW, "local:test")
    switching.bring_all(database, forth.id, EVERY_NEW)
    back = promote(database, CONFIGURED, OLD, "local:test", undoes=forth.id)
    switching.bring_all(database, back.id, EVERY_OLD)
    assert counting(database)[1] == ("en-0+ancient", ["present"])
    assert counting(database)[2] == (OLD["en"], ["present"])


def test_text_to_be_read_in_another_character_set_is_analysed_not_switched(database, ids):
    """What was read in shadow before is known to be wrong."""
    shadow.save_shadow(database, "next", [processed(ids[1], NEW["en"], NO_NODULE)])
    state_character_set(database, [instance_uid(1)], "cp1250")
    promotion = promote(database, "next", NEW, "local:test")
    switching.bring_all(database, promotion.id, EVERY_NEW)
    assert states(database)[1] == "pending"
    assert counting(database)[1][0] == OLD["en"]


def test_failed_object_recovers_when_the_promoted_pipeline_could_read_it(database, ids):
    """Its state is that of the analysis that counts."""
    queue.save_processed(database, [Processed(ids[1], State.FAILED, OLD["en"], reason_code="timeout")])
    assert states(database)[1] == "failed"
    shadow.save_shadow(database, "next", [processed(ids[1], NEW["en"], NO_NODULE)])
    promotion = promote(database, "next", NEW, "local:test")
    switching.bring_all(database, promotion.id, EVERY_NEW)
    assert states(database)[1] == "analysed"


def test_readers_see_each_report_all_old_or_all_new_while_it_is_switched(database, ids, monkeypatch):
    """However often they look; and reports arrive meanwhile."""
    monkeypatch.setattr(switching, "AT_ONCE", 1)
    monkeypatch.setattr(switching, "_TURN_SECONDS", 0.005)
    both = (make_finding(assertion=Assertion.ABSENT), make_finding("pleural_effusion", "effusion", 53))
    shadow.save_shadow(database, "next", [processed(ids[n], NEW["en"], both) for n in (1, 2, 3, 4)])
    promotion = promote(database, "next", NEW, "local:test")
    over, seen, wrong = threading.Event(), set(), []

    def look():
        while not over.is_set():
            of_reports = {}
            for f in findings_of_study(database, STUDY):
                of_reports.setdefault(f.sop_instance_uid, []).append((f.pipeline, f.finding.assertion.value))
            for told in of_reports.values():
                seen.add(tuple(told))
                if tuple(told) not in {
                    ((OLD["en"], "present"),),
                    ((OLD["zh"], "present"),),
                    ((NEW["en"], "absent"), (NEW["en"], "present")),
                }:
                    wrong.append(told)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        while switching.bring_some(database, promotion.id, EVERY_NEW):
            record_arrivals(
                database, [make_record(100 + len(seen) * 1000 + int(sum(map(len, states(database).values()))))]
            )
    finally:
        over.set()
        reader.join(30)
    assert not wrong
    assert counting(database)[4] == (NEW["en"], ["absent", "present"])


def test_pinned_questions_are_answered_by_the_pipeline_asked_for(database, ids):
    """By the name it was added under or its own, whether it counts or not; of an unknown one there is an error."""
    shadow.save_shadow(database, "next", [processed(ids[n], NEW["en"], NO_NODULE) for n in (1, 2)])
    for name in ("next", NEW["en"]):
        found = findings_of_study(database, STUDY, pipeline=name)
        assert [(f.sop_instance_uid, f.finding.assertion.value) for f in found if f.pipeline == NEW["en"]] == [
            (instance_uid(1), "absent"),
            (instance_uid(2), "absent"),
        ]
        searched = search_findings(database, Filters(pipeline=name, assertions=(Assertion.ABSENT,)))
        assert {f.sop_instance_uid for f in searched.findings} == {instance_uid(1), instance_uid(2)}
        assert search_findings(database, Filters(pipeline=name, concepts=("pulmonary_mass",))).findings == []
    assert len(search_findings(database, Filters(pipeline=OLD["en"])).findings) == 4
    assert {f.pipeline for f in findings_of_study(database, STUDY, pipeline="next")} == {NEW["en"], NEW["zh"]}
    for asked in (
        lambda: findings_of_study(database, STUDY, pipeline="unheard-of"),
        lambda: search_findings(database, Filters(pipeline="unheard-of")),
    ):
        with pytest.raises(NotFoundError):
            asked()


def test_names_are_of_one_pipeline_each(database, ids):
    """The same under the same name is no mistake, another is; the configuration's name is taken."""
    assert not pipelines.add_pipeline(database, "next", b"archive", "ab12", NEW, "local:test")
    with pytest.raises(UsageError):
        pipelines.add_pipeline(database, "next", b"other", "cd34", NEW, "local:test")
    with pytest.raises(UsageError):
        pipelines.add_pipeline(database, CONFIGURED, b"archive", "ab12", NEW, "local:test")
    with pytest.raises(NotFoundError):
        promote(database, "unheard-of", NEW, "local:test")


def test_going_back_again_goes_further_back(database, ids):
    """Each promotion is taken back once; what was taken back is not gone back to."""
    pipelines.add_pipeline(database, "third", b"third", "ef56", {"en": "en-1+third"}, "local:test")
    promote(database, "next", NEW, "local:test")
    promote(database, "third", {"en": "en-1+third"}, "local:test")
    taken, target = taken_back(read_promotions(database))
    assert (taken.pipeline, target.pipeline) == ("third", "next")
    promote(database, target.pipeline, target.names, "local:test", undoes=taken.id)
    with pytest.raises(UsageError):  # somebody else was quicker
        promote(database, CONFIGURED, OLD, "local:test", undoes=taken.id)
    taken, target = taken_back(read_promotions(database))
    assert (taken.pipeline, target) == ("next", None)


def test_pipeline_that_counts_cannot_be_removed_and_others_go_with_their_shadows(database, ids):
    """Analyses that count, or once did, stay."""
    shadow.save_shadow(database, "next", [processed(ids[n], NEW["en"], NO_NODULE) for n in (1, 2)])
    forth = promote(database, "next", NEW, "local:test")
    with pytest.raises(UsageError):
        pipelines.remove_pipeline(database, "next", [NEW["en"]])
    switching.bring_some(database, forth.id, EVERY_NEW)
    back = promote(database, CONFIGURED, OLD, "local:test", undoes=forth.id)
    switching.bring_all(database, back.id, EVERY_OLD)
    shadow.save_shadow(database, "next", [processed(ids[5], NEW["en"], NO_NODULE)])
    assert pipelines.remove_pipeline(database, "next", [NEW["en"]]) == 1  # 1 and 2 counted for a while
    assert [p.name for p in pipelines.read_pipelines(database)] == []
    with database.read() as connection:
        held = connection.scalars(sa.select(analysis.c.object_id).where(analysis.c.pipeline == NEW["en"]))
        assert sorted(held) == [ids[1], ids[2]]
        assert connection.scalar(sa.select(sa.func.count()).where(finding.c.object_id == ids[5])) == 1
    with pytest.raises(NotFoundError):
        pipelines.remove_pipeline(database, "next", [NEW["en"]])
