"""Who of the accounts of a service behaves like a thief.

Command: sslx detect PATH --honest ACCOUNTS|FILE [--queries N] [--rate R] [--json] ...

PATH is a service's file (or the run that holds it), an .npz or a file with a JSON
object a line: account, time, features. It is only read.
"""

import argparse
import inspect
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sslx.cli.detect_text import as_text
from sslx.progress import say
from sslx.registry import keywords, pick
from sslx.runs.paths import local_path
from sslx.service.detectors import (
    DETECTORS,
    Detector,
    Stream,
    cut,
    full,
    halves,
    make_detectors,
    read_traffic,
    summarise,
    verdicts_of,
)
from sslx.types import UserError, refuse_if


class Asked(NamedTuple):
    """Whose traffic sets thresholds, and who is judged.

    Attributes:
        fitted: Honest streams of ``length`` queries that set the thresholds.
        judged: Honest streams that they are tried on.
        others: All other accounts.
        length: Queries of a stream.
    """

    fitted: list[Stream]
    judged: list[Stream]
    others: list[Stream]
    length: int


def parted(
    honest: Sequence[Stream], others: Sequence[Stream], most: int
) -> tuple[Asked, list[str]]:
    """Splits honest traffic, and what has to be said of it, a line each.

    A stream has ``most`` queries, or as many as half of the honest accounts have.

    Raises:
        UserError: Too few honest queries, or features of different widths.
    """
    every = [*honest, *others]
    widths = {s.features.shape[1]: s.account for s in every}
    refuse_if(
        len(widths) > 1,
        "features differ in width: "
        + ", ".join(f"{w:,} of account {a!r}" for w, a in sorted(widths.items())),
    )
    length = min(most, statistics.median_low([len(s.times) for s in honest]))
    parts = cut(honest, length)
    fitted, judged = halves(full(parts, length))
    accounts = {s.account for s in fitted}
    by_account = not accounts & {s.account for s in judged}
    if by_account:  # and what is left over of those that are judged
        judged = [s for s in parts if s.account not in accounts]
    refuse_if(
        len(fitted) < 2 or not judged,
        f"too few honest queries: {len(full(parts, length)):,} streams of {length:,} "
        "queries, of which two set thresholds and another is judged; name more honest "
        "accounts, or less --queries",
    )
    lines = []
    if length < most:
        lines.append(
            f"honest accounts are short: streams have {length:,} queries, not {most:,}"
        )
    if not by_account:
        lines.append(
            f"of the honest accounts only {fitted[0].account!r} has {length:,} "
            "queries: every other stream of it sets thresholds, the rest is judged"
        )
    return Asked(fitted, judged, list(others), length), lines


def detect(
    asked: Asked, detectors: Mapping[str, Detector], rate: float
) -> dict[str, Any]:
    """What detectors say of accounts, as ``--json`` shows it.

    Raises:
        UserError: No detector can be fitted.
    """
    streams = asked.judged + asked.others
    honest = {s.account for s in asked.judged}
    accounts: dict[str, dict[str, Any]] = {}
    for s in streams:
        of = {"honest": s.account in honest, "queries": 0, "detectors": {}}
        accounts.setdefault(s.account, of)["queries"] += len(s.times)
    fits, left_out = verdicts_of(
        *(detectors, asked.fitted, streams), rate=rate, length=asked.length
    )
    found = {}
    for name, (fitted, verdicts) in fits.items():
        for account, verdict in verdicts.items():
            accounts[account]["detectors"][name] = verdict._asdict()
        judged = summarise([v for a, v in verdicts.items() if a in honest])
        found[name] = {
            "threshold": fitted.threshold,
            "streams": fitted.streams,
            "false_alarms": judged._asdict(),
        }
    if not found:
        raise UserError("; ".join(dict.fromkeys(left_out.values())))
    return {
        "length": asked.length,
        "rate": rate,
        "width": streams[0].features.shape[1],
        "fitted_on": sorted({s.account for s in asked.fitted}),
        "detectors": found,
        "left_out": left_out,
        "accounts": accounts,
    }


def made(names: Sequence[str], settings: Sequence[str]) -> dict[str, Detector]:
    """The detectors of these names, the numbers of which are as NAME.KEY=VALUE say.

    Raises:
        UserError: A name or a number is unknown or wrong.
    """
    numbers: dict[str, dict[str, Any]] = {name: {} for name in names}
    for text in settings:
        where, _, value = text.partition("=")
        name, _, key = where.partition(".")
        known = keywords(pick(DETECTORS, name, "detector")) - {"across"}
        refuse_if(
            key not in known,
            f"--set {text}: {name} has no number {key!r}; known: "
            f"{', '.join(sorted(known))}",
        )
        refuse_if(name not in numbers, f"--set {text}: {name} is not among --detectors")
        default = inspect.signature(DETECTORS[name]).parameters[key].default
        try:
            numbers[name][key] = type(default)(value)
        except ValueError:
            kind = "whole number" if isinstance(default, int) else "number"
            raise UserError(f"--set {text}: {value!r} is no {kind}") from None
    return make_detectors(numbers)


def given(path: Path, honest: str) -> tuple[list[Stream], list[Stream]]:
    """Honest and other streams; honest ones by their accounts, or all of a file."""
    streams = read_traffic(path)
    if os.path.exists(honest):
        # The same name may be in both files: an account, before and after.
        other = [
            s._replace(account=f"{s.account} (honest)")
            for s in read_traffic(local_path(honest))
        ]
        return other, streams
    names = [name for name in honest.split(",") if name]
    known = [s.account for s in streams]
    unknown = [name for name in names if name not in known]
    refuse_if(
        unknown or not names,
        f"--honest {honest}: there is no account {unknown[0] if unknown else ''!r} in "
        f"{path}, and no such file; its {len(known):,} accounts are "
        + ", ".join(known[:8])
        + (", ..." if len(known) > 8 else ""),
    )
    return (
        [s for s in streams if s.account in names],
        [s for s in streams if s.account not in names],
    )


def main(argv: list[str] | None = None) -> None:
    """The program."""
    parser = argparse.ArgumentParser(
        prog="sslx detect", description="Tells who behaves like a thief."
    )
    add = parser.add_argument
    add("path", metavar="PATH", type=local_path, help="a ledger, its run, npz or JSONL")
    add(
        "--honest",
        required=True,
        metavar="A,B,.. or FILE",
        help="accounts that are known to be honest, or another file with such alone",
    )
    add("--queries", type=int, default=1000, metavar="N", help="of a stream (1000)")
    add("--rate", type=float, default=0.05, help="of false alarms a stream (0.05)")
    add("--detectors", default=",".join(DETECTORS), metavar="A,B", help="all if unsaid")
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME.KEY=VALUE",
        help="a number of a detector, such as mmd.window=100",
    )
    add("--json", action="store_true", help="the same as JSON")
    args = parser.parse_args(argv)
    refuse_if(args.queries < 2, f"--queries {args.queries}: 2 or more are needed")
    refuse_if(not 0 < args.rate < 1, f"--rate {args.rate:g} does not lie in 0..1")
    detectors = made([n for n in args.detectors.split(",") if n], args.set)
    refuse_if(not detectors, "--detectors names none")
    asked, lines = parted(*given(args.path, args.honest), args.queries)
    for line in lines:
        say(line)
    found = detect(asked, detectors, args.rate)
    print(json.dumps(found, indent=1) if args.json else as_text(found))
