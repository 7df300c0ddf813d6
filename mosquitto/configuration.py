"""The plan of a broker, and the two files mosquitto reads, filled from `templates/`.

* A name is `[A-Z0-9][A-Z0-9-]{0,31}`, the same as an id on the wire: a `/`, `+` or `#` in a
  certificate name would match below another one's topics, a line end would write its own grants.
* A name has one kind. What each kind may read and write stands in `templates/acl` and only there.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from string import Template

_NAME = re.compile(r"[A-Z0-9][A-Z0-9-]{0,31}")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")  # a DNS name or an address; nothing that ends a line
_SECTION = re.compile(r"^#\[(\w+)\]", re.MULTILINE)
_TEMPLATES = Path(__file__).parent / "templates"

OLDEST_VERSION = (2, 0, 11)  # the first with every line of the template, and the one measured


class BrokerPlanError(ValueError):
    """A plan that must not become a configuration."""


class Kind(StrEnum):
    """What an identity is; the sections of `templates/acl`."""

    AGENT = "agent"
    ENGINE = "engine"
    GUARD = "guard"
    INTAKE = "intake"
    DESK = "desk"
    DASHBOARD = "dashboard"
    DOCTOR = "doctor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One certificate name. `providers`: whose payments an intake may publish."""

    name: str
    kind: Kind
    providers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses names that are not ids.

        Raises:
            BrokerPlanError: with the name.
        """
        for name in (self.name, *self.providers):
            if not _NAME.fullmatch(name):
                raise BrokerPlanError(
                    f"{name!r} is not a name: use 1 to 32 of A-Z, 0-9 and -, not first a -"
                )
        if (self.kind is Kind.INTAKE) != bool(self.providers):
            raise BrokerPlanError(f"{self.name}: an intake, and no other, names its providers")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlan:
    """A broker and everybody who may connect. `intakes`: (name, its providers)."""

    directory: Path
    host: str = "127.0.0.1"
    port: int = 8883
    engines: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    intakes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    desks: tuple[str, ...] = ()
    dashboards: tuple[str, ...] = ()
    doctors: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()


def identities(plan: BrokerPlan) -> tuple[Identity, ...]:
    """Everybody in the plan, agents last.

    Raises:
        BrokerPlanError: a name is no id, or stands twice.
    """
    by_kind = (
        (Kind.ENGINE, plan.engines),
        (Kind.GUARD, plan.guards),
        (Kind.DESK, plan.desks),
        (Kind.DASHBOARD, plan.dashboards),
        (Kind.DOCTOR, plan.doctors),
        (Kind.AGENT, plan.agents),
    )
    intakes = [
        Identity(name=name, kind=Kind.INTAKE, providers=providers)
        for name, providers in plan.intakes
    ]
    others = [Identity(name=name, kind=kind) for kind, names in by_kind for name in names]
    seen: set[str] = set()
    for identity in (*intakes, *others):
        if identity.name in seen:
            raise BrokerPlanError(f"{identity.name} stands twice in the plan: a name has one kind")
        seen.add(identity.name)
    return (*intakes, *others)


def render_configuration(plan: BrokerPlan, *, user: str) -> str:
    """The text of mosquitto.conf. `user`: who owns the directory.

    Raises:
        BrokerPlanError: host, port or directory cannot stand in the file.
    """
    directory = str(plan.directory.resolve())
    if not directory.isprintable():
        raise BrokerPlanError(f"directory {directory!r} holds what cannot stand in a line")
    if not _HOST.fullmatch(plan.host):
        raise BrokerPlanError(f"host {plan.host!r} is neither a name nor an address")
    if not 1 <= plan.port <= 65_535:
        raise BrokerPlanError(f"port {plan.port}: must be 1 to 65535")
    template = Template((_TEMPLATES / "mosquitto.conf").read_text(encoding="utf-8"))
    return template.substitute(
        version=".".join(map(str, OLDEST_VERSION)),
        directory=directory,
        host=plan.host,
        port=plan.port,
        user=user,
    )


def render_acl(everybody: tuple[Identity, ...]) -> str:
    """The text of the acl: the agents' patterns once, then a section for each other identity."""
    preamble, patterns, sections = _acl_template()
    rest = [_section(sections[one.kind], one) for one in everybody if one.kind is not Kind.AGENT]
    return "\n\n".join([preamble + patterns, *rest]) + "\n"


def render_acl_section(identity: Identity) -> str:
    """The lines to put behind an existing acl for one more identity; none for an agent."""
    if identity.kind is Kind.AGENT:
        return ""
    return "\n" + _section(_acl_template()[2][identity.kind], identity) + "\n"


def _section(text: str, identity: Identity) -> str:
    lines: list[str] = []
    for line in text.splitlines():
        providers = identity.providers if "${provider}" in line else ("",)
        lines.extend(
            Template(line).substitute(name=identity.name, provider=provider)
            for provider in providers
        )
    return "\n".join(lines)


def _acl_template() -> tuple[str, str, dict[Kind, str]]:
    """Preamble, the agents' patterns, and the section of every other kind."""
    text = (_TEMPLATES / "acl").read_text(encoding="utf-8")
    preamble, *parts = _SECTION.split(text)
    sections = {
        Kind(kind): f"# {kind}:{body.rstrip()}"
        for kind, body in zip(parts[::2], parts[1::2], strict=True)
    }
    return preamble, sections.pop(Kind.AGENT), sections
