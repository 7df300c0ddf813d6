"""Alembic's migrations of the ledger database: `env`, then one module per released schema."""
