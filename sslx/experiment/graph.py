"""From a config to the runs it asks for.

Nothing is compiled or trained here, so what is wrong in a config is said at once. An
experiment is a study of one combination: each combination of ``study.grid`` is a
member, and members share whatever has the same recipe.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from sslx import data
from sslx.attacks.attack import OWN
from sslx.context import Context
from sslx.experiment.checks import check, check_equal_work, check_sets
from sslx.experiment.honest import beside, make_honest
from sslx.experiment.overrides import changed, combinations
from sslx.experiment.places import make_context
from sslx.experiment.probes import at_hand, make_probes
from sslx.experiment.separation import Test, tests_of
from sslx.experiment.thefts import Theft, make_theft_runs
from sslx.experiment.victims import (
    independent_runs,
    is_foreign,
    unanswered,
    victim_run,
)
from sslx.runs.names import Run, fingerprint, make_run, with_ancestors
from sslx.types import Published, UserError, printable


class Member(NamedTuple):
    """One combination of the grid.

    Attributes:
        changes: Key of the config -> its value in this combination.
        config: With these changes.
        victim: The run of the victim.
        theft: None where nothing is stolen.
        independent: Runs of encoders trained as the victim, which nobody steals.
        tests: The probes' data sets that are at hand, and what is judged on.
        beside: Further sets whose test images honest users send.
        skipped: Sets that are not, and may be left out.
        unanswered: Sets without a probe of the victim -> how many of their images
            nobody asked it.
    """

    changes: dict[str, Any]
    config: ConfigDict
    victim: Run
    theft: Theft | None
    independent: list[Run]
    tests: list[Test]
    beside: list[Test]
    skipped: list[str]
    unanswered: dict[str, int]


class Experiment(NamedTuple):
    """All runs of a config.

    Attributes:
        members: Headline first.
        probes: The runs of all probes, comparisons and galleries, set by set.
        report: The run of the report, which builds on all others.
        context: How they are carried out.
    """

    members: list[Member]
    probes: list[Run]
    report: Run
    context: Context

    @property
    def thefts(self) -> list[Theft]:
        """Of all members, each once, headline first."""
        found = {m.theft.steal.path: m.theft for m in self.members if m.theft}
        return list(found.values())

    @property
    def left_out(self) -> list[str]:
        """What is left out of pools and figures, a sentence each."""
        told = [t.apart.why for m in self.members for t in (*m.tests, *m.beside)]
        told += [theft.pool.apart.why for theft in self.thefts]
        return list(dict.fromkeys(filter(None, told)))

    @property
    def goals(self) -> list[Run]:
        """All that is wanted but the report, in the order to make it in."""
        runs = [m.victim for m in self.members]
        runs += [run for m in self.members for run in m.independent]
        runs += [t.responses for t in self.thefts if t.responses]
        runs += [run for t in self.thefts for run in (t.steal, *t.alone)]
        return list({run.path: run for run in [*runs, *self.probes]}.values())


def resolve(config: ConfigDict, workdir: Path) -> Experiment:
    """The runs a config asks for.

    Raises:
        UserError: Whatever is wrong in the config, in one line, and with which
            combination of the grid.
    """
    with data.unchanged():
        return _resolve(config, workdir)


def _resolve(config: ConfigDict, workdir: Path) -> Experiment:
    drafts: list[Draft] = []
    for change in combinations(config.study.grid):
        with _told(change):
            drafts.append(_draft(config, change, workdir))
    members, probes = [], []
    tests: dict[str, list[Test]] = {}
    for draft in drafts:
        # Members that look at data alike are judged on the same images.
        alike = f"{draft.config.data} {[*draft.sets]} {[*draft.beside]}"
        with _told(draft.change):
            if alike not in tests:
                tests[alike] = _tests(draft, drafts)
            budget = drafts[0].config.steal.queries
            members.append(_member(draft, tests[alike], budget, workdir))
    if config.study.passes == "equal":
        check_equal_work([(m.victim, m.theft.steal) for m in members if m.theft])
    for member in members:
        probes += make_probes(
            *(member.config, member.victim, member.independent, member.theft),
            *(member.tests, member.unanswered),
        )
        probes += make_honest(
            *(member.config, member.victim, member.theft),
            *(member.tests, member.beside),
        )
    shown = _gallery(members[0], probes)
    probes = list({run.path: run for run in [*probes, *shown]}.values())
    report = _report(config, workdir, members, probes)
    apart = [t.apart for member in members for t in (*member.tests, *member.beside)]
    apart += [member.theft.pool.apart for member in members if member.theft]
    thefts = [member.theft for member in members if member.theft]
    apart += [theft.measured.pool.apart for theft in thefts if theft.measured]
    context = make_context([m.config for m in members], apart)
    return Experiment(members, probes, report, context)


@contextmanager
def _told(change: str) -> Iterator[None]:
    """Adds to an error which combination it is of."""
    try:
        yield
    except UserError as error:
        if not change:
            raise
        raise UserError(f"study.grid {change!r}: {error}") from None


class Draft(NamedTuple):
    """One combination before its images are divided among all; see ``Member``."""

    change: str
    changes: dict[str, Any]
    config: ConfigDict
    steals: bool
    victim: Run
    sets: dict[str, data.Info]
    skipped: list[str]
    beside: dict[str, data.Info]


def _draft(config: ConfigDict, change: str, workdir: Path) -> Draft:
    """One combination's victim and sets; all else depends on its neighbours, too."""
    config, values = changed(config, change)
    check(config)
    # Stages that begin with the victim and leave stealing out are an experiment without
    # a theft; those that begin later go on with what is there.
    steals = "steal" in config.stages or "victim" not in config.stages
    # A file of weights is looked at before all sets of the probes are asked for.
    brought = victim_run(config, workdir) if is_foreign(config) else None
    check_sets(config, steals)
    victim = brought or victim_run(config, workdir)
    sets = at_hand(config)
    return Draft(change, values, config, steals, victim, *sets, beside(config))


def _tests(draft: Draft, drafts: list[Draft]) -> list[Test]:
    """What a combination is judged on; those that divide images alike share a table."""
    seed = draft.config.data.split_seed
    near = [other for other in drafts if other.config.data.split_seed == seed]
    return tests_of(
        *(draft.config, draft.sets | draft.beside, [other.config for other in near]),
        [other.config for other in near if other.steals],
    )


def _member(draft: Draft, tests: list[Test], budget: int, workdir: Path) -> Member:
    """One combination, but for its probes; ``budget`` is the headline's.

    Nobody steals with an image of ``tests``, which are the probes' and honest users'.
    """
    config, victim, theft = draft.config, draft.victim, None
    if draft.steals:
        theft = make_theft_runs(config, victim, tests, budget)
    return Member(
        *(draft.changes, config, victim, theft),
        independent_runs(config, workdir),
        [test for test in tests if test.name in draft.sets],
        [test for test in tests if test.name in draft.beside],
        *(draft.skipped, unanswered(config, list(draft.sets))),
    )


def _gallery(member: Member, probes: list[Run]) -> list[Run]:
    """The run of what is shown of the headline's two feature spaces.

    On the victim's own data where it is probed there, else on the first set; none where
    it has no probe at all.
    """
    on = [
        run
        for run in probes
        if run.stage == "probe"
        and run.parents["features"].parents.get("encoder") == member.victim
    ]
    own = member.victim.recipe.get("data")  # not known of one from elsewhere
    on.sort(key=lambda run: run.recipe["data"] != own)
    if not on:
        return []
    keys = ("data", "test_kept", "split_seed", "left_out", "copies")
    kept = {key: on[0].recipe[key] for key in keys if key in on[0].recipe}
    parents = {"victim": member.victim}
    if member.theft:
        parents["stolen"] = member.theft.steal
    slug = _slug(member)
    recipe = {"seed": member.config.seed, **kept}
    return [make_run(member.victim.workdir, "gallery", slug, recipe, parents)]


def _slug(member: Member) -> str:
    """What is done to a victim in place of how it came to be."""
    slug = member.victim.name.rpartition("-")[0]
    if theft := member.theft:
        done = [theft.attack, *([theft.loss] if theft.loss != OWN else [])]
        slug = "-".join([*done, slug.partition("-")[2]])
    return slug


def _seeds(member: Member) -> dict[str, Any]:
    """Of a member's changes, those that a training without answers shares."""
    of_theft = ("steal.", "service.")
    return {
        key: value
        for key, value in member.changes.items()
        if key == "steal.seed" or not key.startswith(of_theft)
    }


def _report(
    config: ConfigDict, workdir: Path, members: list[Member], probes: list[Run]
) -> Run:
    """The run of the report."""
    recipe = {
        "format": 9,  # grows with the report, so that an older one is made anew
        "name": config.study.name,
        "primary": config.probe.primary,
        "members": [
            {
                "changes": m.changes,
                "victim": m.victim.key,
                "theft": m.theft and m.theft.steal.key,
            }
            for m in members
        ],
        "names": {
            fingerprint(test.info.identity): printable(test.name)
            for m in members
            for test in (*m.tests, *m.beside)
        },
        "skipped": list(
            dict.fromkeys(printable(name) for m in members for name in m.skipped)
        ),
        "unanswered": {
            printable(name): n for m in members for name, n in m.unanswered.items()
        },
    }
    alone = [
        {"changes": _seeds(m), "victim": m.victim.key, "theft": run.key}
        for m in members
        if m.theft
        for run in m.theft.alone
    ]
    if alone:
        recipe["alone"] = alone
    if config.study.published:
        others = [Published(*row)._asdict() for row in config.study.published]
        recipe["published"] = others
    runs = [run for m in members for run in (m.victim, *m.independent)]
    runs += [run for m in members if m.theft for run in (m.theft.steal, *m.theft.alone)]
    parents: dict[str, Run] = {}
    counts: dict[str, int] = {}
    for run in with_ancestors([*runs, *probes]):
        number = counts[run.stage] = counts.get(run.stage, -1) + 1
        parents[f"{run.stage}{number}"] = run
    slug = config.study.name or _slug(members[0])
    return make_run(workdir, "report", slug, recipe, parents)
