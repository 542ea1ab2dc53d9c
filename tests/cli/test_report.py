"""``sslx report``: what paths stand for."""

import json
import re

import pytest

from sslx.cli import report
from sslx.report.collect import collect
from sslx.report.records import Member
from sslx.report.write import write
from sslx.types import UserError
from tests.report import fake_study as fake


def old_report(workdir, runs, pairs):
    """The report run of a study of sslx 0.2.0."""
    parents = {f"{run.stage}{i}": run for i, run in enumerate(runs)}
    recipe = {"study": "fake"}
    return fake.finished(workdir, "report", "study", recipe, parents, pairs=pairs)


def test_the_report_of_an_older_study(tmp_path):
    # Catches a report that only today's report runs can be made of again.
    run, pairs = fake.grid(tmp_path)
    old = old_report(tmp_path, [*run.parents.values()], pairs)
    now, before = report.gather([run.path]), report.gather([old.path])
    assert before.members == now.members == fake.members(pairs)


def test_whatever_is_given_says_the_same(tmp_path):
    # Catches runs that are found by one way alone, and ssl_only beside the victim of
    # another seed, or counted as stolen.
    run, pairs = fake.grid(tmp_path)
    found = {}
    for way, paths in (
        ("report", [run.path]),
        ("workdir", [tmp_path]),
        ("stealers", [tmp_path / steal for _, steal in pairs]),
    ):
        given = report.gather(paths)
        records = collect(given.nodes, given.members)
        found[way] = sorted(repr(r) for r in records)
        own = [r for r in records if r.theft == "pool"]
        assert {(r.victim_seed, r.seed) for r in own} == {(0, 0), (1, 1)}, way
    assert found["report"] == found["workdir"] == found["stealers"]
    report.main([str(tmp_path), "--out", str(tmp_path / "out")])  # 2 asked nobody
    text = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert text.startswith("# Study of 8 stolen encoders\n")
    # Some of them alone.
    given = report.gather([tmp_path / pairs[1][1]])
    assert given.members == fake.members([pairs[1]])


def test_what_asked_nobody_is_judged_against_all_where_no_seed_fits(tmp_path):
    # Catches such a theft left out, and one that is judged against a run not given.
    run, pairs = fake.grid(tmp_path)
    own = fake.steal(tmp_path, None, 9, attack="ssl_only")
    fake.probe(tmp_path, own, 0.5)
    victims = list(dict.fromkeys(victim for victim, _ in pairs))
    others = [tmp_path / steal for _, steal in pairs[1::5]]  # one of each victim
    given = report.gather([own.path, *others])
    assert [m for m in given.members if m.theft == fake.key(own)] == [
        Member(victim, fake.key(own), {}) for victim in victims
    ]
    assert report.gather([own.path]).members == [Member(None, fake.key(own), {})]
    write(tmp_path / "out", *report.gather([own.path])[:2], title="One")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [r["role"] for r in found["rows"]][0] == "alone"


def test_two_experiments_in_one_workdir(tmp_path):
    # Catches what asked nobody, or levels, beside the victim of another data set.
    pairs = []
    for name, width in (("digits", 8), ("svhn", 16)):
        v = fake.victim(tmp_path, 0, split_seed=width)
        t = fake.steal(tmp_path, v, 0)
        own = fake.steal(tmp_path, None, 0, attack="ssl_only", split_seed=width)
        for run in (v, t, own, None):
            fake.probe(tmp_path, run, 0.5, data=name)
        pairs += [(fake.key(v), fake.key(run)) for run in (t, own)]
    given = report.gather([tmp_path])
    assert sorted(m[:2] for m in given.members) == sorted(pairs)
    found = [(r.dataset, r.kind[-2:]) for r in collect(given.nodes, given.members)]
    assert sorted(found) == 4 * [("digits", "=8")] + 4 * [("svhn", "16")]
    records = collect(given.nodes, given.members)
    cells = [r.cell for r in records if r.cell]
    assert len(set(cells)) == 4 and all("split_seed=" in cell for cell in cells)


def test_a_single_experiment(tmp_path, monkeypatch):
    # Catches roles that are not understood; its own page must stay as it is.
    v = fake.victim(tmp_path, 3)
    t, own = (
        fake.steal(tmp_path, v, 3),
        fake.steal(tmp_path, None, 3, attack="ssl_only"),
    )
    probes = [fake.probe(tmp_path, run, 0.6) for run in (v, t, own)]
    parents = {"victim": v, "steal0": t, "steal1": own}
    parents |= {f"probe{i}": probe for i, probe in enumerate(probes)}
    run = fake.finished(tmp_path, "report", "direct", {}, parents)
    monkeypatch.chdir(tmp_path)
    report.main([str(run.path)])
    assert not (run.path / "report.html").exists()
    found = json.loads((tmp_path / "report" / "results.json").read_text())
    linear = [r for r in found["rows"] if r["evaluator"] == "linear"]
    assert [r["theft"] for r in linear] == [None, "mse", "pool"]
    assert [r["of_victim"] and r["of_victim"]["mean"] for r in linear] == [None, 1, 1]
    assert found["differences"][0]["p"] is None


def test_one_line_errors(tmp_path):
    # Catches a traceback, and an error that does not name the run.
    v = fake.victim(tmp_path, 0)
    bare = fake.steal(tmp_path, v, 0)
    half = fake.steal(tmp_path, v, 1, finished=False)
    gone = old_report(tmp_path, [bare], [["victim/none", fake.key(bare)]])
    empty = fake.finished(tmp_path, "report", "victim", {}, {"victim": v})
    unfinished = old_report(tmp_path, [v, half], [])
    for path, wanted in (
        (tmp_path / "nothing", "there is no directory"),
        (v.path, "is a run of the stage victim; give stealers' runs"),
        (bare.path, "has no finished probe"),
        (half.path, "not finished"),
        (tmp_path, "holds no finished theft with a finished probe"),
        (gone.path, "does not build on victim/none"),
        (empty.path, "without a theft"),
        (unfinished.path, f"{half.name}: not finished"),
    ):
        with pytest.raises(UserError, match=re.escape(wanted)) as error:
            report.gather([path])
        assert "\n" not in str(error.value)
    old = fake.finished(tmp_path, "steal", "old", {"loss": "mse"}, {})
    fake.probe(tmp_path, old, 0.5)
    with pytest.raises(UserError, match="names no attack"):
        report.gather([tmp_path])
    own = old_report(tmp_path, [v, bare], [[fake.key(v), fake.key(bare)]])
    with pytest.raises(UserError, match="no theft here has a finished probe"):
        write(tmp_path / "out", *report.gather([own.path])[:2], title="None")
    assert not (tmp_path / "out").exists()
    # A report run names its members.
    bad = [["victim/none", fake.key(bare)]]
    named = fake.report(tmp_path, [v, bare], bad)
    with pytest.raises(UserError, match="does not build on victim/none"):
        report.gather([named.path])
