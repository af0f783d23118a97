"""The preparation of a worker process without a language pack, which takes seconds that these tests don't need."""

from dicomnlp.work import preload


def dask_setup(worker):
    """All of `preload.dask_setup` but the pack."""
    preload.load_pack = lambda _language: None
    preload.dask_setup(worker)
