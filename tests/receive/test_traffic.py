"""What is counted of each sender, how it reaches the database, and how many senders have a name there."""

import pytest

from dicomnlp.config import PeerSettings
from dicomnlp.model import Outcome, Receipt
from dicomnlp.receive.traffic import Traffic
from dicomnlp.store.database import Database
from dicomnlp.store.traffic import MAXIMUM_TITLES, OTHER, Count, add_traffic, read_traffic

SR, EXPLICIT = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.1.2.1"


@pytest.fixture
def database(settings):
    """An empty one."""
    database = Database.open(settings())
    yield database
    database.close()


def test_associations_and_objects_are_counted_by_sender(start, objects):
    """One stored, one refused, a release, an abort, a rejection; times and bytes beside them."""
    running = start()
    data_set = objects.data_set()
    peer = running.peer()
    peer.associate(calling="PACS1")
    peer.store(objects.encode(data_set), sop_instance_uid=data_set.SOPInstanceUID)
    peer.store(objects.encode(data_set), sop_instance_uid="1.2.3")
    peer.release()
    peer = running.peer()
    peer.associate(calling="PACS2")
    peer.send(b"\7\0\0\0\0\4\0\0\0\0")
    assert peer.receive()[0] == 0
    peer = running.peer()
    peer.send(peer.request(called="NOBODY", calling="STRANGER"))
    assert peer.receive()[0] == 3
    running.traffic.close()
    found = read_traffic(running.database)
    told = {(c.calling_ae_title, c.measure, c.label): n for c, n in found.items()}
    assert told["PACS1", "associations", "released"] == 1
    assert told["PACS1", "objects", "stored"] == told["PACS1", "objects", "refused"] == 1
    assert told["PACS1", "refusals", "identity_mismatch"] == 1
    assert told["PACS1", "bytes", ""] > 2 * len(objects.encode(data_set))
    assert sum(n for c, n in found.items() if c[:2] == ("PACS1", "store_seconds_bucket")) == 2
    assert 0 < told["PACS1", "store_seconds", ""] < told["PACS1", "association_seconds", ""]
    assert told["PACS2", "associations", "aborted_by_peer"] == 1
    assert told[OTHER, "rejections", "called_ae_title_not_recognized"] == 1
    assert not any(c.calling_ae_title == "STRANGER" for c in found)


def test_senders_that_are_not_configured_are_counted_together(start):
    """With tables of peers these alone have names."""
    running = start(peers=[PeerSettings(ae_title="PACS1"), PeerSettings(ae_title="*")])
    for title in ("PACS1", "PACS2", "PACS3"):
        peer = running.peer()
        peer.associate(calling=title)
        peer.release()
    running.traffic.close()
    found = read_traffic(running.database)
    assert found[Count("PACS1", "associations", "released")] == 1
    assert found[Count(OTHER, "associations", "released")] == 2


def test_sums_go_on_in_the_next_process(database):
    """What a listener adds comes on top of what was there."""
    for seconds in (0.002, 0.2):
        traffic = Traffic(database)
        receipt = Receipt(Outcome.STORED, 0, None, "1.2", "1.3", 1)
        traffic.object_answered("PACS1", receipt, seconds)
        traffic.close()
    found = read_traffic(database)
    assert found[Count("PACS1", "objects", "stored")] == 2
    assert found[Count("PACS1", "store_seconds")] == pytest.approx(0.202)
    assert found[Count("PACS1", "store_seconds_bucket", "0.0025")] == 1
    assert found[Count("PACS1", "store_seconds_bucket", "0.25")] == 1


def test_number_of_names_is_bounded_however_many_there_are(database):
    """In one process, and in what many of them have added."""
    traffic = Traffic(database)
    for number in range(MAXIMUM_TITLES + 20):
        traffic.association_ended(f"AE{number}", "released", seconds=1.0, received=10)
    traffic.close()
    add_traffic(database, {Count(f"NEW{number}", "bytes"): 1.0 for number in range(20)})
    found = read_traffic(database)
    assert len({c.calling_ae_title for c in found} - {OTHER}) == MAXIMUM_TITLES
    assert found[Count(OTHER, "associations", "released")] == 20
    assert found[Count(OTHER, "bytes")] == 200 + 20


def test_counts_wait_while_the_database_does_not_take_them(database, monkeypatch):
    """And are added once when it does."""
    from dicomnlp.errors import DatabaseError
    from dicomnlp.receive import traffic as module

    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.05)
    tries = []

    def fail(_database, counts):
        tries.append(dict(counts))
        if len(tries) < 3:
            raise DatabaseError("locked", reason_code="database_locked")
        add_traffic(_database, counts)

    monkeypatch.setattr(module, "add_traffic", fail)
    traffic = Traffic(database)
    traffic.association_rejected("X", "local_limit_exceeded")
    while len(tries) < 4:
        traffic._ended.wait(0.01)
    traffic.close()
    assert read_traffic(database) == {Count(OTHER, "rejections", "local_limit_exceeded"): 1.0}


def test_end_of_an_association_is_one_line_with_all_that_it_was(start, objects, capsys):
    """Who, from where, contexts accepted, objects, bytes, time."""
    import json

    from dicomnlp import logs

    logs.configure()
    running = start()
    data_set = objects.data_set()
    peer = running.peer()
    peer.associate((SR, EXPLICIT), ("1.2.840.10008.5.1.4.1.1.88.22", EXPLICIT), ("1.2.3", EXPLICIT), calling="PACS1")
    peer.store(objects.encode(data_set), sop_instance_uid=data_set.SOPInstanceUID)
    peer.release()
    running.traffic.close()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    [line] = [line for line in lines if line["event"] == "association_released"]
    assert (line["calling_ae_title"], line["called_ae_title"], line["peer_address"]) == (
        "PACS1",
        "DICOMNLP",
        "127.0.0.1",
    )
    assert (line["contexts"], line["count"]) == (2, 1)
    assert line["bytes"] > len(objects.encode(data_set))
    assert line["seconds"] > 0
    assert "undeclared" not in line
