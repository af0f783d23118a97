"""What Alembic runs to migrate: on the connection, and in the transaction, that `admin.upgrade` hands over."""

from alembic import context

from dicomnlp.store import schema  # noqa: F401  which makes the tables
from dicomnlp.store.schema_metadata import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the transaction is the caller's
)
context.run_migrations()
