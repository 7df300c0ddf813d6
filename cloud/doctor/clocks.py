"""Time: this host's clock against the kernel's word, the ledger's rows and the intakes' watermarks.

A wrong clock signs expiries that agents refuse, or accepts what has ended.
"""

import ctypes
import os
import time
from pathlib import Path

from cloud.doctor.findings import Check, Code, Finding, Note, NotProven, Remarks, Subject
from cloud.doctor.ledger_facts import read_facts

AHEAD_MAX_MS = 60_000  # between two hosts; welcomes and watermarks are judged to minutes
_STA_UNSYNC = 0x40
_TIME_ERROR = 5  # adjtimex: the clock is not synchronised
_TIMEX_BYTES = 512  # struct timex has 208; the kernel writes what it knows
_STATUS_AT = 40  # offset of `status`: modes (padded) and four longs stand before it
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")


def is_synchronised(subject: Subject) -> Remarks:
    """The kernel's word, which whoever sets the clock (chrony, timesyncd, ptp) gives it."""
    is_good = kernel_is_synchronised()
    how = "chronyc tracking, or timedatectl, on the host"
    if is_good:
        return []
    if is_good is None or in_container():
        return [NotProven("the host's own clock cannot be seen from a container", how)]
    text = "the kernel says that nobody synchronises this host's clock"
    if not subject.is_production:
        return [Note(f"{text}; in production this is a finding")]
    return [Finding(Code.CLOCK_UNSYNCHRONISED, text)]


def is_not_behind_the_ledger(subject: Subject) -> Remarks:
    """What this host wrote with its clock cannot be later than now."""
    ahead_ms = read_facts(subject).newest_at_ms - subject.now_ms
    if ahead_ms <= AHEAD_MAX_MS:
        return []
    text = f"the ledger's newest row is {ahead_ms / 1_000:.0f} s later than this host's clock"
    return [Finding(Code.CLOCK_BEHIND_LEDGER, text)]


def watermarks_are_not_ahead(subject: Subject) -> Remarks:
    """An intake with a fast clock says "complete up to" a time that has not come."""
    return [
        Finding(
            Code.WATERMARK_AHEAD,
            f"{one.intake}'s newest watermark is {ahead_ms / 1_000:.0f} s later than our clock",
        )
        for one in read_facts(subject).spools
        if (ahead_ms := one.watermark_at_ms - subject.now_ms) > AHEAD_MAX_MS
    ]


def boot_clock_goes_on(_: Subject) -> Remarks:
    """A clock that nobody sets and that goes on while the host sleeps."""
    try:
        now_s, monotonic_s = time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic()
    except (AttributeError, OSError) as error:
        return [Finding(Code.BOOT_CLOCK_MISSING, f"CLOCK_BOOTTIME: {error}")]
    if now_s + 1 < monotonic_s:
        text = f"CLOCK_BOOTTIME says {now_s:.0f} s, the monotonic clock {monotonic_s:.0f} s"
        return [Finding(Code.BOOT_CLOCK_MISSING, text)]
    return []


def kernel_is_synchronised() -> bool | None:
    """What adjtimex says; None if it cannot be asked."""
    if not Path("/proc/self").exists() or ctypes.sizeof(ctypes.c_long) != 8:
        return None  # another layout than the one above
    told = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes 0: ask, change nothing
    state = ctypes.CDLL(None, use_errno=True).adjtimex(told)
    if state < 0:
        return None
    status = int.from_bytes(told.raw[_STATUS_AT : _STATUS_AT + 4], "little")
    return state != _TIME_ERROR and not status & _STA_UNSYNC


def in_container() -> bool:
    """Whether this process sees a container's world: its clock is the host's affair."""
    if "container" in os.environ or any(Path(one).exists() for one in _CONTAINER_MARKS):
        return True
    first = Path("/proc/1/comm")
    return first.exists() and first.read_text(encoding="utf-8").strip() not in ("systemd", "init")


CHECKS = (
    Check("clock", "this host's clock is synchronised", is_synchronised),
    Check("clock-ledger", "no row of the ledger is from the future", is_not_behind_the_ledger),
    Check("clock-intake", "no watermark is from the future", watermarks_are_not_ahead),
    Check("clock-boot", "a clock goes on while the host sleeps", boot_clock_goes_on),
)
