"""API keys: what is kept of them, when they work, and what happens to whoever tries wrong ones."""

import datetime as dt
import hashlib
import re
import secrets
import time

import pytest
import sqlalchemy as sa

from dicomnlp.audit.events import Kind, Outcome
from dicomnlp.errors import NotFoundError, UsageError
from dicomnlp.serve.access_control import KEEP_SECONDS
from dicomnlp.serve.access_lockout import LOCK_SECONDS, MAXIMUM_ADDRESSES, WINDOW_SECONDS, WRONG_KEYS, LockOut
from dicomnlp.store.keys import add_key, find_key, keys, revoke_key
from dicomnlp.store.schema_access import api_key
from dicomnlp.store.scope import EVERYTHING, Scope

STATUS = "/api/v1/status"


def test_key_has_256_random_bits_of_which_only_the_hash_is_kept(database):
    """Whoever reads the database can't ask with what is there."""
    made, key = add_key(database, "viewer", "reader", EVERYTHING)
    assert re.fullmatch(r"dnk_[0-9a-f]{12}_[0-9A-Za-z_-]{43}", key)
    with database.read() as connection:
        row = connection.execute(sa.select(api_key)).mappings().one()
    assert row["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    secret = key.rpartition(made.prefix + "_")[2]
    assert not any(secret in str(value) for value in row.values())
    assert add_key(database, "other", "reader", EVERYTHING)[1] != key


def test_right_key_is_found_and_its_use_noted(database):
    """With its role and scope; the moment of its last use is kept."""
    scope = Scope(frozenset({"NORTH"}), None)
    _, key = add_key(database, "viewer", "operator", scope)
    assert keys(database)[0].last_used_at is None
    found = find_key(database, key)
    assert (found.name, found.role, found.scope) == ("viewer", "operator", scope)
    assert keys(database)[0].last_used_at is not None


WRONG = [
    ("nothing", lambda _: ""),
    ("no key", lambda _: "secret"),
    ("another secret", lambda key: key[:17] + secrets.token_urlsafe(32)),
    ("last character", lambda key: key[:-1] + ("A" if key[-1] != "A" else "B")),
    ("one too many", lambda key: key + "A"),
    ("newline", lambda key: key + "\n"),
    ("another prefix", lambda key: f"dnk_{'0' * 12}{key[16:]}"),
    ("another case", lambda key: key.swapcase()),
    ("lone surrogate", lambda _: "\ud800"),
]


@pytest.mark.parametrize("wrong", [w for _, w in WRONG], ids=[name for name, _ in WRONG])
def test_anything_but_the_key_is_none(database, wrong):
    """Nothing near it, and nothing that a database or a comparison might stumble over."""
    _, key = add_key(database, "viewer", "reader", EVERYTHING)
    assert find_key(database, wrong(key)) is None


def test_revoked_key_is_none_and_its_name_stays_taken(database):
    """A name in the trail must not come to mean somebody else."""
    _, key = add_key(database, "viewer", "reader", EVERYTHING)
    assert revoke_key(database, "viewer").revoked_at is not None
    assert find_key(database, key) is None
    with pytest.raises(UsageError):
        add_key(database, "viewer", "reader", EVERYTHING)
    with pytest.raises(NotFoundError):
        revoke_key(database, "nobody")


def test_expired_key_is_none(database):
    """It ends at its time; one that would have ended isn't made."""
    now = dt.datetime.now(dt.UTC)
    _, key = add_key(database, "viewer", "reader", EVERYTHING, now + dt.timedelta(hours=1))
    assert find_key(database, key) is not None
    with database.write() as connection:
        connection.execute(sa.update(api_key).values(expires_at=now - dt.timedelta(seconds=1)))
    assert find_key(database, key) is None
    with pytest.raises(UsageError):
        add_key(database, "late", "reader", EVERYTHING, now)


@pytest.mark.parametrize("name", ["", " x", "a\nb", "x" * 65, "<b>"])
def test_names_that_could_spoil_the_trail_are_refused(database, name):
    """A name stands in tables and pages."""
    with pytest.raises(UsageError):
        add_key(database, name, "reader", EVERYTHING)


def test_requests_need_a_key(client, make_key):
    """401 with the challenge that RFC 6750 asks for; a right key is answered."""
    answer = client.get(STATUS)
    assert (answer.status_code, answer.json()["reason_code"]) == (401, "not_authenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert client.get(STATUS, key=make_key()).status_code == 200
    wrong = client.get(STATUS, key="dnk_" + "0" * 12 + "_" + "x" * 43)
    assert (wrong.status_code, wrong.headers["www-authenticate"]) == (
        401,
        'Bearer realm="dicomnlp", error="invalid_token"',
    )
    basic = client.get(STATUS, headers={"Authorization": f"Basic {make_key(name='basic')}"})
    assert basic.status_code == 401


def test_revoked_key_stops_working_in_a_running_service(client, database, make_key):
    """After a second at the most, which a key is known for without being looked up."""
    key = make_key(name="viewer")
    assert client.get(STATUS, key=key).status_code == 200
    revoke_key(database, "viewer")
    time.sleep(KEEP_SECONDS + 0.1)
    assert client.get(STATUS, key=key).status_code == 401


def test_a_thousand_wrong_keys_are_locked_out_and_recorded_once_a_lock(client, make_key, trail):
    """The first few are 401, the rest 429 with the time to wait; a right key from elsewhere works on."""
    answers = [client.get(STATUS, key=f"dnk_{n:012x}_{secrets.token_urlsafe(32)}") for n in range(1000)]
    statuses = [a.status_code for a in answers]
    assert statuses == [401] * (WRONG_KEYS - 1) + [429] * (1001 - WRONG_KEYS)
    assert 1 <= int(answers[-1].headers["retry-after"]) <= LOCK_SECONDS
    assert answers[-1].json()["reason_code"] == "too_many_failures"
    rows = trail(kind=Kind.LOGIN, outcome=Outcome.REFUSED)
    assert len(rows) == WRONG_KEYS
    assert {row.address for row in rows} == {"203.0.113.5"}
    assert rows[0].principal == "dnk_000000000000"
    assert len(trail(kind=Kind.ALERT)) == 1
    key = make_key()
    assert client.get(STATUS, key=key).status_code == 429
    client.address = "203.0.113.6"
    assert client.get(STATUS, key=key).status_code == 200


def test_a_key_in_use_is_not_locked_out_by_others_behind_its_address(client, make_key):
    """Behind a proxy all have one address: somebody's wrong keys must not stop a viewer."""
    key = make_key()
    assert client.get(STATUS, key=key).status_code == 200
    for n in range(WRONG_KEYS + 1):
        client.get(STATUS, key=f"dnk_{n:012x}_{secrets.token_urlsafe(32)}")
    assert client.get(STATUS, key="dnk_wrong").status_code == 429
    assert client.get(STATUS, key=key).status_code == 200


def test_wrong_keys_cost_the_same_however_much_of_them_is_right(database):
    """Nothing is compared but hashes: the processor's time for a key off by its last character, and for a stranger's.

    A comparison that stops at the first difference would differ by nanoseconds, which no test could see; what could be
    seen is a look-up or a hash that only one of them needs.
    """
    _, key = add_key(database, "viewer", "reader", EVERYTHING)
    near = key[:-1] + ("A" if key[-1] != "A" else "B")
    strange = f"dnk_{'0' * 12}_{secrets.token_urlsafe(32)}"
    spent = {near: [], strange: []}
    for _ in range(300):
        for wrong, times in spent.items():
            started = time.process_time()
            find_key(database, wrong)
            times.append(time.process_time() - started)
    middle = {wrong: sorted(times)[150] for wrong, times in spent.items()}
    assert 0.5 < middle[near] / middle[strange] < 2.0


def test_locks_grow_and_are_forgotten():
    """Twice as long each time; after a quiet while the count begins anew."""
    now = [1000.0]
    lock_out = LockOut(lambda: now[0])

    def lock():
        return [lock_out.wrong("a") for _ in range(WRONG_KEYS)].count(True) == 1

    assert lock()
    assert lock_out.seconds_left("a") == LOCK_SECONDS
    assert lock_out.seconds_left("b") == 0
    now[0] += LOCK_SECONDS
    assert lock_out.seconds_left("a") == 0
    assert lock()
    assert lock_out.seconds_left("a") == 2 * LOCK_SECONDS
    now[0] += 10 * WINDOW_SECONDS
    assert not lock_out.wrong("a")
    assert lock()
    assert lock_out.seconds_left("a") <= LOCK_SECONDS


def test_wrong_keys_over_a_long_time_lock_nobody():
    """One slip of a person each minute is no attack."""
    now = [0.0]
    lock_out = LockOut(lambda: now[0])
    for _ in range(50):
        now[0] += WINDOW_SECONDS / (WRONG_KEYS - 2)
        assert not lock_out.wrong("a")


def test_what_is_remembered_of_addresses_is_bounded():
    """An attacker with many addresses fills no memory."""
    lock_out = LockOut()
    for n in range(MAXIMUM_ADDRESSES + 500):
        lock_out.wrong(f"address {n}")
    assert len(lock_out._records) == MAXIMUM_ADDRESSES
