"""What journal, clock, roster and registry say about one command, gathered for the pure rules.

Rule kept here: what only opens and disarms are asked for is looked up for them only; closes never
wait for it.
"""

from dataclasses import dataclass
from typing import cast

from edge_agent.caps import CAP_PERIOD_MS, REACHED_PERIOD_MS
from edge_agent.greeting import Greeting
from edge_agent.held_roster import HeldRoster
from edge_agent.journal import Journal
from edge_agent.verification import CAPPED, CommandFacts, OpeningFacts
from wire.checking import Checked
from wire.fields import CommandId
from wire.messages import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSources:
    """Where the facts about a command come from."""

    journal: Journal
    greeting: Greeting
    roster: HeldRoster
    window: int

    def of_command(self, checked: Checked, command_id: CommandId, outstanding: int) -> CommandFacts:
        """Everything that steps 8 to 18 look at."""
        command = cast("Command", checked.message)
        rows = self.journal.commands
        known = rows.known(command_id)
        return CommandFacts(
            time=self.greeting.time(),
            finished_item=None if known is None else known.item,
            is_unfinished=known is not None and known.item is None,
            outstanding=outstanding,
            window=self.window,
            is_journal_full=self.journal.is_full,
            floor=self.journal.standing.floor,
            highest=rows.highest(command.meter),
            is_meter_known=command.meter in self.roster.meters,
            is_guarded=self.journal.rosters.is_guarded(command.meter),
            roles=checked.roles,
            opening=self.of_opening(command) if command.action in CAPPED else None,
        )

    def of_opening(self, command: Command) -> OpeningFacts | None:
        """What step 18 looks at; None while no registry is held."""
        registry = self.greeting.authorities.registry
        if registry is None:
            return None
        meter, manifest_id = command.meter, command.manifest
        running_ms = self.greeting.running_ms()
        rows = self.journal.commands
        manifest = None
        if manifest_id is not None:
            manifest = self.journal.manifests.facts(manifest_id, meter, running_ms)
        closed_ms = rows.closed_ms(meter)
        agent_opens, meter_opens = rows.opens_since(running_ms - CAP_PERIOD_MS, meter)
        entry = self.roster.meters.get(meter)
        return OpeningFacts(
            registry_version=registry.registry_version,
            registry_expires_at_ms=registry.expires_at_ms,
            welcome_trust_version=self.greeting.welcome_trust_version,
            policy=registry.policy,
            is_stopped=self.journal.standing.is_stopped,
            is_protected=entry is None or entry.is_protected,
            running_ms=running_ms,
            since_close_ms=None if closed_ms is None else running_ms - closed_ms,
            meter_opens=meter_opens,
            agent_opens=agent_opens,
            reached=rows.reached_since(running_ms - REACHED_PERIOD_MS),
            manifest=manifest,
        )
