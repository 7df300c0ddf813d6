"""Runs migrations on the connection that `cloud.store.migrate` hands in."""

from alembic import context

from cloud.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
