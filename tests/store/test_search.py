"""Findings over all studies: filters, order, pages, counts, words."""

import datetime as dt
import itertools

import pytest
import sqlalchemy as sa
from support.records import instance_uid, make_finding, make_processed, make_record

from dicomnlp.model import Assertion, Laterality
from dicomnlp.store import fulltext
from dicomnlp.store.intake import record_arrivals
from dicomnlp.store.queue import save_processed
from dicomnlp.store.search import FACETS, Filters, count_by, count_findings, iterate_findings, search_findings
