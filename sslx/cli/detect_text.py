"""What detectors say of accounts, as text."""

from typing import Any

from sslx.types import printable


def as_text(found: dict[str, Any]) -> str:
    """What ``sslx.cli.detect.detect`` returns, as tables of a line an account."""
    names = list(found["detectors"])
    judged = {True: 0, False: 0}
    rows = []
    # Others first: it is they who are looked for.
    for account, of in sorted(found["accounts"].items(), key=lambda a: a[1]["honest"]):
        judged[of["honest"]] += 1
        cells = [_cell(of["detectors"][name]) for name in names]
        kind = "honest" if of["honest"] else ""
        rows.append([printable(account), kind, f"{of['queries']:,}", *cells])
    head = ["account", "", "queries", *names]
    lines = [
        f"streams of {found['length']:,} queries, {found['width']:,} numbers each; "
        f"{judged[True]:,} honest accounts judged, {judged[False]:,} others; "
        f"thresholds set by {_listed(found['fitted_on'])}",
        "of each detector: queries until the alarm, and its highest score against the "
        "threshold",
        "",
        *_table([head, *rows]),
        "",
        *_table([["false alarms", "", "", ""], *map(list, _false(found))]),
    ]
    for name, why in found["left_out"].items():
        lines.append(f"{name} is left out: {why}")
    return "\n".join(lines)


def _cell(verdict: dict[str, Any]) -> str:
    if verdict["score"] is None:
        return "too short"
    score, threshold = f"{verdict['score']:.3g}", f"{verdict['threshold']:.3g}"
    if verdict["alarm"] is None:
        return f"no  {score} <= {threshold}"
    return f"{verdict['alarm']:,}  {score} > {threshold}"


def _false(found: dict[str, Any]):
    """Of each detector: how often honest streams that are judged raise an alarm."""
    for name, of in found["detectors"].items():
        wrong = of["false_alarms"]
        alarms = round(wrong["share"] * wrong["streams"])
        promised = max(found["rate"], 1 / (of["streams"] + 1))
        yield (
            name,
            f"{alarms:,} of {wrong['streams']:,} honest streams",
            f"{wrong['share']:.0%} ({wrong['low']:.0%} to {wrong['high']:.0%})",
            f"{promised:.0%} expected: {of['streams']:,} set the threshold",
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(map(printable, names[:3])) + more


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
