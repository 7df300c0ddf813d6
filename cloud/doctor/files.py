"""Files: keys and secrets are their owner's, stores not the world's, certificates do not end soon.

A folder that everybody may write into gives away what is in it, whatever the modes of its files.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from cloud.configuration import Configuration
from cloud.doctor.findings import DAY_MS, Check, Code, Finding, NotProven, Remark, Remarks, Subject
from cloud.spelling import ist
from wire.key_files import PRIVATE_MODE

CERTIFICATE_SOON_MS = 30 * DAY_MS  # a fleet's new certificates travel for weeks
_PRIVATE = ("key", "secrets", "key_secret", "passphrase")
_STORE_SUFFIXES = ("", "-wal", "-shm")


def keys_are_private(subject: Subject) -> Remarks:
    """Every file with a key or a secret, and the keys beside them, has mode 0600."""
    remarks: list[Remark] = []
    for path in sorted(_private_files(subject)):
        mode = path.stat().st_mode & 0o777
        if mode & ~PRIVATE_MODE:
            text = f"{_short(subject, path)} has mode {mode:04o}"
            remarks.append(Finding(Code.PRIVATE_FILE_OPEN, text))
    return remarks


def folders_are_ours(subject: Subject) -> Remarks:
    """Who can write into a folder can replace what is in it, whatever the files' modes say."""
    places = {subject.installation.folder, subject.installation.path.resolve()}
    places |= {path.parent for path in (*_private_files(subject), *_stores(subject))}
    if subject.broker_folder is not None:
        places |= {subject.broker_folder, *subject.broker_folder.glob("[am]*")}
    return [
        Finding(Code.FOLDER_WRITABLE, f"everybody may write {_short(subject, path)}")
        for path in sorted(places)
        if path.exists() and path.stat().st_mode & 0o002
    ]


def stores_are_not_public(subject: Subject) -> Remarks:
    """Ledger and spool hold what consumers paid and told their bank."""
    remarks: list[Remark] = []
    for path in _stores(subject):
        for file in (path.with_name(path.name + suffix) for suffix in _STORE_SUFFIXES):
            if file.exists() and file.stat().st_mode & 0o007:
                text = f"everybody may read {_short(subject, file)}"
                remarks.append(Finding(Code.STORE_READABLE, text))
    return remarks


def certificates_last(subject: Subject) -> Remarks:
    """When the broker's or an agent's certificate ends, its line does."""
    folder = subject.installation.at(subject.installation.configuration.broker.certificates)
    files = sorted(folder.glob("*.crt"))
    if not files:
        how = "openssl x509 -enddate -noout -in FILE, on each host"
        return [NotProven(f"no certificates in {_short(subject, folder)}", how)]
    remarks: list[Remark] = []
    for path in files:
        end_ms = int(_end(path).timestamp() * 1_000)
        if end_ms < subject.now_ms + CERTIFICATE_SOON_MS:
            text = f"{_short(subject, path)} ends at {ist(end_ms)}"
            remarks.append(Finding(Code.CERTIFICATE_ENDS_SOON, text))
    return remarks


def _end(path: Path) -> datetime:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.astimezone(UTC)


def _private_files(subject: Subject) -> set[Path]:
    """What the configuration names as `key` or `secrets`, and every *.key beside those."""
    at = subject.installation.at
    configured = {at(one) for one in _named(subject.installation.configuration)}
    folders = {path.parent for path in configured}
    folders.add(at(subject.installation.configuration.broker.certificates))
    beside = {path for folder in folders for path in folder.glob("*.key")}
    return {path for path in configured | beside if path.is_file()}


def _named(section: Configuration | object) -> Iterator[str]:
    """The file of every key, secret and passphrase, however deep: each provider's, too."""
    if isinstance(section, (tuple, list)):
        for one in section:
            yield from _named(one)
    elif isinstance(section, dict):
        yield from _named(tuple(section.values()))
    for name in getattr(section, "__struct_fields__", ()):
        value = getattr(section, name)
        if name not in _PRIVATE:
            yield from _named(value)
        elif value is not None:
            yield from (value,) if isinstance(value, str) else value


def _stores(subject: Subject) -> list[Path]:
    configured = subject.installation.configuration
    named = []
    if configured.engine is not None and "://" not in configured.engine.ledger:
        named.append(configured.engine.ledger)
    if configured.intake is not None:
        named.append(configured.intake.spool)
    return [path for path in map(subject.installation.at, named) if path.exists()]


def _short(subject: Subject, path: Path) -> str:
    """As the configuration would name it."""
    folder = subject.installation.folder
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


CHECKS = (
    Check("private-files", "keys and secrets have mode 0600", keys_are_private),
    Check("folders", "nobody else can replace a file", folders_are_ours),
    Check("public-stores", "ledger and spool are not the world's", stores_are_not_public),
    Check("certificates", "no certificate ends within 30 days", certificates_last),
)
