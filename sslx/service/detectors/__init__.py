"""Detectors by name; one file each, ``detector.py`` has their contract."""

from collections.abc import Callable, Mapping
from typing import Any

from sslx.registry import keywords, pick
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
from sslx.service.detectors.judging import (
    Rates,
    Verdict,
    judge,
    rates,
    summarise,
    verdicts_of,
)
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
    "make_detectors",
    "rates",
    "read_traffic",
    "summarise",
    "verdicts_of",
]

# A function of its numbers, which have defaults, that makes one.
DETECTORS: dict[str, Callable[..., Detector]] = {
    "prada": prada,
    "mmd": mmd,
    "similarity": similarity,
    "coverage": coverage,
}


def make_detectors(numbers: Mapping[str, Mapping[str, Any]]) -> dict[str, Detector]:
    """Detectors of these names and numbers, which have defaults.

    One that can compare accounts is there a second time, as "NAME across".

    Raises:
        UserError: A name is unknown.
    """
    out = {}
    for name, own in numbers.items():
        entry = pick(DETECTORS, name, "detector")
        out[name] = entry(**own)
        if "across" in keywords(entry):
            out[f"{name} across"] = entry(**own, across=True)
    return out
