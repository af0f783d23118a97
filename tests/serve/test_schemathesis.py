"""What the OpenAPI document says, held against the application by schemathesis: requests made from it, right and wrong.

The number of requests for each operation is bounded, so that this takes its share of processor time and no more.
"""

import shutil

import hypothesis
import pytest
import schemathesis
from hypothesis import given, seed
from schemathesis import GenerationMode
from schemathesis.config import (
    ChecksConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from support.records import make_processed, make_record

from dicomnlp.config import DatabaseSettings, Settings, WebSettings
from dicomnlp.serve import access_lockout
from dicomnlp.serve.app import create_app
from dicomnlp.serve.schemas import SOP_INSTANCE_UID, STUDY_INSTANCE_UID
from dicomnlp.store.database import Database
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.keys import add_key
from dicomnlp.store.queue import save_processed
from dicomnlp.store.scope import EVERYTHING

ADDRESS = "http://127.0.0.1:8080"
EXAMPLES = 5
"""Requests of an operation in each mode."""
REFUSALS = {"bad_request", "unsupported_media_type"}
"""Of requests that fit the document: a concept that no pack knows, a cohort without a filter."""
PATHS = create_app(Settings(), lambda: None).openapi()["paths"]
OPERATIONS = [(method, path) for path, methods in PATHS.items() for method in methods]
WITH_INPUT = [
    (method, path)
    for method, path in OPERATIONS
    # whatever bytes STOW-RS is sent, they may be a body
    if (PATHS[path][method].get("parameters") or "requestBody" in PATHS[path][method])
    and (method, path) != ("post", "/dicom-web/studies")
]


@schemathesis.serializer("multipart/related")
def write_body(_context, value):
    """Any bytes: what becomes of parts is tested in tests/dicomweb."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def schema(tmp_path_factory, empty_file):
    """The schema of an application that holds what the document's examples name, and works."""
    file = shutil.copyfile(empty_file, tmp_path_factory.mktemp("schema") / "dicomnlp.db")
    settings = Settings(database=DatabaseSettings(url=f"sqlite:///{file}"), web=WebSettings(authentication="on"))
    database = Database.open(settings)
    _, key = add_key(database, "schemathesis", "admin", EVERYTHING)
    [receipt] = record_arrivals(database, [make_record(SOP_INSTANCE_UID, study=STUDY_INSTANCE_UID)])
    save_processed(database, [make_processed(receipt.object_id)])
    statuses = ["2xx", "3xx", "400", "401", "403", "404", "406", "409", "415"]
    project = ProjectConfig(
        base_url=ADDRESS,
        headers={"Authorization": f"Bearer {key}"},
        checks=ChecksConfig(positive_data_acceptance=PositiveDataAcceptanceConfig(expected_statuses=statuses)),
    )
    with pytest.MonkeyPatch.context() as patch, database.hold("dispatcher"):
        # wrong keys are among what is sent
        patch.setattr(access_lockout, "WRONG_KEYS", 10**9)
        yield schemathesis.openapi.from_asgi(
            "/openapi.json",
            create_app(settings, lambda: database),
            config=SchemathesisConfig(projects=ProjectsConfig(default=project)),
            headers={"Host": "127.0.0.1", "Authorization": f"Bearer {key}"},
        )
    database.close()


def run(strategy, check):
    """Call `check` with a few of the requests of `strategy`, the same ones each time."""
    bounds = hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    seed(1)(bounds(given(case=strategy)(check)))()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_right_requests_are_answered_as_the_document_says(schema, method, path):
    """No 5xx; statuses, media types, bodies that are declared; nothing without a key; refused for what they mean."""

    def check(case):
        response = case.call_and_validate()
        if response.status_code in {400, 415}:
            told = response.json()
            # below /fhir it is an OperationOutcome
            of_fhir = told["issue"][0]["details"]["coding"][0]["code"] if "issue" in told else None
            assert (of_fhir or told["reason_code"]) in REFUSALS

    run(schema[path][method].as_strategy(GenerationMode.POSITIVE), check)


@pytest.mark.parametrize(("method", "path"), WITH_INPUT)
def test_wrong_requests_are_refused_as_the_document_says(schema, method, path):
    """Problem documents that are declared; never a 5xx, and never an answer as if nothing were wrong."""

    def check(case):
        case.call_and_validate()

    run(schema[path][method].as_strategy(GenerationMode.NEGATIVE), check)
