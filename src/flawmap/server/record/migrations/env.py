"""Alembic's entry: runs the migrations in the transaction that `Database.prepare` began."""

from alembic import context

from flawmap.server.record.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
context.run_migrations()
