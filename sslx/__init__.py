"""Extraction of self-supervised image encoders, in JAX and Flax.

``open_run(path)`` opens what a run left behind, ``lineage(workdir)`` lists the runs
there are (docs/analysis.md); the rest is under ``sslx.losses``,
``sslx.models``, ``sslx.data``, ``sslx.attacks``, ``sslx.service``, ``sslx.evals``.
"""

__version__ = "0.1.0"

from sslx.stages.lineage import lineage
from sslx.stages.link import open_run
from sslx.types import UserError

__all__ = ["UserError", "lineage", "open_run"]
