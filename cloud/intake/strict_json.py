"""JSON of one spelling: a provider's text becomes values, or the reason why it cannot.

Rule kept here: a key that stands twice, NaN, or anything but UTF-8 JSON is not read at all, since
another reader could read it otherwise. A value is of the type asked for, or the shape is wrong.
"""

import json
import re
from typing import Any, NoReturn

Object = dict[str, Any]


class ShapeError(ValueError):
    """The text is not of the documented shape; the error's words are the reason that is kept."""


def parse(raw: bytes) -> Object:
    """The JSON object that `raw` holds.

    Raises:
        ShapeError: it is no JSON object with one meaning.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except ShapeError:
        raise
    except UnicodeDecodeError:
        raise ShapeError("not UTF-8") from None
    except RecursionError:
        raise ShapeError("nested too deeply") from None
    except ValueError:  # the parser's own; also integers of more than 4,300 digits
        raise ShapeError("not JSON") from None
    if not isinstance(value, dict):
        raise ShapeError("not a JSON object")
    return value


def canonical(value: Object) -> bytes:
    """The one spelling of a parsed value: sorted keys, no spaces, ASCII.

    Raises:
        ShapeError: a number beyond a double, which reads as infinite, or nesting beyond reason.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        raise ShapeError("cannot be written in one spelling") from None
    return text.encode()


def value_of(holder: Object, name: str, kind: type[Any]) -> Any:
    """The value under `name`, of that type.

    Raises:
        ShapeError: missing, or of another type.
    """
    value = holder.get(name)
    if not isinstance(value, kind):
        raise ShapeError(f"{name} is missing or of the wrong type")
    return value


def text_of(holder: Object, name: str, pattern: re.Pattern[str]) -> str:
    """The text under `name`, which matches the whole pattern.

    Raises:
        ShapeError: missing, no text, or another spelling.
    """
    value = holder.get(name)
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise ShapeError(f"{name} does not match {pattern.pattern}")
    return value


def integer(value: object, name: str, limit: int) -> int:
    """The value, an integer of 0 to below `limit`.

    Raises:
        ShapeError: anything else.
    """
    # `type`, not isinstance: in Python True is an int.
    if type(value) is not int or not 0 <= value < limit:
        raise ShapeError(f"{name} is no integer of 0 to {limit - 1}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> Object:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Two readers may each take another one of the two values.
        raise ShapeError("a key stands twice")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise ShapeError("NaN or Infinity")
