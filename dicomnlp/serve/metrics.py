"""What Prometheus reads at /metrics: the state of the database at that moment, and the requests of this process.

Labels are states, outcomes, reason codes, route templates and HTTP statuses: words of this program, never of an object;
and calling AE titles, a bounded number of them.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dicomnlp import __version__
from dicomnlp.errors import DatabaseError
from dicomnlp.logs import FIELDS
from dicomnlp.store.pressure import HINDRANCES
from dicomnlp.store.status import Status
from dicomnlp.store.traffic import STORE_SECONDS_BOUNDS, Count

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the latency histogram; 0.02 is the aim for the findings of a study."""


class _Database(Collector):
    """Asks for the status at each scrape; while that fails there is only dicomnlp_database_up 0."""

    def __init__(
        self,
        read: Callable[[], Status],
        read_hindrance: Callable[[], str | None],
        read_traffic: Callable[[], Mapping[Count, float]],
        read_drift: Callable[[], Mapping[str, int]],
    ) -> None:
        self._read = read
        self._read_drift = read_drift
        self._read_traffic = read_traffic
        self._read_hindrance = read_hindrance

    def describe(self) -> Iterable[Metric]:
        return ()  # else the registry would ask the database before anybody scrapes

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("dicomnlp_database_up", "1 when the status could be read from the database.")
        try:
            status = self._read()
            hindrance = self._read_hindrance()
            traffic = self._read_traffic()
            drift = self._read_drift()
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
        yield _labelled(
            "dicomnlp_drift_alarms",
            "1 while reports in this language have drifted and nobody has acknowledged it.",
            "language",
            drift,
        )
        yield _labelled(
            "dicomnlp_deliveries",
            "Webhooks, mails, HL7 messages and documents that wait, or were given up (dead).",
            "state",
            status.deliveries,
        )
        yield GaugeMetricFamily("dicomnlp_images", "Images of which the header is held.", value=status.images)
        yield from _traffic(traffic)
        yield GaugeMetricFamily("dicomnlp_original_bytes", "Bytes of the originals held.", value=status.original_bytes)
        yield GaugeMetricFamily("dicomnlp_database_bytes", "Size of the database.", value=status.database_bytes)


def _labelled(name: str, description: str, label: str, values: Mapping[str, int]) -> Metric:
    """One gauge a word; what the log would not admit as a value of this kind is no label either."""
    family = GaugeMetricFamily(name, description, labels=[label])
    for word, count in sorted(values.items()):
        family.add_metric([FIELDS[label](word)], count)
    return family


def _traffic(traffic: Mapping[Count, float]) -> Iterable[Metric]:
    """What the listeners counted, by calling AE title; of these there is a bounded number."""
    for measure, (name, description, label) in _COUNTERS.items():
        labels = ["calling_ae_title", label] if label else ["calling_ae_title"]
        family = CounterMetricFamily(name, description, labels=labels)
        for count, value in traffic.items():
            if count.measure == measure:
                words = (count.calling_ae_title, count.label)[: len(labels)]
                family.add_metric([FIELDS[kind](word) for kind, word in zip(labels, words, strict=True)], value)
        yield family
    seconds = HistogramMetricFamily(
        "dicomnlp_store_seconds", "Time from the last byte of an object to its answer.", labels=["calling_ae_title"]
    )
    for title in dict.fromkeys(count.calling_ae_title for count in traffic if count.measure == "store_seconds"):
        found = {c.label: n for c, n in traffic.items() if c[:2] == (title, "store_seconds_bucket")}
        sums = itertools.accumulate(found.get(bound, 0.0) for bound in STORE_SECONDS_BOUNDS)
        seconds.add_metric(
            [FIELDS["calling_ae_title"](title)],
            list(zip(STORE_SECONDS_BOUNDS, sums, strict=True)),
            sum_value=traffic[Count(title, "store_seconds")],
        )
    yield seconds


_COUNTERS = {
    "associations": ("dicomnlp_associations", "Associations that ended, by how.", "outcome"),
    "association_seconds": ("dicomnlp_association_seconds", "How long they lasted, all together.", ""),
    "rejections": ("dicomnlp_associations_rejected", "Associations that were not accepted.", "reason_code"),
    "bytes": ("dicomnlp_received_bytes", "Bytes that came on associations.", ""),
    "objects": ("dicomnlp_store_requests", "Objects answered.", "outcome"),
    "refusals": ("dicomnlp_store_requests_refused", "Objects answered with a failure.", "reason_code"),
}
"""Measure -> name, description, second label."""


class Metrics:
    """The registry of one application.

    Parameters
    ----------
    read
        Gives the database's status; may raise DatabaseError.
    read_hindrance
        Says why no objects are taken, None when they are; likewise.
    read_traffic
        Gives what the listeners counted; likewise.
    read_drift
        Says of each language whether an alarm stands; likewise.
    """

    def __init__(
        self,
        read: Callable[[], Status],
        read_hindrance: Callable[[], str | None],
        read_traffic: Callable[[], Mapping[Count, float]],
        read_drift: Callable[[], Mapping[str, int]],
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Database(read, read_hindrance, read_traffic, read_drift))
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
