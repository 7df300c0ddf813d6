from pathlib import Path

import pytest

from mosquitto.configuration import (
    BrokerPlan,
    BrokerPlanError,
    Identity,
    Kind,
    identities,
    render_acl,
    render_acl_section,
    render_configuration,
)

GOOD = ("A", "0", "ENGINE-1", "A" * 32, "9-9")
BAD = (
    "",
    "a1",
    "-A",
    "A/B",
    "A+",
    "#",
    "A B",
    "A\n",
    "A\ntopic read #",
    "Ä",
    "A" * 33,
    "A_B",
    "%u",
)


@pytest.mark.parametrize("name", GOOD)
def test_id_of_the_wire_is_a_name(name):
    assert Identity(name=name, kind=Kind.AGENT).name == name


@pytest.mark.parametrize("name", BAD)
def test_name_that_could_match_or_write_more_than_itself_is_refused(name):
    with pytest.raises(BrokerPlanError, match="is not a name"):
        Identity(name=name, kind=Kind.AGENT)
    with pytest.raises(BrokerPlanError, match="is not a name"):
        Identity(name="INTAKE-1", kind=Kind.INTAKE, providers=(name,))


def test_name_that_stands_twice_is_refused():
    plan = BrokerPlan(directory=Path("x"), engines=("X1",), agents=("X1",))
    with pytest.raises(BrokerPlanError, match="X1 stands twice"):
        identities(plan)


def test_intake_and_no_other_names_providers():
    with pytest.raises(BrokerPlanError, match="providers"):
        Identity(name="I1", kind=Kind.INTAKE)
    with pytest.raises(BrokerPlanError, match="providers"):
        Identity(name="D1", kind=Kind.DASHBOARD, providers=("PAYCO",))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"host": "127.0.0.1\nallow_anonymous true"}, "host"),
        ({"host": ""}, "host"),
        ({"port": 0}, "port 0"),
        ({"port": 65_536}, "port 65536"),
        ({"directory": Path("a\nb")}, "directory"),
    ],
)
def test_what_cannot_stand_in_a_line_of_the_configuration_is_refused(changed, named):
    plan = BrokerPlan(**({"directory": Path("x")} | changed))
    with pytest.raises(BrokerPlanError, match=named):
        render_configuration(plan, user="broker")


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_configuration_holds_what_the_security_of_the_wire_needs(tmp_path):
    plan = BrokerPlan(directory=tmp_path, port=1234)
    made = lines(render_configuration(plan, user="broker"))
    for line in (
        "listener 1234 127.0.0.1",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        "tls_version tlsv1.3",
        "allow_anonymous false",
        f"acl_file {tmp_path}/acl",
        "set_tcp_nodelay true",
        "persistence true",
        "autosave_interval 5",
        "max_packet_size 65536",
        "user broker",
    ):
        assert line in made
    assert len([line for line in made if line.startswith("listener")]) == 1
    assert not [line for line in made if "$" in line]


def test_every_setting_of_the_configuration_has_its_reason_above_it():
    text = Path(render_configuration.__code__.co_filename).parent / "templates/mosquitto.conf"
    block_has_reason = False
    for line in text.read_text().splitlines():
        if not line:
            block_has_reason = False
        elif line.startswith("#"):
            block_has_reason = True
        else:
            assert block_has_reason, line


def test_acl_of_agents_alone_is_their_patterns_and_grants_nothing_by_name():
    made = lines(render_acl((Identity(name="A1", kind=Kind.AGENT),)))
    assert all(line.startswith("pattern ") for line in made)
    assert "pattern read command/%u/+" in made
    assert "A1" not in " ".join(made)


def test_intake_may_publish_for_each_of_its_providers_and_no_other():
    intake = Identity(name="I1", kind=Kind.INTAKE, providers=("PAYCO", "BANK"))
    made = lines(render_acl_section(intake))
    assert made[0] == "user I1"
    assert [line for line in made if "payment" in line] == [
        "topic write payment/+/PAYCO",
        "topic write payment/+/BANK",
    ]


def test_only_engine_and_doctor_may_read_commands():
    for kind in Kind:
        if kind is Kind.AGENT:
            continue
        providers = ("PAYCO",) if kind is Kind.INTAKE else ()
        made = lines(render_acl_section(Identity(name="X1", kind=kind, providers=providers)))
        may = any(line in ("topic readwrite command/+/+", "topic read #") for line in made)
        assert may == (kind in (Kind.ENGINE, Kind.DOCTOR))
        assert may or "topic deny command/#" in made


def test_live_view_may_read_live_and_is_denied_every_topic_of_agents():
    made = lines(render_acl_section(Identity(name="V1", kind=Kind.DASHBOARD)))
    patterns = lines(render_acl(()))
    roots = {line.split()[2].split("/")[0] for line in patterns} - {"canary"}
    assert made[:2] == ["user V1", "topic read live/#"]
    assert set(made[2:]) == {f"topic deny {root}/#" for root in roots}


def test_agent_added_later_needs_no_line():
    assert render_acl_section(Identity(name="A9", kind=Kind.AGENT)) == ""
