"""What the auditor says: one line per thing that cannot be true, and what it looked at."""

from collections import Counter
from dataclasses import dataclass, field

FINDINGS_MAX = 1_000  # lines a person may read; a broken ledger would give millions


@dataclass(frozen=True, slots=True)
class Finding:
    """A stored thing that contradicts an invariant."""

    check: str  # "I6"
    subject: str
    detail: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.check} {self.subject}: {self.detail}"


@dataclass(slots=True)
class Report:
    """Everything that was found, and how much was looked at."""

    findings: list[Finding] = field(default_factory=list)
    looked_at: Counter[str] = field(default_factory=Counter)
    left_out: int = 0  # findings beyond the limit

    def add(self, check: str, subject: object, detail: str) -> None:
        """Note a contradiction."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(check, str(subject), detail))
        else:
            self.left_out += 1

    def saw(self, what: str, count: int = 1) -> None:
        """Note what was looked at: a check that saw nothing proved nothing."""
        self.looked_at[what] += count
