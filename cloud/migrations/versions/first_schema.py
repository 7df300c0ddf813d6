"""The first schema, with the triggers that keep append-only tables append-only (I3)."""

from alembic import op

from cloud.schema import APPEND_ONLY, metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table, then forbid UPDATE and DELETE where history is kept."""
    connection = op.get_bind()
    metadata.create_all(connection)
    for table in APPEND_ONLY:
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_refuse_{act.lower()} BEFORE {act} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'I3: {table} is append-only'); END"
            )


def downgrade() -> None:
    """A ledger is never taken back to nothing."""
    raise RuntimeError("the first schema has nothing below it: restore a backup instead")
