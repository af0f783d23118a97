"""The preparation of worker processes that doesn't come to its end in those that ENDLESS_WORKERS names."""

import os
import time
from pathlib import Path


def dask_setup(worker):
    """Longer than any test waits; a file tells that it has begun."""
    Path(worker.local_directory, f"begun-{worker.name}").touch()
    while str(worker.name) in os.environ["ENDLESS_WORKERS"].split():
        time.sleep(1)
