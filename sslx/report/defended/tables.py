"""The tables of a defended study."""

from sslx.report.defended.detected import Detected
from sslx.report.defended.frontier import Defended, Thief
from sslx.report.tables import Lines, lines, number, percent, place_of
from sslx.service.detectors import Rates


def theft(thief: Thief | None, defence: str) -> str:
    """Its accuracy, of how many it is the best, and what it is beside the defence."""
    if thief is None:
        return ""
    known = {*defence.split(), f"defence={defence.split()[0]}"}
    name = " ".join(word for word in thief.theft.split() if word not in known)
    of = f", best of {thief.of}" if thief.of > 1 else ""
    return f"{percent(thief.accuracy)}, {name}{of}"


def frontier_table(found: list[Defended]) -> Lines:
    """A line for each defence: honest users beside thieves, in points and per cent."""

    def points(value: float | None) -> str:
        return number(None if value is None else 100 * value, ".1f")

    def noted(values: dict[str, float]) -> str:
        return ", ".join(f"{name} {value:.3g}" for name, value in values.items())

    return lines(
        place_of(d, found)
        | {
            "defence": d.defence,
            "users lose": points(d.loss),
            "most": f"{percent(d.uses[0].loss)}, {d.uses[0].user} {d.uses[0].images}"
            if d.uses
            else "",
            "theft, naive": theft(d.naive, d.defence),
            "theft that knows": theft(d.adapted, d.defence),
            "agreement": points(d.thief and d.thief.agreement),
            "ms an answer": number(d.seconds and 1000 * d.seconds, ".2g"),
            "noted, users": noted(d.noted),
            "noted, theft": noted(d.thief.noted) if d.thief else "",
        }
        for d in found
    )


def use_table(found: list[Defended]) -> Lines:
    """A line for each defence, kind and size of honest users."""
    return lines(
        place_of(d, found)
        | {
            "defence": d.defence,
            "user": use.user,
            "images": number(use.images, ","),
            "runs": str(use.runs),
            "clean": number(100 * use.clean, ".1f"),
            "defended": number(100 * use.defended, ".1f"),
            "loss": percent(use.loss),
        }
        for d in found
        for use in d.uses
    )


def detected_table(found: list[Detected]) -> Lines:
    """A line for each detector behind each defence."""

    def alarms(rates: Rates) -> str:
        return f"{rates.detected} of {rates.accounts}"

    def thief(rates: Rates | None) -> str:
        if rates is None:
            return ""
        after = [number(n, ",") or "never" for n in (rates.median, rates.most)]
        return f"{alarms(rates)}; {after[0]}, {after[1]}"

    return lines(
        place_of(d, found)
        | {
            "defence": d.defence,
            "detector": d.detector,
            "false alarms expected": f"{100 / (d.streams + 1):.0f} %",
            "honest users": ", ".join(
                f"{kind} {alarms(rates)}" for kind, rates in d.honest.items()
            ),
            "thief, naive": thief(d.naive),
            "thief that knows": thief(d.adapted),
            "stopped there": theft(d.stopped, d.defence),
        }
        for d in found
    )
