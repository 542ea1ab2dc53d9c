"""What an attacker makes of defended answers; ``cleaner.py`` has the contract."""

from collections.abc import Callable, Iterable
from typing import Any

from sslx.attacks.cleaning.cleaner import Answered, Help
from sslx.attacks.cleaning.maps import maps
from sslx.attacks.cleaning.outliers import outliers
from sslx.attacks.cleaning.predictions import predictions
from sslx.attacks.cleaning.recover import recover
from sslx.attacks.cleaning.standardise import standardise
from sslx.attacks.cleaning.views import mean, union
from sslx.registry import pick, traits_of

CLEANERS: dict[str, Callable[..., Answered]] = {
    "mean": mean,
    "union": union,
    "maps": maps,
    "standardise": standardise,
    "outliers": outliers,
    "recover": recover,
    "predictions": predictions,
}


def wanted(names: Iterable[str], trait: str) -> dict[str, Any]:
    """Those of some cleaners that have a trait (``sslx.registry.Traits``), and it."""
    entries = {name: pick(CLEANERS, name, "cleaner", own=True) for name in names}
    found = {name: getattr(traits_of(e), trait) for name, e in entries.items()}
    return {name: value for name, value in found.items() if value}


__all__ = ["CLEANERS", "Answered", "Help", "wanted"]
