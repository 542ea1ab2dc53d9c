"""The facts of ``sslx inspect`` as text, at most 100 columns where names allow it."""

import textwrap
from collections.abc import Iterable, Iterator

from jinja2 import Environment, PackageLoader

WIDTH = 96


def as_text(facts: dict) -> str:
    """The text of what ``inspect.look`` gives."""
    environment = Environment(
        loader=PackageLoader("sslx.cli", "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"columns": _columns, "wrapped": _wrapped}
    sections = _sections(facts.get("runs", {}))
    lengths = (
        2 * depth + len(key) for rows in sections.values() for depth, key in rows
    )
    width = min(max(lengths, default=0), 64)
    kind = "workdir" if "workdir" in facts else "run"
    template = environment.get_template(f"{kind}.txt.j2")
    text = template.render(facts=facts, sections=sections, width=width)
    return text.removesuffix("\n")


def _wrapped(text: str, indent: str = "  ", hang: str = "  ") -> str:
    """Lines, each with its end; none for no text."""
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "".join(f"{line}\n" for line in lines)


def _columns(text: str) -> str:
    """Lines of cells with tabs between: the first to the left, the others right."""
    rows = [line.split("\t") for line in text.splitlines()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    form = "  ".join(f"{{:{'>' if i else '<'}{w}}}" for i, w in enumerate(widths))
    return "".join(f"  {form.format(*row)}".rstrip() + "\n" for row in rows)


def _sections(runs: dict[str, dict]) -> dict[str, list[tuple[int, str]]]:
    """Title -> (depth, key) of runs and, below each, what builds on it; each once."""
    shown: set[str] = set()

    def tree(keys: Iterable[str], depth: int = 1) -> Iterator[tuple[int, str]]:
        for key in keys:
            if key not in shown:
                shown.add(key)
                yield depth, key
                below = (c for c in runs[key]["children"] if not _section(runs[c]))
                yield from tree(below, depth + 1)

    titles = ("victims", "no parent", "reports", "parent missing", "unreadable")
    sections = {
        title: [*tree(key for key, run in runs.items() if _section(run) == title)]
        for title in titles
    }
    # Runs that name each other as parents, which only a damaged file can.
    sections["unreadable"] += tree(runs)
    return sections


def _section(run: dict) -> str:
    """Where a run stands; "" for below the run that it builds on."""
    if run["finished"] is None:
        return "unreadable"
    if run["stage"] == "report":
        return "reports"
    if run["missing"]:
        return "parent missing"
    if run["parents"]:
        return ""
    return "victims" if run["stage"] == "victim" else "no parent"
