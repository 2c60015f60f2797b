"""Run by alembic: the caller's connection and transaction are used, so an upgrade is atomic."""

from __future__ import annotations

from alembic import context

from node.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,  # SQLite alters a table by rebuilding it
)
with context.begin_transaction():
    context.run_migrations()
