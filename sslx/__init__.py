"""Extraction of self-supervised image encoders, in JAX and Flax.

``open_run(path)`` opens what a run left behind, ``lineage(workdir)`` lists the runs
there are (docs/analysis.md), ``victims()`` the victims that come with it; the rest is
under ``sslx.losses``, ``sslx.models``, ``sslx.data``, ``sslx.attacks``,
``sslx.service``, ``sslx.evals``.
"""

from importlib import import_module
from typing import Any

from sslx.version import __version__

__all__ = ["UserError", "__version__", "lineage", "open_run", "victims"]

# Imported when they are first asked for: what only reads a type stays light.
_HOMES = {
    "UserError": "sslx.types",
    "lineage": "sslx.runs.lineage",
    "open_run": "sslx.embed.finished",
    "victims": "sslx.embed.shipped",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sslx' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
