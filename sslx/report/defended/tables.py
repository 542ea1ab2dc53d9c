"""The tables of a defended study."""

from sslx.report.defended.detected import Detected
from sslx.report.defended.frontier import Defended, Thief
from sslx.report.tables import Lines, lines, number, place_of
from sslx.service.detectors import Rates


def frontier_table(found: list[Defended]) -> Lines:
    """A line for each defence: honest users beside thieves, in points and per cent."""

    def points(value: float | None) -> str:
        return number(None if value is None else 100 * value, ".1f")

    def theft(thief: Thief | None) -> str:
        return f"{points(thief.accuracy)}, {thief.theft}" if thief else ""

    def noted(values: dict[str, float]) -> str:
        return ", ".join(f"{name} {value:.3g}" for name, value in values.items())

    return lines(
        place_of(d, found)
        | {
            "defence": d.defence,
            "users lose": points(d.loss),
            "most": f"{points(d.uses[0].loss)}, {d.uses[0].user} {d.uses[0].images}"
            if d.uses
            else "",
            "theft, naive": theft(d.naive),
            "theft that knows": theft(d.adapted),
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
            "runs": str(use.users),
            "clean": number(100 * use.clean, ".1f"),
            "defended": number(100 * use.defended, ".1f"),
            "loss": number(100 * use.loss, ".1f"),
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
            "threshold by": str(d.streams),
            "honest users": ", ".join(
                f"{kind} {alarms(rates)}" for kind, rates in d.honest.items()
            ),
            "thief, naive": thief(d.naive),
            "thief that knows": thief(d.adapted),
            "stopped there": f"{100 * d.stopped.accuracy:.1f}, {d.stopped.theft}"
            if d.stopped
            else "",
        }
        for d in found
    )
