"""Schema, migrations, queries and writes: the only place that speaks SQL."""
