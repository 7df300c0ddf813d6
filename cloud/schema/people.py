"""What people ask for, must look at, and gave: requests, alarms, imported files."""

from sqlalchemy import Index, Table, text

from cloud.schema.columns import metadata, number, octets, one_of, row_id, words
from cloud.vocabulary import RequestKind

# What a person asks for. The engine weighs each by its own rules and writes what became of it.
requests = Table(
    "requests",
    metadata,
    row_id(),
    words("kind"),
    words("subject"),  # a ticket's or move's number, an account, an agent: as the kind says
    words("detail"),
    words("asked_by"),
    number("asked_at_ms"),
    number("handled_at_ms", is_optional=True),
    words("result", is_optional=True),
    one_of("kind", RequestKind),
    Index(
        "unhandled_requests",
        "id",
        sqlite_where=text("handled_at_ms IS NULL"),
        postgresql_where=text("handled_at_ms IS NULL"),
    ),
    sqlite_strict=True,
)

# What a person must look at: forks, quarantines, unknown spools.
alarms = Table(
    "alarms",
    metadata,
    row_id(),
    words("code"),
    words("subject"),
    words("detail"),
    number("raised_at_ms"),
    sqlite_strict=True,
)

# Which files were imported, so that importing one twice says so.
imported_files = Table(
    "imported_files",
    metadata,
    row_id(),
    words("kind"),
    words("name"),
    octets("digest"),
    number("rows"),
    number("imported_at_ms"),
    sqlite_strict=True,
)
