"""The thefts a config asks for, and what is trained alone beside them."""

from sslx.experiment.thefts.theft import Theft, make_theft_runs

__all__ = ["Theft", "make_theft_runs"]
