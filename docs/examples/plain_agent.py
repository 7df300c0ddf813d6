"""An agent for one concentrator, in plain Python: the tutorial for whoever writes one in C or Rust.

    python plain_agent.py AGENT.JSON

It passes `relight-agent conformance` and needs paho-mqtt, nothing of Relight. agent.json and the
relay files are those of docs/conformance.md. Beside it stand:

* plain_wire.py: bytes: msgpack, Ed25519, the tables of bodies, envelopes
* plain_trust.py: whom to believe: trust documents, steps 1 to 7
* plain_journal.py: what is on the disk before anything follows from it; the time
* this file, best read from its end: `main` is the loop, `receive` takes messages, `command` is the
  order of checks from step 8, `work` moves relays

It closes, reads and withdraws. It judges opens by every rule up to the caps and then refuses them:
it counts nothing, so it behaves for ever as a young journal does (R2). It knows one broker.
"""

# ruff: noqa: INP001  # an example is a script

import contextlib
import json
import os
import random
import socket
import ssl
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import plain_trust as trust
import plain_wire as wire
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from plain_journal import DAY, Clock, Journal, elapsed

WINDOW, NO_DELAY = 32, (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
SETTLES = 5_000  # ms that the slowest relay takes to move


class Agent:
    """One boot."""

    def __init__(self, told: dict[str, Any], publish: Any) -> None:
        self.told, self.name, self.publish = told, told["agent"], publish
        self.key = wire.SigningKey(bytes.fromhex(told["seed"]))
        self.meters = {one["meter"]: one["protected"] for one in told["meters"]}
        self.relays = Path(told["relays"])
        self.shard = f"{zlib.crc32(self.name.encode()) % 16:02d}/{self.name}"
        self.begin([])

    def begin(self, inherited: list[list[Any]]) -> None:
        """Begin with the journal that is there, or with a new one."""
        self.journal = Journal(Path(self.told["state"]), self.name, inherited)
        root, pin = (bytes.fromhex(self.told[name]) for name in ("root_document", "root_pin"))
        self.trust = trust.anchored(root, pin, is_production=self.told["production"])
        if self.journal.trust:
            self.trust = trust.believed(self.trust, self.journal.trust, None)
        self.restarted = set(self.journal.commands)
        self.nonces: dict[bytes, int] = {}  # of the last 3 hellos: when each left
        self.hellos = self.unanswered = self.welcome_trust = self.next_hello = self.asked_at = 0
        self.clock = Clock()
        self.waiting: list[tuple[str, bytes]] = []  # stops and resumes before any time is known
        self.alarmed: set[str] = set()

    def start_anew(self) -> None:
        """The engine no longer believes in this journal: put it aside, keep what only rises."""
        old = self.journal
        old.file.close()
        old.path.rename(old.path.with_name(f"journal-{old.id.hex()}"))
        inherited = [
            [name, getattr(old, name)] for name in ("generation", "stop", "lifted", "trust")
        ]
        self.begin([*inherited, ["welcome", old.welcome_stop, list(old.floor)]])
        self.hello()

    # Hello, welcome, and whatever else arrives.

    def hello(self) -> None:
        """Say that this agent is here, with a nonce; again after 5, 15, 45 s."""
        journal, nonce, made = self.journal, os.urandom(16), len(self.journal.items)
        self.nonces = dict([*self.nonces.items(), (nonce, elapsed())][-3:])
        self.next_hello = elapsed() + (5_000, 15_000, 45_000, 60_000)[min(self.unanswered, 3)]
        self.hellos, self.unanswered = self.hellos + 1, self.unanswered + 1
        who = [1, self.name, journal.id, journal.boot, self.hellos, nonce, 1, "plain-agent"]
        knows = [self.trust.version, 0, journal.stop, journal.lifted, journal.generation]
        has = [made, journal.head(made), WINDOW, len(self.meters), list(journal.commands)[:64]]
        self.say("hello", [*who, *knows, *has])

    def say(self, kind: str, value: list[Any]) -> None:
        """Sign and publish."""
        payload = wire.seal(self.trust.root[1], kind, value, self.key)
        self.publish(f"{kind}/{self.shard}", payload)

    def receive(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        """Take one message; when this returns, the broker is told that it is stored."""
        kind = topic.partition("/")[0]
        try:
            if topic in ("trust", f"trust/{self.name}"):
                new = trust.believed(self.trust, payload, self.clock.latest)
                self.journal.write("trust", wire.pack([1, list(new.roots), new.envelope]))
                self.trust = new  # stored before it is used
            elif not is_retained or kind in ("stop", "resume"):  # else somebody planted it
                message = trust.check(topic, payload, self.trust, self.name, self.clock.latest)
                getattr(self, kind)(message, topic, payload)
        except trust.UnknownKeyError:
            if self.unanswered == 0 and elapsed() - self.asked_at > 60_000:
                self.asked_at = elapsed()
                self.hello()
        except wire.JunkError as error:
            if str(error) == "forked":
                self.alarm("trust_forked")

    def welcome(self, message: trust.Message, *_: Any) -> None:
        """Time, floor, marks: stored before anything is done with them."""
        journal = self.journal
        _, _, nonce, generation, now, epoch, sequence, verdict, *rest = message.fields
        if nonce not in self.nonces or generation < journal.generation:
            return
        left, self.unanswered = self.nonces.pop(nonce), 0
        if verdict in ("rolled_back", "retired"):
            self.start_anew()
            return
        self.welcome_trust, stop, _, through, head = rest
        is_believed = message.epochs == {epoch} and sequence <= now + 60_000
        journal.write("welcome", stop, [epoch, sequence] if is_believed else list(journal.floor))
        if not self.clock.take(now, left):
            journal.write("disputed_until", journal.running + DAY)
            self.alarm("clock_disputed")
        self.next_hello = elapsed() + random.SystemRandom().randint(480_000, 720_000)
        if not journal.mark(generation, through, head):
            self.alarm("history_forked")
        journal.start_over()
        for one in self.waiting if self.clock.reading else ():
            self.receive(*one, is_retained=True)

    def stop(self, message: trust.Message, topic: str, payload: bytes) -> None:
        """Stop and resume are two maxima; a number from the future is not believed."""
        name = {"stop": "stop", "resume": "lifted"}[message.kind]
        number, latest = message.fields[1], self.clock.latest
        if latest is None:
            self.waiting = [*self.waiting, (topic, payload)][-16:]
        elif number > latest + 60_000:
            self.alarm(f"{message.kind}_from_future")
        elif number > getattr(self.journal, name):
            self.journal.write(name, number)

    resume = stop

    def alarm(self, code: str) -> None:
        """Tell a person, once in a boot."""
        if code not in self.alarmed:
            self.alarmed.add(code)
            self.journal.add("alarm", code, None, self.clock.interval()[0])

    def send(self, first: int, last: int) -> None:
        """Consecutive items in one list, with the head in front of them."""
        journal = self.journal
        items = [wire.unpack(raw) for raw, _ in journal.items[first - 1 : last]]
        who = [1, self.name, journal.id, journal.boot]
        self.say("acknowledgement", [*who, journal.head(first - 1), items])

    def filed(self, message: trust.Message, *_: Any) -> None:
        """The engine holds 1..through."""
        _, _, journal, *mark = message.fields
        is_ours = journal == self.journal.id and mark[0] >= self.journal.generation
        if is_ours and self.clock.reading and not self.journal.mark(*mark):
            self.alarm("history_forked")

    # Commands: steps 8 to 19.

    def command(self, message: trust.Message, *_: Any) -> None:
        """Drop, answer again, refuse for ever, or journal."""
        journal = self.journal
        _, action, _, meter, epoch, sequence, *_ = message.fields
        if self.clock.age() > DAY:
            return
        if message.id in journal.answers:
            self.send(journal.answers[message.id], journal.answers[message.id])
            return
        waiting = [row for row in journal.commands.values() if row["fields"][1] != "withdraw"]
        if message.id in journal.commands or (action != "withdraw" and len(waiting) >= WINDOW):
            return
        reason, at = self.refusal(message), self.clock.interval()[0]
        if reason is None:
            journal.write("received", message.id, message.fields, at)
            journal.commands[message.id]["interim_at"] = elapsed() + 5_000
            self.end_lower(message)
            return
        keeps = ("low_counter", "before_welcome", "from_future")  # these say the counter is wrong
        highest = list(journal.highest[meter]) if reason == "low_counter" else None
        told = ["command", message.id, meter, epoch, sequence, "refused", reason, None, None, at]
        journal.add(*told, None, None, highest, raises=action != "read" and reason not in keeps)

    def refusal(self, message: trust.Message) -> str | None:
        """Steps 10 to 18: the first reason that applies."""
        _, action, _, meter, epoch, sequence, expires, *_ = message.fields
        journal, latest = self.journal, self.clock.interval()[1]
        counter, highest = (epoch, sequence), journal.highest.get(meter, (0, 0))
        life = 600_000 if action in ("open", "disarm", "unguarded") else 900_000
        reasons = {
            "before_welcome": counter <= journal.floor,
            "low_counter": action != "read" and counter <= highest,
            "from_future": sequence > latest + 60_000,
            "life_too_long": expires - sequence > life,
            "expired": latest >= expires,
            "unknown_meter": meter not in self.meters,
            "unknown_action": action not in ("close", "open", "read", "withdraw"),
            "missing_guard": action == "open" and "guard" not in message.roles,
        }
        if action == "open" and meter in self.meters:
            is_disputed = journal.running < journal.disputed_until
            reasons |= {
                "trust_expired": latest >= self.trust.registry[4],
                "trust_old": self.trust.version < self.welcome_trust,
                "clock_untrusted": self.clock.age() > 900_000 or is_disputed,
                "stop": max(journal.stop, journal.welcome_stop) > journal.lifted,
                "protected": self.meters[meter],
                "window": not trust.is_in_windows(self.trust.registry[7], *self.clock.interval()),
                "cap_meter": True,
            }
        return next((name for name, applies in reasons.items() if applies), None)

    def end_lower(self, message: trust.Message) -> None:
        """A higher counter ends lower ones that have not acted; a withdraw tells what it found."""
        _, action, _, meter, *counter = message.fields[:6]
        ends = {"withdraw": ("close", "read"), "close": ("close",), "read": ()}[action]
        rows = [(k, r) for k, r in self.journal.commands.items() if r["fields"][3] == meter]
        lower = [(k, r) for k, r in rows if r["fields"][1] in ends and r["fields"][4:6] < counter]
        for key, row in lower:
            if not row["acted"]:
                self.end(key, "withdrawn" if action == "withdraw" else "superseded")
        if action == "withdraw" and not any(row["acted"] for _, row in lower):
            self.end(message.id, "withdrew" if lower else "nothing_pending")

    def end(self, key: bytes, outcome: str, reason: str | None = None, after: Any = None) -> None:
        """The one outcome of a command, written down; `tick` sends it."""
        journal, row = self.journal, self.journal.commands[key]
        _, _, _, meter, epoch, sequence, *_ = row["fields"]
        before, acted = row.get("before"), row["acted"]
        at = max(self.clock.interval()[0], acted or row["received"]) if before or after else None
        told = ["command", key, meter, epoch, sequence, outcome, reason, before, after]
        journal.add(*told, row["received"], acted, at, None)

    # Relays: step 20. Nothing here waits; `work` is called again until there is an end.

    def read(self, meter: str) -> list[Any] | None:
        """What the relay says of itself; None: the meter does not answer yet."""
        with contextlib.suppress(FileNotFoundError):
            output, state, mode = map(int, (self.relays / meter).read_text().split())
            return [bool(output), state, mode]
        return None

    def work(self, key: bytes, row: dict[str, Any]) -> None:
        """One look at the first unfinished command of a meter."""
        action, reading, now = row["fields"][1], self.read(row["fields"][3]), elapsed()
        rests = reading and {(True, 1): "closed", (False, 2): "armed"}.get((reading[0], reading[1]))
        if reading is None:
            if now - row.setdefault("begun", now) > 90_000:
                self.end(key, "unknown" if row["acted"] else "unreachable")
        elif action != "close":
            self.end(key, "read" if action == "read" else "too_late", after=reading)
        elif rests is not None:
            row.setdefault("before", None if row["acted"] else reading)
            is_old = rests == "closed" and not row["acted"]
            self.end(key, "already_closed" if is_old else rests, after=reading)
        elif not row["acted"]:
            self.move(key, row, reading)
        elif now - row.setdefault("moved_at", now) > SETTLES:
            if key in self.restarted and row["tries"] < 2:
                self.move(key, row, reading)  # it did not move before the crash: once more
            else:
                self.end(key, "unchanged", after=reading)

    def move(self, key: bytes, row: dict[str, Any], reading: list[Any]) -> None:
        """Ask once more, journal `actuating`, and only then tell the relay."""
        _, action, _, meter, epoch, sequence, expires, *_ = row["fields"]
        row["before"] = reading
        rows = [one["fields"] for one in self.journal.commands.values() if one is not row]
        if any(o[3] == meter and o[1] != "read" and o[4:6] > [epoch, sequence] for o in rows):
            self.end(key, "unknown")  # told before a crash; meanwhile a later word arrived
        elif self.clock.interval()[1] >= expires:
            self.end(key, "refused", "expired")
        else:
            self.journal.write("actuating", key, max(self.clock.interval()[0], row["received"]))
            self.restarted.discard(key)
            row["moved_at"] = elapsed()
            with (self.relays / f"{meter}.told").open("ab", buffering=0) as told:
                told.write(action.encode() + b"\n")

    def tick(self) -> None:
        """What the time asks for."""
        journal = self.journal
        if self.next_hello and elapsed() >= self.next_hello:
            self.hello()
        if journal.running - journal.saved > 60_000:
            journal.write("running")
        if self.clock.reading is None:
            return
        busy = set()
        for key, row in list(journal.commands.items()):
            if elapsed() >= row.get("interim_at", elapsed() + 1):
                del row["interim_at"]
                journal.add("received", key, row["fields"][3])
            if row["fields"][3] not in busy:
                busy.add(row["fields"][3])
                self.work(key, row)
        if items := journal.due():
            self.send(*items)


def main(path: str) -> None:
    """Connect for ever; between two looks at the socket do what the time asks for."""
    told = json.loads(Path(path).read_text(encoding="ascii"))
    broker, name = told["broker"], told["agent"]
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5)
    agent = Agent(told, lambda topic, payload: client.publish(topic, payload, 1))
    tls = ssl.create_default_context(cafile=broker["ca"])
    tls.load_cert_chain(broker["certificate"], broker["key"])
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    client.tls_set_context(tls)
    client.will_set(f"presence/{name}", b"offline", 1, retain=True)

    def connected(*_: Any) -> None:
        directed = ("welcome", "filed", "trust", "stop", "resume", "command")
        topics = [f"{one}/{name}" + "/+" * (one == "command") for one in directed]
        client.subscribe([(one, 1) for one in (*topics, "trust", "stop", "resume")])
        client.publish(f"presence/{name}", b"online", 1, retain=True)
        agent.unanswered = 0
        agent.hello()

    client.on_connect = connected
    client.on_message = lambda _c, _u, m: agent.receive(m.topic, m.payload, is_retained=m.retain)
    client.on_socket_open = lambda _c, _u, opened: opened.setsockopt(*NO_DELAY)
    session = Properties(PacketTypes.CONNECT)
    session.SessionExpiryInterval = 604_800
    where = {"host": broker["host"], "port": broker["port"], "keepalive": 20}
    while True:
        with contextlib.suppress(OSError):  # of the network; what the journal raises ends it all
            client.connect(**where, clean_start=False, properties=session)
        while client.loop(0.01) == mqtt.MQTT_ERR_SUCCESS:
            agent.tick()
        time.sleep(random.SystemRandom().uniform(0.1, 1.0))


if __name__ == "__main__":
    main(sys.argv[1])
