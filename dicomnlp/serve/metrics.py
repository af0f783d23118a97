"""What Prometheus reads at /metrics: the state of the database at that moment, and the requests of this process.

Labels are states, outcomes, reason codes, route templates and HTTP statuses: words of this program, never of an object.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dicomnlp import __version__
from dicomnlp.errors import DatabaseError
from dicomnlp.logs import FIELDS
from dicomnlp.store.pressure import HINDRANCES
from dicomnlp.store.status import Status

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the latency histogram; 0.02 is the aim for the findings of a study."""


class _Database(Collector):
    """Asks for the status at each scrape; while that fails there is only dicomnlp_database_up 0."""

    def __init__(self, read: Callable[[], Status], read_hindrance: Callable[[], str | None]) -> None:
        self._read = read
        self._read_hindrance = read_hindrance

    def describe(self) -> Iterable[Metric]:
        return ()  # else the registry would ask the database before anybody scrapes

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("dicomnlp_database_up", "1 when the status could be read from the database.")
        try:
            status = self._read()
            hindrance = self._read_hindrance()
        except DatabaseError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield _labelled("dicomnlp_objects", "Objects held.", "state", status.objects)
        yield _labelled(
            "dicomnlp_objects_failed", "Objects whose analysis failed.", "reason_code", status.failure_reason_codes
        )
        yield _labelled("dicomnlp_arrivals", "Rows of the ledger.", "outcome", status.ledger)
        yield _labelled(
            "dicomnlp_arrivals_not_taken",
            "Rows of the ledger that are refused or quarantined.",
            "reason_code",
            status.reason_codes,
        )
        yield _labelled("dicomnlp_analyses", "Current analyses.", "pipeline", status.pipelines)
        yield GaugeMetricFamily(
            "dicomnlp_oldest_pending_seconds",
            "How long the longest waits for analysis; 0 when nothing does.",
            value=status.oldest_pending_seconds or 0,
        )
        yield _labelled(
            "dicomnlp_intake_paused",
            "1 while no objects are taken, for this reason.",
            "reason_code",
            {reason_code: int(reason_code == hindrance) for reason_code in HINDRANCES},
        )
        yield GaugeMetricFamily("dicomnlp_original_bytes", "Bytes of the originals held.", value=status.original_bytes)
        yield GaugeMetricFamily("dicomnlp_database_bytes", "Size of the database.", value=status.database_bytes)


def _labelled(name: str, description: str, label: str, values: Mapping[str, int]) -> Metric:
    """One gauge a word; what the log would not admit as a value of this kind is no label either."""
    family = GaugeMetricFamily(name, description, labels=[label])
    for word, count in sorted(values.items()):
        family.add_metric([FIELDS[label](word)], count)
    return family


class Metrics:
    """The registry of one application.

    Parameters
    ----------
    read
        Gives the database's status; may raise DatabaseError.
    read_hindrance
        Says why no objects are taken, None when they are; likewise.
    """

    def __init__(self, read: Callable[[], Status], read_hindrance: Callable[[], str | None]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Database(read, read_hindrance))
        ProcessCollector(registry=self._registry)
        build = Gauge("dicomnlp_build_info", "The program's version.", ["version"], registry=self._registry)
        build.labels(__version__).set(1)
        labels = ("route", "status")
        self._requests = Counter("dicomnlp_http_requests", "HTTP requests answered.", labels, registry=self._registry)
        self._seconds = Histogram(
            "dicomnlp_http_request_seconds",
            "Time from a request's arrival to the end of its answer.",
            labels,
            buckets=SECONDS_BUCKETS,
            registry=self._registry,
        )

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one request: its route template, HTTP status, and time taken."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route, str(status)).observe(seconds)

    def exposition(self) -> bytes:
        """All metrics in the text format that `prometheus_client.CONTENT_TYPE_LATEST` names."""
        return generate_latest(self._registry)
