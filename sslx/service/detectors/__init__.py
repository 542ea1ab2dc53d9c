"""Detectors by name; one file each, ``detector.py`` has their contract."""

from collections.abc import Callable

from sslx.service.detectors.coverage import coverage
from sslx.service.detectors.detector import (
    Detector,
    Fitted,
    Scores,
    Stream,
    cut,
    first_alarm,
    fit,
    full,
    halves,
)
from sslx.service.detectors.judging import Rates, Verdict, judge, rates, summarise
from sslx.service.detectors.mmd import mmd
from sslx.service.detectors.prada import prada
from sslx.service.detectors.similarity import similarity
from sslx.service.detectors.traffic import read_traffic

__all__ = [
    "DETECTORS",
    "Detector",
    "Fitted",
    "Rates",
    "Scores",
    "Stream",
    "Verdict",
    "cut",
    "first_alarm",
    "fit",
    "full",
    "halves",
    "judge",
    "rates",
    "read_traffic",
    "summarise",
]

# A function of its numbers, which have defaults, that makes one.
DETECTORS: dict[str, Callable[..., Detector]] = {
    "prada": prada,
    "mmd": mmd,
    "similarity": similarity,
    "coverage": coverage,
}
