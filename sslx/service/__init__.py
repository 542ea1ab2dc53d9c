"""The black box: an encoder behind a query interface, with exact accounting."""

from sslx.service.blackbox import (
    BudgetExceeded,
    Service,
    read_answers,
    read_counters,
    serve,
)
from sslx.service.defences import DEFENCES, Defence
from sslx.service.ledger import Counters

__all__ = [
    "DEFENCES",
    "BudgetExceeded",
    "Counters",
    "Defence",
    "Service",
    "read_answers",
    "read_counters",
    "serve",
]
