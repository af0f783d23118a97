"""The HTTP service on a port of its own, in a thread of this process."""

import contextlib
import socket
import threading

from dicomnlp.serve import web


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def run_server(settings, **web_settings):
    """`run_web` with `web_settings` until the block ends; gives the address, "http://127.0.0.1:…"."""
    values = {**settings.web.model_dump(), "port": free_port(), **web_settings}
    chosen = settings.model_copy(update={"web": type(settings.web)(**values)})
    stop, ready = threading.Event(), threading.Event()
    addresses, failures = [], []

    def note(address):
        addresses.append(address)
        ready.set()

    def run():
        try:
            web.run_web(chosen, on_ready=note, stop=stop)
        except BaseException as error:
            failures.append(error)
            ready.set()
            raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(120)
        assert not failures
        yield addresses[0]
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
