"""Damage to bytes, for property tests."""

from hypothesis import strategies as st

kinds = st.sampled_from(["change", "insert", "remove", "repeat"])
damage = st.lists(st.tuples(kinds, st.floats(0, 1), st.binary(min_size=1, max_size=12)), min_size=1, max_size=6)


def harm(data, steps):
    """`data` with each step of damage done to it."""
    damaged = bytearray(data)
    for kind, where, what in steps:
        place = int(where * len(damaged))
        if kind == "change":
            damaged[place : place + len(what)] = what
        elif kind == "insert":
            damaged[place:place] = what
        elif kind == "remove":
            del damaged[place : place + len(what)]
        else:
            damaged[place:place] = damaged[place : place + 50 * len(what)]
    return bytes(damaged)
