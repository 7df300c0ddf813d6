"""The plan of the house as data: who imports whom, where each library lives, how large things are.

`tests/test_house.py` holds the code to this plan. A new module, library or exception is one line.

* A pattern is a file (`wire/link.py`), a folder with its slash (`cloud/cli/`), or a file name that
  counts in every folder (`__main__.py`). A leading `!` takes something out again.
* A pure module or a ratchet row that is no longer there fails like a breach: the plan stays true.
"""

# Which of our packages a package may import besides itself. The folder is the first path segment.
IMPORT_LAW: dict[str, frozenset[str]] = {
    "wire": frozenset(),
    "dlms": frozenset(),
    "policy": frozenset(),
    "mosquitto": frozenset(),
    "cloud": frozenset({"wire", "mosquitto", "policy"}),
    "edge_agent": frozenset({"wire", "dlms"}),
    "meter_sim": frozenset({"dlms"}),
    "docs": frozenset(),  # the examples are written as a stranger would write them
    "bench": frozenset({"wire", "dlms", "cloud", "edge_agent", "meter_sim", "mosquitto", "policy"}),
    "tests": frozenset({"wire", "dlms", "cloud", "edge_agent", "meter_sim", "mosquitto", "policy"}),
}

# The one place that hosts real agents over in-process meters; `wire` stays out of it.
IMPORT_LAW_OF_FILES: dict[str, frozenset[str]] = {
    "meter_sim/fleet.py": frozenset({"dlms", "edge_agent"}),
}

# Parts of a package that see less of it: pattern -> (modules of ours that are out of bounds, why).
OUT_OF_BOUNDS: dict[str, tuple[tuple[str, ...], str]] = {
    "cloud/audit/": (tuple(IMPORT_LAW), "the auditor shares no code with what it audits"),
    # What it may see of `cloud` itself: tests/cloud/guard/test_independence.py.
    "cloud/guard/": (("mosquitto", "policy"), "the guard takes no facts or rules from others"),
}

PRODUCT = ("wire", "dlms", "policy", "mosquitto", "cloud", "edge_agent", "meter_sim")

# One home per library per package. Only product code is held to it: tests meet libraries freely.
LIBRARY_HOMES: dict[str, tuple[str, ...]] = {
    "alembic": ("cloud/store.py", "cloud/migrations/"),
    "click": ("cloud/cli/", "__main__.py"),
    "cryptography": (
        "mosquitto/certificates.py",
        "cloud/audit/",
        "cloud/cli/",
        "cloud/doctor/files.py",
    ),
    "gmqtt": ("wire/link.py", "wire/gmqtt_guards.py"),
    "httptools": ("cloud/intake/fetching.py",),
    "msgspec": (
        *("wire/", "cloud/ceremony/", "cloud/configuration.py"),
        "edge_agent/configuration.py",
    ),
    "nacl": ("wire/keys.py", "wire/sealed_keys.py"),
    "sqlalchemy": ("cloud/", "!cloud/intake/", "!cloud/guard/"),
    "sqlite_utils": (
        *("cloud/intake/spool.py", "cloud/intake/spool_schema.py"),
        "edge_agent/journal.py",
    ),
    "starlette": ("cloud/intake/server.py",),
    "uvicorn": ("cloud/intake/server.py",),
    "uvloop": ("cloud/cli/", "__main__.py"),
}

# Values in, values out. What they import of ours is held to the same list, however far away.
PURE_MODULES = (
    "wire/fields.py",
    "wire/vocabulary.py",
    "wire/topics.py",
    "wire/messages.py",
    "wire/documents.py",
    "wire/decoding.py",
    "wire/envelope.py",
    "wire/trust.py",
    "wire/chain.py",
    "wire/checking.py",
    "cloud/guard/asked.py",
    "cloud/guard/rules.py",
    "cloud/guard/thresholds.py",
    "cloud/rules.py",
    "edge_agent/verification.py",
)
DOES_IO = frozenset(
    {
        "alembic",
        "asyncio",
        "concurrent",
        "ctypes",
        "ftplib",
        "glob",
        "gmqtt",
        "http",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "sched",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "smtplib",
        "socket",
        "socketserver",
        "sqlalchemy",
        "sqlite3",
        "sqlite_utils",
        "ssl",
        "starlette",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
        "uvicorn",
        "uvloop",
    }
)
READS_THE_WORLD = frozenset({"open", "print", "input", "now", "utcnow", "today"})  # calls

# Ceilings; style keeps most things far below them.
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 60
MAX_LINE_COLUMNS = 100
MAX_ARGUMENTS = 5  # `self` and `cls` not counted; then a frozen dataclass
MAX_NESTING = 3
MAX_MEDIAN_FUNCTION_LINES = 14

# The ratchet: what is over a ceiling today, with its size today. It may only shrink.
# "lines cloud/engine.py": 360, "function cloud/engine.py:run": 64, "nesting ...", "arguments ..."
OVER_THE_CEILING: dict[str, int] = {
    "arguments cloud/imports.py:import_file": 6,
}

# The tree names the domain, never the pattern.
BANNED_FILE_WORDS = frozenset(
    {
        "util",
        "utils",
        "helper",
        "helpers",
        "common",
        "core",
        "manager",
        "managers",
        "models",
        "service",
        "services",
        "handler",
        "handlers",
        "misc",
    }
)

# The glossary's worst synonyms as names in code: word -> (the glossary's word, where it is right).
BANNED_WORDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "admin": ("operator", ()),
    "beacon": ("hello", ()),
    "breaker": ("relay", ()),
    "customer": ("consumer", ()),
    # A dashboard is a stranger's live view: its place is the live topics and who may read them.
    "dashboard": ("desk", ("mosquitto/", "cloud/live.py", "cloud/live/", "docs/")),
    "dc": ("no abbreviation: it has three meanings here", ()),
    "dcu": ("concentrator", ()),
    "gateway": ("provider or concentrator", ()),
    "heartbeat": ("hello", ()),
    "incident": ("episode", ()),
    "invoice": ("bill", ()),
    "psp": ("provider", ()),
    "recharge": ("payment", ()),
    "transaction_id": ("payment_id or object_id", ()),
    "work_order": ("crew_ticket", ()),
}

# Invariants (docs/architecture.md) that at least one test file must cite by number.
CITED_INVARIANTS = ("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "I13")

# Folders of scripts that a tool loads by path: no packages, no reading order.
SCRIPT_FOLDERS = ("cloud/migrations/", "docs/")


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether the file's path is in any of the patterns and in none that begins with `!`."""

    def is_in(pattern: str) -> bool:
        if pattern.endswith("/"):
            return path.startswith(pattern)
        return path == pattern or ("/" not in pattern and path.endswith("/" + pattern))

    taken_out = any(is_in(one[1:]) for one in patterns if one.startswith("!"))
    return not taken_out and any(is_in(one) for one in patterns)
