"""Stage detection: whether detectors tell a thief from the honest users of a service.

Half of the honest accounts set thresholds; the other half, and the attacker's accounts,
are judged. Nobody is stopped, and no answer changes.
"""

from sslx.context import Context
from sslx.runs.files import write_meta
from sslx.runs.locks import working_on
from sslx.runs.names import Run
from sslx.service.bills import LEDGER
from sslx.service.detectors import (
    Stream,
    Verdict,
    cut,
    full,
    halves,
    make_detectors,
    read_traffic,
    verdicts_of,
)


def make(run: Run, context: Context) -> None:
    """Judges the accounts that a theft used beside those of honest users."""
    r = run.recipe
    with working_on(run, f"{len(r['detectors'])} detectors") as needed:
        if not needed:
            return
        length = r["length"]
        kinds, thief = _honest(run), read_traffic(run.parents["asked"].path / LEDGER)
        parts = full(cut([s for own in kinds.values() for s in own], length), length)
        fitted_on, _ = halves(parts)
        used = {s.account for s in fitted_on}
        judged = {
            kind: [s for s in own if s.account not in used]
            for kind, own in kinds.items()
        }
        streams = [*(s for own in judged.values() for s in own), *thief]
        detectors = make_detectors(r["detectors"])
        fits, left_out = verdicts_of(
            *(detectors, fitted_on, streams), rate=r["rate"], length=length
        )
        found = {
            name: {
                "threshold": fitted.threshold,
                "streams": fitted.streams,
                "honest": {k: _of(verdicts, own) for k, own in judged.items()},
                "thief": _of(verdicts, thief),
            }
            for name, (fitted, verdicts) in fits.items()
        }
        write_meta(run, finished=True, detectors=found, left_out=left_out)


def _of(verdicts: dict[str, Verdict], own: list[Stream]) -> list[dict]:
    """Those on some accounts, once each."""
    accounts = dict.fromkeys(s.account for s in own)
    return [verdicts[account]._asdict() for account in accounts]


def _honest(run: Run) -> dict[str, list[Stream]]:
    """Kind of user -> whole accounts."""
    kinds: dict[str, list[Stream]] = {}
    for role, parent in run.parents.items():
        if role.startswith("honest"):
            own = read_traffic(parent.path / LEDGER)
            kinds.setdefault(parent.recipe["user"], []).extend(own)
    return kinds
