"""Alembic migrations; each module in versions/ is one step."""
