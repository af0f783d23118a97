"""Several dispatchers on one database: one leads, the others wait for its end, however it ends."""

import contextlib
import threading
import time

import pytest
import sqlalchemy as sa
from work.bench import make_settings

from dicomnlp.config import DatabaseSettings
from dicomnlp.errors import DatabaseError
from dicomnlp.store import admin
from dicomnlp.store.database import Database
from dicomnlp.work import standby


class Leading:
    """In place of a dispatcher: who leads, and nothing else."""

    now: list = []  # noqa: RUF012  of the test that runs
    began: list = []  # noqa: RUF012  every time that one began to

    def __init__(self, settings, database, *, check_role):
        self.name, self.check_role = database.name, check_role

    def run(self, stop, on_ready):
        """Lead until `stop`, looking at the role as a dispatcher does."""
        Leading.now.append(self.name)
        Leading.began.append(self.name)
        on_ready("tls://scheduler")
        try:
            while not stop.wait(0.02):
                self.check_role()
        finally:
            Leading.now.remove(self.name)


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request, tmp_path, monkeypatch):
    """Of a database that two dispatchers share, which look often."""
    monkeypatch.setattr(standby, "Dispatcher", Leading)
    monkeypatch.setattr(standby, "STANDBY_SECONDS", 0.05)
    settings = make_settings(tmp_path)
    if request.param == "sqlite":
        admin.upgrade(settings)
        yield settings
        return
    server = request.getfixturevalue("postgres")
    name = server.create_database()
    url = DatabaseSettings(url=server.url(name), large_object_directory=tmp_path)
    settings = settings.model_copy(update={"database": url})
    admin.upgrade(settings)
    yield settings
    server.drop_database(name)


@contextlib.contextmanager
def dispatching(settings, name):
    """A dispatcher in a thread: what it has announced, and what stops it."""
    database = Database.open(settings)
    database.name = name
    stop, announced = threading.Event(), []
    thread = threading.Thread(
        target=standby.run_dispatcher, args=(settings, database), kwargs={"on_ready": announced.append, "stop": stop}
    )
    thread.start()
    try:
        yield announced, stop, thread
    finally:
        stop.set()
        thread.join(30)
        database.close()
    assert not thread.is_alive()


def until(condition):
    """Wait for `condition`."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_second_stands_by_and_takes_over_when_the_first_ends(settings):
    """It says so, once; the first one can come back, and then stands by itself."""
    with dispatching(settings, "one") as (_, stop, thread):
        until(lambda: Leading.now == ["one"])
        with dispatching(settings, "two") as (announced, _, _):
            until(lambda: announced == ["standby"])
            time.sleep(0.3)
            assert (Leading.now, announced) == (["one"], ["standby"])
            stop.set()
            thread.join(30)
            until(lambda: Leading.now == ["two"])
            assert announced == ["standby", "tls://scheduler"]
            with dispatching(settings, "one") as (again, _, _):
                until(lambda: again == ["standby"])


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_leader_whose_session_the_server_ended_gives_up_and_one_leads_again(settings, capsys):
    """The role is another's before the first one knows; soon there is one, and never is there none for long."""
    with dispatching(settings, "one"), dispatching(settings, "two") as _:
        until(lambda: len(Leading.now) == 1)
        for _ in range(3):
            began = len(Leading.began)
            assert end_session_of_leader(settings) == [True]
            until(lambda began=began: len(Leading.began) > began and len(Leading.now) == 1)
    assert capsys.readouterr().out.count("role_lost") == 3


def end_session_of_leader(settings):
    """What the server says of ending each session that holds the role."""
    database = Database.open(settings)
    with database.write() as connection:
        ended = connection.scalars(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        ).all()
    database.close()
    return ended


def test_first_start_without_a_database_server_is_told_and_not_waited_for(settings, monkeypatch):
    """Whoever starts it sees why; a server that goes away later is waited for."""
    database = Database.open(settings)

    def fail(_role):
        raise DatabaseError("away", reason_code="database_unreachable")

    monkeypatch.setattr(database, "hold", fail)
    with pytest.raises(DatabaseError):
        standby.run_dispatcher(settings, database, on_ready=lambda _: None, stop=threading.Event())
    database.close()
