"""What associations share: places of which nobody can have all, and memory for large objects."""

import threading
import time

import pytest

from dicomnlp.config import ListenerSettings
from dicomnlp.receive.places import FREE_BYTES, Allowance, Places


def take(places, *peers):
    """The reason code, or None, for each (address, calling AE title)."""
    return [places.take(address, title) for address, title in peers]


def test_an_address_and_an_ae_title_have_their_bound_each():
    """Whatever titles an address uses, and whatever addresses a title comes from."""
    places = Places(ListenerSettings(maximum_associations=100, maximum_associations_per_peer=2))
    assert take(places, ("10.0.0.1", "A"), ("10.0.0.1", "B"), ("10.0.0.1", "C")) == [None, None, "peer_limit_exceeded"]
    assert take(places, ("10.0.0.2", "D"), ("10.0.0.3", "D"), ("10.0.0.4", "D")) == [None, None, "peer_limit_exceeded"]
    places.give_back("10.0.0.1", "A")
    assert take(places, ("10.0.0.1", "C")) == [None]
    assert places.taken == 4


def test_many_titles_with_a_number_of_their_own_do_not_add_up_at_one_address():
    """As with `ae_title = "*"`, of which every title has the number: the address has it once."""
    places = Places(ListenerSettings(maximum_associations=100, maximum_associations_per_peer=2))
    taken = [places.take("10.0.0.1", f"A{n}", 5) for n in range(90)]
    assert taken == [None] * 5 + ["peer_limit_exceeded"] * 85
    # nor do titles without one get what is left of it
    assert places.take("10.0.0.1", "B") == "peer_limit_exceeded"
    # fewer than anybody: of the title alone
    assert [places.take("10.0.0.2", "C", 1), places.take("10.0.0.2", "C", 1), places.take("10.0.0.2", "D")] == [
        None,
        "peer_limit_exceeded",
        None,
    ]


def test_no_number_of_titles_gives_an_address_the_places_that_are_reserved():
    """Not even when each may have as many as there are."""
    places = Places(ListenerSettings(maximum_associations=16, maximum_associations_per_peer=16))
    taken = [places.take("10.0.0.1", f"A{n}", 10_000) for n in range(40)]
    assert taken == [None] * 14 + ["places_reserved"] * 26
    assert places.take("10.0.0.2", "B") is None


def test_the_last_places_are_for_addresses_that_have_none():
    """An eighth: others fill the rest, each can't be told to wait by them alone."""
    places = Places(ListenerSettings(maximum_associations=16, maximum_associations_per_peer=16))
    taken = [places.take("10.0.0.1", f"A{n}") for n in range(16)]
    assert taken == [None] * 14 + ["places_reserved"] * 2
    assert take(places, ("10.0.0.2", "B"), ("10.0.0.2", "B"), ("10.0.0.3", "C"), ("10.0.0.4", "D")) == [
        None,
        "places_reserved",
        None,
        "local_limit_exceeded",
    ]


def test_a_single_place_is_anybodys():
    """Nothing is reserved of fewer than eight."""
    places = Places(ListenerSettings(maximum_associations=1))
    assert take(places, ("10.0.0.1", "A"), ("10.0.0.2", "B")) == [None, "local_limit_exceeded"]


def test_small_objects_need_no_allowance():
    """They pass while large ones have all of it."""
    allowance = Allowance(2_000_000, patience=0.05)
    assert allowance.take(0, FREE_BYTES + 2_000_000) is None
    held = allowance.take(0, FREE_BYTES + 1_000_000)
    assert held >= 1_000_000
    assert allowance.take(0, FREE_BYTES) == 0
    assert allowance.take(0, FREE_BYTES + 1_000_000) is None
    assert allowance.take(held, FREE_BYTES + 1_000_000) == held


def test_who_waits_for_allowance_gets_what_others_give_back():
    """Within its patience."""
    allowance = Allowance(1_100_000, patience=10)
    held = allowance.take(0, FREE_BYTES + 1_000_000)
    got = []
    waiting = threading.Thread(target=lambda: got.append(allowance.take(0, FREE_BYTES + 1_000_000)))
    waiting.start()
    time.sleep(0.05)
    assert got == []
    allowance.give_back(held)
    waiting.join(5)
    assert got == [held]


@pytest.mark.parametrize("sizes", [[300_000] * 5, [5_000_000], [262_144, 262_145, 1_310_720, 1_310_721]])
def test_what_is_taken_is_enough_and_all_given_back(sizes):
    """Grown step by step, as fragments come."""
    allowance = Allowance(10_000_000, patience=0)
    held = 0
    for size in sizes:
        held = allowance.take(held, size)
        assert size - FREE_BYTES <= held < size - FREE_BYTES + 1_048_576
    allowance.give_back(held)
    assert allowance.take(0, FREE_BYTES + 9_000_000) is not None
