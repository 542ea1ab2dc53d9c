"""What an attacker makes of defended answers; ``cleaner.py`` has the contract."""

from collections.abc import Callable

from sslx.attacks.cleaning.cleaner import Answered, Help
from sslx.attacks.cleaning.maps import maps
from sslx.attacks.cleaning.outliers import outliers
from sslx.attacks.cleaning.predictions import predictions
from sslx.attacks.cleaning.recover import recover
from sslx.attacks.cleaning.views import mean, union

CLEANERS: dict[str, Callable[..., Answered]] = {
    "mean": mean,
    "union": union,
    "maps": maps,
    "outliers": outliers,
    "recover": recover,
    "predictions": predictions,
}

ONE_VIEW = {"mean", "union"}  # after them an image has one answer
WITH_FEATURES = {"outliers", "recover"}  # they want an encoder of the attacker's own

__all__ = ["CLEANERS", "ONE_VIEW", "WITH_FEATURES", "Answered", "Help"]
