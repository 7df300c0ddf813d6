"""The documented object of `relight status --json`, and where a value differs from it."""

from typing import Any

NUMBER, WORD, MAYBE = int, str, (int, type(None))
STEP = {"step": WORD, "count": NUMBER, "p50_ms": MAYBE, "p90_ms": MAYBE, "p99_ms": MAYBE}
VERSIONS = [{"version": WORD, "agents": NUMBER}]
# The documented object of `relight status --json`: every name, and what stands behind it.
SCHEMA: dict[str, Any] = {
    "at_ms": NUMBER,
    "last_turn_at_ms": MAYBE,
    "paid_but_dark": NUMBER,
    "stuck": [
        {
            "episode_id": NUMBER,
            "zone": WORD,
            "account_id": WORD,
            "meter_id": WORD,
            "agent_id": WORD,
            "paid_at_ms": NUMBER,
            "stage": WORD,
            "reason": WORD,
            "ticket": MAYBE,
        }
    ],
    "funnel": {
        "since_ms": NUMBER,
        "is_capped": bool,
        "steps": [STEP],
        "armed": NUMBER,
        "captured_to_closed": STEP,
    },
    "backlog": {
        "queued_due": NUMBER,
        "queued_later": NUMBER,
        "live": NUMBER,
        "oldest_due_at_ms": MAYBE,
        "worst_agents": [
            {"agent_id": WORD, "queued_due": NUMBER, "live": NUMBER, "heard_at_ms": MAYBE}
        ],
    },
    "agents": {
        "known": NUMBER,
        "heard_10_min": NUMBER,
        "heard_24_h": NUMBER,
        "silent": NUMBER,
        "suspended": NUMBER,
        "forked_journals": NUMBER,
        "software": VERSIONS,
        "trust": VERSIONS,
        "roster": VERSIONS,
    },
    "intakes": [
        {
            "intake": WORD,
            "spool": WORD,
            "watermark_at_ms": NUMBER,
            "made": NUMBER,
            "stored": NUMBER,
            "providers": [{"provider": WORD, "complete_to_ms": NUMBER, "stored_to_ms": NUMBER}],
        }
    ],
    "locks": [{"kind": WORD, "pending": NUMBER, "effective": NUMBER}],
    "tickets": {"open": NUMBER, "oldest_opened_at_ms": MAYBE},
    "alarms_24_h": [{"code": WORD, "count": NUMBER}],
    "ledger": {
        "generation_ms": NUMBER,
        "epoch": NUMBER,
        "restored_at_ms": MAYBE,
        "opens_frozen_since_ms": MAYBE,
        "standing_stop_ms": MAYBE,
        "standing_stop_note": (str, type(None)),
        "locks_wait_until_ms": NUMBER,
    },
}


def faults(value: Any, schema: Any, at: str = "status") -> list[str]:
    """Where a value is not what the schema says; an empty list proves nothing of its items."""
    if isinstance(schema, dict):
        if not isinstance(value, dict) or value.keys() != schema.keys():
            return [f"{at}: {value!r}"]
        return [one for name in schema for one in faults(value[name], schema[name], f"{at}.{name}")]
    if isinstance(schema, list):
        if not value:
            return [f"{at}: nothing to look at"]
        return [one for each in value for one in faults(each, schema[0], f"{at}[]")]
    return [] if isinstance(value, schema) else [f"{at}: {value!r}"]
