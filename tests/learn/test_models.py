"""Models that are trained on a site's own reports: better where the site speaks its own language, used only if so."""

import json
import pickle

import pytest
from support.local_language import gold, site_reports

from dicomnlp.analyse import analyse, load_pack, pipeline_name, refused_models, use_models
from dicomnlp.analyse.learned_files import read_folder
from dicomnlp.analyse.learned_registry import REGISTRY, read_registry
from dicomnlp.errors import ModelRefusedError, NotFoundError, UsageError
from dicomnlp.learn.comparison import compare_model, use
from dicomnlp.learn.gate import judge
from dicomnlp.learn.gold import patient_of
from dicomnlp.learn.models import find, put_in_use, register, roll_back, train
from dicomnlp.model import Assertion, Narrative

LOCAL = "FINDINGS: Pneumothorax zilch. There is atelectasis. No effusion is seen."


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder of models: "good" was trained on right annotations, "bad" on wrong ones."""
    models = tmp_path_factory.mktemp("site") / "models"
    good = train(gold(site_reports(120)), models, "good", held_out=0.4)
    flipped = [{**record, "labels": None} for record in site_reports(120, wrong=True)]
    bad = train(gold(flipped), models, "bad", held_out=0.4)
    return models, {"good": good, "bad": bad}


@pytest.fixture(autouse=True)
def rules_alone():
    """No test leaves its model to the next."""
    yield
    use(None)


@pytest.fixture
def copy(site, tmp_path):
    """The same folder for a test of its own."""
    import shutil

    shutil.copytree(site[0], tmp_path / "models")
    return tmp_path / "models"


def said(text=LOCAL):
    """Assertion of each finding, by its words."""
    return {f.text.lower(): f for f in analyse(Narrative(text), language="en").findings}


def test_the_model_learns_the_local_language_and_keeps_the_rules(site):
    """On patients that it hasn't seen both are ahead of the rules by far; ConText's answer stays beside the model's."""
    models, trained = site
    scores = trained["good"].folder.card.scores["assertion"]
    assert scores["both"]["value"] > scores["rules"]["value"] + 0.2
    assert scores["both less rules"]["p_value"] < 0.05
    assert said()["pneumothorax"].assertion is Assertion.PRESENT
    before = pipeline_name("en")
    put_in_use(models, "en", "good", "promote", "")
    use_models(models)
    found = said()
    assert found["pneumothorax"].assertion is Assertion.ABSENT
    assert found["pneumothorax"].rules_assertion is Assertion.PRESENT
    assert not found["pneumothorax"].is_negated  # ConText's own
    assert 0.5 < found["pneumothorax"].model_probability <= 1
    assert found["atelectasis"].assertion is Assertion.PRESENT
    assert found["effusion"].assertion is Assertion.ABSENT
    assert pipeline_name("en") != before
    put_in_use(models, "en", None, "rollback", "")


def test_a_site_label_is_learned(site):
    """A label set that no pack knows is in the answer, and the rules' labels stay as they were."""
    models, trained = site
    assert trained["good"].folder.card.scores["labels site"]["both"]["value"] > 0.9
    put_in_use(models, "en", "good", "promote", "")
    use_models(models)
    quiet, loud = (
        "FINDINGS: Pneumothorax zilch. Zilch as to edema.",
        "FINDINGS: There is atelectasis. No edema is seen.",
    )
    analysis = analyse(Narrative(quiet), language="en")
    assert analysis.labels["site"] == {"quiet": "present"}
    assert "site" not in analysis.rules_labels
    assert analysis.rules_labels["chestxray14"]["Pneumothorax"] == "present"
    assert analysis.model.startswith("good@")
    assert analyse(Narrative(loud), language="en").labels["site"] == {"quiet": "absent"}
    put_in_use(models, "en", None, "rollback", "")


def test_the_card_tells_what_the_model_is(site):
    """Data, date, split, scores by each way of reading; nothing of a patient."""
    models, trained = site
    text = (models / "good" / "card.json").read_text()
    card = json.loads(text)
    assert card["data"]["annotated_reports"] + card["data"]["test_reports"] == 120
    assert set(card["scores"]["assertion"]) == {"rules", "model", "both", "both less rules"}
    assert card["pipeline"] == pipeline_name("en")
    assert all(f'"p{n}"' not in text and f'"r{n}"' not in text for n in range(120))
    assert trained["good"].model.digest == read_folder(models / "good").digest


def test_no_patient_is_on_both_sides(site):
    """Every report that tests is of a patient that the split holds out, and they are as many as the card says."""
    _, trained = site
    card = trained["good"].folder.card
    held = [r for r in gold(site_reports(120)) if card.split.holds_out(patient_of(r))]
    assert len(held) == card.data["test_reports"]


def test_the_gate_lets_the_better_model_through_and_not_the_worse(site):
    """By the margin, on patients that neither has seen; the worse breaks protected cases too."""
    models, _ = site
    reports = gold(site_reports(120))
    good = judge(models, find(models, "good"), reports, 0.01)
    assert good.passed, str(good)
    assert good.current == "rules"
    assert 20 < good.reports < 80
    assert not good.broken
    bad = judge(models, find(models, "bad"), reports, 0.01)
    assert not bad.passed
    assert "behind on assertion" in str(bad)


def test_a_model_that_is_no_better_is_not_promoted(site):
    """Against itself it is ahead of nothing."""
    models, _ = site
    put_in_use(models, "en", "good", "promote", "")
    verdict = judge(models, find(models, "good"), gold(site_reports(120)), 0.01)
    put_in_use(models, "en", None, "rollback", "")
    assert verdict.current == "good"
    assert not verdict.passed
    assert "on no task ahead" in str(verdict)


def test_the_gate_asks_for_patients_that_the_model_has_not_seen(site):
    """A set of the training's patients alone proves nothing."""
    models, trained = site
    split = trained["good"].folder.card.split
    seen = [r for r in gold(site_reports(120)) if not split.holds_out(patient_of(r))]
    with pytest.raises(UsageError, match="held out"):
        judge(models, find(models, "good"), seen, 0.01)


def test_a_protected_case_that_breaks_stops_the_gate_and_the_use(copy, tmp_path):
    """A case of the site's overlay: the gate names it, and a model that is used all the same is refused."""
    from dicomnlp.analyse import use_overlays

    overlay = tmp_path / "overlays" / "en"
    overlay.mkdir(parents=True)
    case = '[[cases]]\ntext = "Pneumothorax zilch."\nspan = "Pneumothorax"\nassertion = "present"\n'
    (overlay / "cases.toml").write_text(case)
    use_overlays(tmp_path / "overlays")
    try:
        verdict = judge(copy, find(copy, "good"), gold(site_reports(120)), 0.01)
        assert not verdict.passed
        assert len(verdict.broken) == 1
        assert "breaks protected cases" in str(verdict)
        put_in_use(copy, "en", "good", "promote", "")
        use_models(copy)
        assert refused_models()["en"].reason_code == "model_fails_cases"
        assert said()["pneumothorax"].assertion is Assertion.PRESENT
    finally:
        use_overlays(None)


@pytest.mark.parametrize(
    ("poison", "reason_code"),
    [
        (lambda folder: (folder / "assertion.npy").write_bytes(pickle.dumps({"a": 1})), "model_changed"),
        (lambda folder: (folder / "model.pkl").write_bytes(pickle.dumps({"a": 1})), "model_unsafe"),
        (lambda folder: (folder / "card.json").write_text("{}"), "model_changed"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "model_changed"),
    ],
)
def test_a_poisoned_model_is_refused_and_the_rules_go_on(copy, poison, reason_code):
    """Whatever was done to its folder after the promotion; the name of the pipeline says that no model is used."""
    rules = pipeline_name("en")
    put_in_use(copy, "en", "good", "promote", "")
    poison(copy / "good")
    use_models(copy)
    assert refused_models()["en"].reason_code == reason_code
    assert pipeline_name("en") == rules
    assert said()["pneumothorax"].assertion is Assertion.PRESENT
    with pytest.raises(ModelRefusedError):
        judge(copy, find(copy, "good"), gold(site_reports(60)), 0.01)
    with pytest.raises(ModelRefusedError):
        register(copy, "good")


def test_a_registry_that_cannot_be_read_leaves_the_rules(copy):
    """It is told, and reports are read."""
    (copy / REGISTRY).write_text("not JSON")
    use_models(copy)
    assert refused_models()[""].reason_code == "model_registry"
    assert said()["pneumothorax"].assertion is Assertion.PRESENT


def test_rolling_back_goes_step_by_step_to_the_rules(copy):
    """Through the models that were promoted, and no further."""
    put_in_use(copy, "en", "bad", "promote", "")
    put_in_use(copy, "en", "good", "promote", "")
    assert roll_back(copy, "en").name == "bad"
    assert roll_back(copy, "en").name is None
    assert read_registry(copy).promoted() == {}
    with pytest.raises(UsageError, match="nothing was promoted"):
        roll_back(copy, "en")
    put_in_use(copy, "en", "good", "promote", "")
    assert roll_back(copy, "en").name is None


def test_models_are_never_overwritten(copy):
    """Neither by a training of the same name nor by a folder that was changed."""
    with pytest.raises(UsageError, match="never overwritten"):
        train(gold(site_reports(40)), copy, "good")
    with pytest.raises(NotFoundError):
        find(copy, "other")


def test_too_few_annotations_train_nothing(tmp_path):
    """And leave no folder."""
    with pytest.raises(UsageError, match="too few annotations"):
        train(gold(site_reports(6)), tmp_path / "models", "few")
    assert not (tmp_path / "models" / "few").exists()


def test_a_comparison_counts_what_is_mended_and_broken(site):
    """Rules, model and both answer the same reports; calibration is of the model's answers."""
    _, trained = site
    comparison = compare_model(gold(site_reports(40)), trained["good"].folder)
    assert set(comparison.evaluations) == {"rules", "model", "both"}
    [contest] = [c for c in comparison.contests if c.task == "assertion" and c.second == "both"]
    mistakes = {way: len(e.scores[0].mistakes) for way, e in comparison.evaluations.items()}
    assert len(contest.changed.mended) - len(contest.changed.broken) == mistakes["rules"] - mistakes["both"]
    assert sum(b.answers for b in comparison.calibration.bins) == 80


def test_the_pack_stays_as_it_was(site):
    """After trainings and comparisons the process reads by the rules."""
    assert analyse(Narrative(LOCAL), language="en").model == ""
    assert load_pack("en").language == "en"
