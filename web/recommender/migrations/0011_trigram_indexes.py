from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

CREATE = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX IF NOT EXISTS movies_by_trigrams ON recommender_movie USING gin (names gin_trgm_ops);
CREATE INDEX IF NOT EXISTS movies_by_trigrams_unspaced ON recommender_movie
    USING gin (replace(names, ' ', '') gin_trgm_ops);
"""
DROP = "DROP INDEX IF EXISTS movies_by_trigrams, movies_by_trigrams_unspaced;"


class TrigramIndexes(Operation):
    """Let PostgreSQL find pieces of names without reading every movie; SQLite reads them all, and has no such index.

    No part of the models' state, for a model's indexes are made on every database alike.
    """

    reversible = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        pass

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(CREATE)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(DROP)

    def describe(self) -> str:
        return "Index the names of movies by their trigrams, on PostgreSQL"


class Migration(migrations.Migration):
    dependencies = [
        ("recommender", "0010_visitor_side"),
    ]

    operations = [TrigramIndexes()]
