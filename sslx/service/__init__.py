"""The black box: an encoder behind a query interface, with exact accounting."""

from sslx.service.blackbox import Service, serve
from sslx.service.counters import Counters
from sslx.service.defences import DEFENCES, Defence
from sslx.service.readers import read_all_counters, read_answers, read_counters
from sslx.service.terms import REPEATS, BudgetExceeded

__all__ = [
    "DEFENCES",
    "REPEATS",
    "BudgetExceeded",
    "Counters",
    "Defence",
    "Service",
    "read_all_counters",
    "read_answers",
    "read_counters",
    "serve",
]
