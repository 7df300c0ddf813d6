"""What every table is made of: the one metadata, and columns by their meaning."""

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    literal_column,
    text,
)

metadata = MetaData()

# SQLite's 64-bit type is INTEGER, PostgreSQL's BIGINT.
BigInt = BigInteger().with_variant(Integer, "sqlite")


def row_id() -> Column[int]:
    """A number the database gives."""
    return Column("id", BigInt, primary_key=True, autoincrement=True)


def number(name: str, *, is_optional: bool = False, default: int | None = None) -> Column[int]:
    """An integer: paise, ms UTC, a count, or 0 and 1."""
    return Column(
        name,
        BigInt,
        nullable=is_optional,
        server_default=None if default is None else text(str(default)),
    )


def words(name: str, *, is_optional: bool = False) -> Column[str]:
    """A text."""
    return Column(name, Text, nullable=is_optional)


def octets(name: str, *, is_optional: bool = False) -> Column[bytes]:
    """Bytes."""
    return Column(name, LargeBinary, nullable=is_optional)


def holds(column: ColumnElement[str], word: StrEnum) -> ColumnElement[bool]:
    """The column holds this word, which stands in the statement's text and is no parameter.

    A partial index answers only what the planner can read. SQLite (3.40) even plans a statement
    anew at each execution when a parameter stands where a partial index has its constant.
    """
    return column == literal_column(f"'{word.value}'")


def one_of(column: str, enum: type[StrEnum]) -> CheckConstraint:
    """The column holds a value of the enum."""
    listed = ", ".join(f"'{word.value}'" for word in enum)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_is_known")
