"""The bills of several accounts together, from a service's file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sslx.service.readers import read_counters

LEDGER = "ledger.sqlite"  # in the run of the answers


def bills(ledger: Path, accounts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Account -> its counters, by name; see ``Counters``.

    Raises:
        UserError: No such file, or a damaged one.
    """
    return {name: read_counters(ledger, name)._asdict() for name in accounts}


def total(
    counted: dict[str, dict[str, Any]], total_image_limit: int | None
) -> dict[str, Any]:
    """All of ``bills`` as one; an image that two accounts sent is unique twice.

    Args:
        counted: At least one account's.
        total_image_limit: Of all together, None for none: ``limit`` is the lower one.
    """
    keys = next(iter(counted.values()))
    out = {key: sum(bill[key] for bill in counted.values()) for key in keys}
    if total_image_limit is not None:
        out["limit"] = min(out["limit"], total_image_limit)
    return out
