"""What a check may say: a finding with its cure, what could not be proven, a note; else it is good.

Rules kept here: nothing that was not tried is called good; every finding has a code and one cure,
and both stand in docs/operations.md.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cloud.configuration import Installation
from wire.link import BrokerAddress, TlsFiles

# Where somebody may have left a broker without TLS: MQTT, and MQTT over websockets.
USUAL_PLAIN_PORTS = (1883, 8080, 9001)
DAY_MS = 86_400_000


class Code(StrEnum):
    """What is wrong."""

    BROKER_UNREACHABLE = "broker_unreachable"
    ANONYMOUS_LET_IN = "anonymous_let_in"
    CERTIFICATE_NOT_DEMANDED = "certificate_not_demanded"
    FOREIGN_AUTHORITY_BELIEVED = "foreign_authority_believed"
    PLAINTEXT_LISTENER = "plaintext_listener"
    OLD_TLS_ACCEPTED = "old_tls_accepted"
    CLIENT_ID_NOT_BOUND = "client_id_not_bound"
    USER_NAME_BELIEVED = "user_name_believed"
    FOREIGN_TOPIC_WRITTEN = "foreign_topic_written"
    FOREIGN_TOPIC_READ = "foreign_topic_read"
    FOREIGN_RETAINED_KEPT = "foreign_retained_kept"
    FOREIGN_WILL_PUBLISHED = "foreign_will_published"
    BROKER_DELAYS = "broker_delays"
    QUEUE_TOO_SHORT = "queue_too_short"
    WINDOW_TOO_SMALL = "window_too_small"
    LARGEST_MESSAGE_REFUSED = "largest_message_refused"
    PACKET_SIZE_UNBOUNDED = "packet_size_unbounded"
    SESSION_FORGOTTEN = "session_forgotten"
    CERTIFICATE_ENDS_SOON = "certificate_ends_soon"
    CLOCK_UNSYNCHRONISED = "clock_unsynchronised"
    CLOCK_BEHIND_LEDGER = "clock_behind_ledger"
    BOOT_CLOCK_MISSING = "boot_clock_missing"
    WATERMARK_AHEAD = "watermark_ahead"
    WATERMARK_STUCK = "watermark_stuck"
    TRUST_REFUSED = "trust_refused"
    REGISTRY_EXPIRED = "registry_expired"
    REGISTRY_ENDS_SOON = "registry_ends_soon"
    DEVELOPMENT_KEY = "development_key"
    KEY_NOT_REGISTERED = "key_not_registered"
    KEY_EPOCH_OLD = "key_epoch_old"
    KEY_ENDS_SOON = "key_ends_soon"
    ENROL_KEY_ENDED = "enrol_key_ended"
    IDENTITY_REFUSED = "identity_refused"
    IDENTITY_MISSING = "identity_missing"
    IDENTITY_ENDS_SOON = "identity_ends_soon"
    TRUST_NOT_TAKEN = "trust_not_taken"
    PRIVATE_FILE_OPEN = "private_file_open"
    FOLDER_WRITABLE = "folder_writable"
    STORE_READABLE = "store_readable"
    STORE_UNUSABLE = "store_unusable"
    STORE_NOT_DURABLE = "store_not_durable"
    STORE_DAMAGED = "store_damaged"
    HISTORY_CHANGEABLE = "history_changeable"
    SCHEMA_DIFFERS = "schema_differs"
    DISK_LOW = "disk_low"
    STORE_IN_MEMORY = "store_in_memory"


_ACL_CURE = "make the acl anew: relight broker init; mosquitto.conf: acl_file"
CURES: dict[Code, str] = {
    Code.BROKER_UNREACHABLE: "start the broker; compare [broker] with its listener and files",
    Code.ANONYMOUS_LET_IN: "mosquitto.conf: allow_anonymous false, require_certificate true",
    Code.CERTIFICATE_NOT_DEMANDED: "mosquitto.conf: require_certificate true",
    Code.FOREIGN_AUTHORITY_BELIEVED: "mosquitto.conf: require_certificate true, cafile our own",
    Code.PLAINTEXT_LISTENER: "take that listener out of mosquitto.conf, or stop that broker",
    Code.OLD_TLS_ACCEPTED: "mosquitto.conf: tls_version tlsv1.3",
    Code.CLIENT_ID_NOT_BOUND: "mosquitto.conf: use_username_as_clientid true",
    Code.USER_NAME_BELIEVED: "mosquitto.conf: use_identity_as_username true",
    Code.FOREIGN_TOPIC_WRITTEN: _ACL_CURE,
    Code.FOREIGN_TOPIC_READ: _ACL_CURE,
    Code.FOREIGN_RETAINED_KEPT: _ACL_CURE,
    Code.FOREIGN_WILL_PUBLISHED: _ACL_CURE,
    Code.BROKER_DELAYS: "mosquitto.conf: set_tcp_nodelay true",
    Code.QUEUE_TOO_SHORT: "mosquitto.conf: max_queued_messages 65536",
    Code.WINDOW_TOO_SMALL: "mosquitto.conf: max_inflight_messages 512",
    Code.LARGEST_MESSAGE_REFUSED: "mosquitto.conf: max_packet_size 65536",
    Code.PACKET_SIZE_UNBOUNDED: "mosquitto.conf: max_packet_size 65536",
    Code.SESSION_FORGOTTEN: "let the broker's user write its persistence_location",
    Code.CERTIFICATE_ENDS_SOON: "issue a new certificate and put it in its place",
    Code.CLOCK_UNSYNCHRONISED: "run chrony or systemd-timesyncd on this host",
    Code.CLOCK_BEHIND_LEDGER: "correct this host's clock before anything is signed with it",
    Code.BOOT_CLOCK_MISSING: "use a Linux with CLOCK_BOOTTIME: time must go on while it sleeps",
    Code.WATERMARK_AHEAD: "correct the clock of that intake's host",
    Code.WATERMARK_STUCK: "look at the intake's log; let its host reach the broker",
    Code.TRUST_REFUSED: "put the root and documents of the root's holders back; check the pin",
    Code.REGISTRY_EXPIRED: "have the root's holders sign a new registry; opens are refused",
    Code.REGISTRY_ENDS_SOON: "have the root's holders sign the next registry now",
    Code.DEVELOPMENT_KEY: "have keys made in a ceremony and registered",
    Code.KEY_NOT_REGISTERED: "have the key registered for that name and role, or correct the file",
    Code.KEY_EPOCH_OLD: "give the engine a key of the current epoch",
    Code.KEY_ENDS_SOON: "have the next key registered before this one ends",
    Code.ENROL_KEY_ENDED: "have a new enrol key registered; until then no agent can be enrolled",
    Code.IDENTITY_REFUSED: "replace the statement by one that a valid enrol key signed",
    Code.IDENTITY_MISSING: "enrol the agent and put its statement into [engine] identities",
    Code.IDENTITY_ENDS_SOON: "enrol the agent again: a new statement with a higher serial",
    Code.TRUST_NOT_TAKEN: "look at that agent's log: it refuses the documents or its clock is off",
    Code.PRIVATE_FILE_OPEN: "chmod 0600 the file; if others could read it, replace the key",
    Code.FOLDER_WRITABLE: "chmod o-w the folder, and go-w where keys are",
    Code.STORE_READABLE: "chmod 0600 the file and its -wal and -shm",
    Code.STORE_UNUSABLE: "let this user read the file; if it is no store, restore the backup",
    Code.STORE_NOT_DURABLE: "keep it on a local file system that has WAL and honours fsync",
    Code.STORE_DAMAGED: "stop its process, keep the file, restore the newest backup",
    Code.HISTORY_CHANGEABLE: "stop the engine; find who dropped the trigger; restore a backup",
    Code.SCHEMA_DIFFERS: "start the engine of the newest release once; never an older one",
    Code.DISK_LOW: "free space or give the volume more",
    Code.STORE_IN_MEMORY: "move it to a disk: tmpfs forgets everything at a restart",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong."""

    code: Code
    text: str

    @property
    def cure(self) -> str:
        """What to do."""
        return CURES[self.code]


@dataclass(frozen=True, slots=True)
class NotProven:
    """It could not be tried from here, and how it could be."""

    text: str
    how: str


@dataclass(frozen=True, slots=True)
class Note:
    """Measured, and neither good nor bad."""

    text: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Good, and how good."""

    text: str


Remark = Finding | NotProven | Note | Measured
Remarks = Sequence[Remark]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is examined, by whom, and when. `name`: the doctor's own certificate."""

    installation: Installation
    name: str
    now_ms: int
    random_bytes: Callable[[int], bytes]
    broker_folder: Path | None = None
    plain_ports: tuple[int, ...] = USUAL_PLAIN_PORTS

    @property
    def is_production(self) -> bool:
        """Whether what is a convenience on a developer's machine is wrong here."""
        return self.installation.configuration.trust.is_production


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """One broker of the subject, and the doctor's certificate for it."""

    subject: Subject
    address: BrokerAddress
    tls: TlsFiles

    @property
    def place(self) -> str:
        """Host and port, as a person writes them."""
        return f"{self.address.host}:{self.address.port}"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of files, clocks and stores. `proves`: true when it says nothing."""

    name: str
    proves: str
    run: Callable[[Subject], Remarks]


@dataclass(frozen=True, slots=True)
class BrokerCheck:
    """One check that connects to a broker."""

    name: str
    proves: str
    run: Callable[[Broker], Awaitable[Remarks]]


@dataclass(frozen=True, slots=True)
class Examined:
    """A check and what it said."""

    name: str
    proves: str
    remarks: Remarks

    def lines(self) -> list[str]:
        """One line if good, else one for each remark."""
        if not self.remarks:
            return [f"good        {self.name}: {self.proves}"]
        return [self._line(one) for one in self.remarks]

    def _line(self, remark: Remark) -> str:
        match remark:
            case Finding():
                return f"FINDING     {remark.code}: {remark.text}. Cure: {remark.cure}"
            case NotProven():
                return f"not proven  {self.name}: {remark.text}. To prove it: {remark.how}"
            case Note():
                return f"note        {self.name}: {remark.text}"
            case Measured():
                return f"good        {self.name}: {self.proves} ({remark.text})"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was examined."""

    examined: tuple[Examined, ...]

    @property
    def findings(self) -> list[Finding]:
        """What is wrong."""
        return [one for one in self._remarks() if isinstance(one, Finding)]

    @property
    def not_proven(self) -> list[NotProven]:
        """What could not be tried."""
        return [one for one in self._remarks() if isinstance(one, NotProven)]

    def summary(self) -> str:
        """One line."""
        return (
            f"{len(self.examined)} checks, {len(self.findings)} findings,"
            f" {len(self.not_proven)} not proven"
        )

    def json(self) -> str:
        """For programs."""
        checks = [
            {"name": one.name, "proves": one.proves, "remarks": [_object(it) for it in one.remarks]}
            for one in self.examined
        ]
        counts = {"findings": len(self.findings), "not_proven": len(self.not_proven)}
        return json.dumps({**counts, "checks": checks}, indent=1)

    def _remarks(self) -> list[Remark]:
        return [remark for one in self.examined for remark in one.remarks]


def _object(remark: Remark) -> dict[str, str]:
    match remark:
        case Finding():
            return {"finding": remark.code, "text": remark.text, "cure": remark.cure}
        case NotProven():
            return {"not_proven": remark.text, "how": remark.how}
        case Note():
            return {"note": remark.text}
        case Measured():
            return {"measured": remark.text}
