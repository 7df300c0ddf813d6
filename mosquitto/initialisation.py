"""A directory from which a broker runs: mosquitto.conf, acl, certificates/; more names later.

Nothing that exists is written over. Layout of `certificates/`: `ca`, `server` and one pair for each
identity, `NAME.crt` and `NAME.key`. A client needs its own pair and `ca.crt`; `ca.key` belongs on
no machine that faces the field.
"""

import os
import pwd
from datetime import datetime
from pathlib import Path

from mosquitto.certificates import (
    create_authority,
    create_client,
    create_server,
    load_authority,
)
from mosquitto.configuration import (
    BrokerPlan,
    BrokerPlanError,
    Identity,
    identities,
    render_acl,
    render_acl_section,
    render_configuration,
)


def initialise(plan: BrokerPlan, *, now: datetime) -> None:
    """Writes everything a broker needs.

    Raises:
        BrokerPlanError: the plan is wrong, or the directory holds certificates already.
        OSError: the directory cannot be written.
    """
    everybody = identities(plan)
    user = pwd.getpwuid(os.getuid()).pw_name
    configuration, acl = render_configuration(plan, user=user), render_acl(everybody)
    certificates = plan.directory / "certificates"
    if certificates.exists():
        raise BrokerPlanError(
            f"{certificates} exists: a second authority would lock out everybody of the first; "
            "add identities to it, or choose another directory"
        )
    plan.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificates.mkdir(mode=0o700)
    authority = create_authority(certificates, now=now)
    create_server(certificates, authority, plan.host, now=now)
    for identity in everybody:
        create_client(certificates, authority, identity, now=now)
    _write_private(plan.directory / "acl", acl)
    _write_private(plan.directory / "mosquitto.conf", configuration)


def add_identity(directory: Path, identity: Identity, *, now: datetime) -> None:
    """Adds one name to a broker; a running one reads the acl again on SIGHUP.

    Raises:
        BrokerPlanError: the name has a certificate already, or there is no broker here.
        OSError: the directory cannot be read or written.
    """
    certificates, acl = directory / "certificates", directory / "acl"
    if not acl.is_file():
        raise BrokerPlanError(f"{directory} holds no broker: there is no acl; initialise it first")
    if (certificates / f"{identity.name}.crt").exists():
        raise BrokerPlanError(f"{identity.name} has a certificate in {certificates} already")
    create_client(certificates, load_authority(certificates), identity, now=now)
    section = render_acl_section(identity)
    if section:
        # Whole or not at all: a broker that reads half a section would deny what it should grant.
        _write_private(acl, acl.read_text(encoding="utf-8") + section)


def _write_private(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o600)
    fresh.replace(path)
