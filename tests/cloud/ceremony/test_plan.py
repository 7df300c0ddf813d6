"""ceremony.toml: what it may say, and what is refused."""

import pytest

from cloud.ceremony.plan import PlanError, read_plan, registry_of, root_of
from wire.fields import InstallationId
from wire.keys import SigningKey
from wire.vocabulary import Role

PUBLIC = [SigningKey(bytes([one]) * 32).public.hex() for one in range(1, 9)]
GOOD = f"""
threshold = 2
root = [
  {{holder = "Chief engineer", public = "{PUBLIC[0]}"}},
  {{holder = "Company secretary", public = "{PUBLIC[1]}"}},
]
key = [
  {{role = "engine", subject = "ENGINE-1", public = "{PUBLIC[2]}", epoch = 1}},
  {{role = "engine", subject = "ENGINE-1", public = "{PUBLIC[3]}", epoch = 2}},
  {{role = "intake", subject = "INTAKE-1", public = "{PUBLIC[4]}", scope = ["RAZORPAY"]}},
  {{role = "enrol", subject = "ENROL", public = "{PUBLIC[5]}"}},
]
[policy]
windows = [{{days = "mon-wed,fri", from = "11:00", to = "14:00"}}]
closed_days = [2027-01-26]
"""


def plan(tmp_path, text=GOOD):
    path = tmp_path / "ceremony.toml"
    path.write_text(text)
    return read_plan(path)


def test_plan_becomes_a_root_and_a_registry(tmp_path):
    found = plan(tmp_path)
    root = root_of(found, InstallationId(bytes(16)), version=1, now_ms=1_000)
    registry = registry_of(found, version=1, root_version=1, now_ms=1_000)
    assert (root.threshold, [key.holder for key in root.keys]) == (
        2,
        ["Chief engineer", "Company secretary"],
    )
    assert [key.epoch for key in registry.keys if key.role is Role.ENGINE] == [1, 2]
    assert registry.epoch_floor == 1  # epoch 2 is the spare
    assert {key.mark for key in registry.keys} == {""}
    window = registry.policy.windows[0]
    assert (window.weekdays, window.from_minute, window.to_minute) == (0b10111, 660, 840)
    assert registry.policy.utc_offset_minutes == 330 + 720
    assert registry.policy.closed_days == (20_844,)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("threshold = 2", "threshold = 3", "<= 2"),
        ("threshold = 2", "thresholds = 2", "unknown field"),
        ('role = "intake"', 'role = "postman"', "postman"),
        ('role = "enrol"', 'role = "guard"', "no [[key]] of role enrol"),
        ("epoch = 1}", "epoch = 0}", "an epoch from 1 belongs to engine keys"),
        ('scope = ["RAZORPAY"]', "epoch = 4", "an epoch from 1 belongs to engine keys"),
        (PUBLIC[2], PUBLIC[2].upper(), "key[0].public"),
    ],
)
def test_plan_that_means_nothing_is_refused_with_its_place(tmp_path, old, new, said):
    with pytest.raises(PlanError) as refused:
        plan(tmp_path, GOOD.replace(old, new))
    assert said in str(refused.value)
    assert "ceremony.toml" in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("mon-wed,fri", "fri-mon", "write mon-fri"),
        ("mon-wed,fri", "everyday", "write mon-fri"),
        ('to = "14:00"', 'to = "10:00"', "ends before it begins"),
    ],
)
def test_window_that_never_comes_is_refused(tmp_path, old, new, said):
    found = plan(tmp_path, GOOD.replace(old, new))
    with pytest.raises(PlanError, match=said):
        registry_of(found, version=1, root_version=1, now_ms=1_000)


def test_threshold_above_the_number_of_holders_is_refused(tmp_path):
    one_holder = GOOD.replace(f'  {{holder = "Company secretary", public = "{PUBLIC[1]}"}},\n', "")
    with pytest.raises(PlanError, match="threshold 2, but 1 root keys"):
        plan(tmp_path, one_holder)
