"""What people see in a browser: the pages, each from what the store answers within the reader's scope.

They work without script; with it they refresh themselves and tell of a finding where its words stand. Who may see what
is said by `require` at each route, and each view leaves its row in the audit trail.
"""

from collections.abc import Callable

from fastapi import FastAPI

from dicomnlp.config import Settings
from dicomnlp.serve import (
    documentation,
    error_pages,
    pages_annotate,
    pages_annotations,
    pages_critical,
    pages_drift,
    pages_follow_up,
    pages_operation,
    pages_pipelines,
    pages_reconciliation,
    pages_remarks,
    pages_search,
    pages_study,
    pages_worklist,
    rendering,
)
from dicomnlp.serve.access_identities import Shown
from dicomnlp.serve.connection import Connection
from dicomnlp.serve.models_in_use import ModelsInUse
from dicomnlp.store.status import Status


def register(
    app: FastAPI,
    settings: Settings,
    connection: Connection,
    shown: Shown,
    read_status: Callable[[], Status],
    models: ModelsInUse,
) -> None:
    """Add all pages to `app`, none of which is in the OpenAPI document; what is `shown` depends on who asks."""
    rendering.register_static(app)
    documentation.register(app)
    pages_worklist.register(app, connection)
    pages_study.register(app, connection, shown)
    pages_search.register(app, connection, shown)
    pages_follow_up.register(app, connection, shown)
    pages_critical.register(app, connection)
    pages_operation.register(app, settings, connection, read_status, models)
    pages_pipelines.register(app, settings, connection)
    pages_reconciliation.register(app, settings, connection)
    pages_drift.register(app, connection)
    pages_remarks.register(app, connection)
    pages_annotate.register(app, connection)
    pages_annotations.register(app, connection)
    error_pages.install(app)
