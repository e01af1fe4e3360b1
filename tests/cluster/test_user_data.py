from datetime import UTC, datetime, timedelta, timezone

import yaml

from nightreel.cluster import user_data
from nightreel.cluster.keys import KeyRing

KEYS = KeyRing(b"s" * 32, "run")
MOMENT = datetime(2027, 3, 4, 5, 6, 7, tzinfo=UTC)


def parsed(moment: datetime = MOMENT) -> dict[str, object]:
    text = user_data.render(role="worker", keys=KEYS, expires_at=moment)
    assert text.startswith("#cloud-config\n")
    content: dict[str, object] = yaml.safe_load(text)
    return content


def test_user_data_gives_the_node_its_host_key() -> None:
    assert parsed()["ssh_keys"] == {
        "ed25519_private": KEYS.host("worker").private,
        "ed25519_public": KEYS.host("worker").public,
    }


def test_user_data_lets_the_operator_in() -> None:
    assert parsed()["ssh_authorized_keys"] == [KEYS.client().public]


def test_user_data_never_holds_the_operators_private_key() -> None:
    text = user_data.render(role="master", keys=KEYS, expires_at=MOMENT)
    assert KEYS.client().private.splitlines()[2] not in text


def test_timer_names_the_expiry_in_utc() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=9)))
    assert "OnCalendar=2027-03-04 05:06:07 UTC" in str(parsed(elsewhere)["write_files"])


def test_user_data_is_the_same_for_a_retry() -> None:
    first = user_data.render(role="worker", keys=KEYS, expires_at=MOMENT)
    assert first == user_data.render(role="worker", keys=KEYS, expires_at=MOMENT)
