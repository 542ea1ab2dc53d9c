"""``sslx report`` on finished runs made by hand."""

import csv
import json
import re
from html.parser import HTMLParser

import pytest

from sslx.cli import report
from sslx.report import study_report
from sslx.report.study_rows import collect
from sslx.report.study_text import MOST
from sslx.runs.lineage import lineage
from sslx.types import UserError
from tests import fake_study as fake

FILES = {
    *("report.md", "report.html", "table.csv", "differences.csv", "results.json"),
    *("accuracy0.png", "ratio0.png", "cost0.png", "fidelity0.png"),
}


def study(workdir):
    """2 victims, 2 losses at 2 budgets, ssl_only; fidelity; the report's run."""
    runs, pairs = [], []
    for seed in (0, 1):
        v = fake.victim(workdir, seed)
        more = {"linear_0.01": 0.5, "reference_probe": 0.7}
        judge = fake.probe(workdir, v, 0.8 + seed / 50, **more)
        u = fake.probe(workdir, None, 0.4, untrained=seed, **more)
        runs += [v, judge, u, fake.fidelity(workdir, judge, u, cka=0.2)]
        own = fake.steal(workdir, None, seed, attack="ssl_only")
        thefts = [(own, 0.5)]
        for queries in (100, 400):
            for loss, accuracy in (("mse", 0.6), ("infonce", 0.65)):
                t = fake.steal(workdir, v, seed, loss=loss, queries=queries)
                thefts.append((t, accuracy + queries / 4000 + seed / 20))
        for t, accuracy in thefts:
            p = fake.probe(workdir, t, accuracy, **more)
            f = fake.fidelity(workdir, judge, p, cka=accuracy, agreement=0.6)
            runs += [t, p, f]
            pairs.append([fake.key(v), fake.key(t)])
    runs.append(fake.probe(workdir, None, 0.3, **more))
    return fake.report(workdir, runs, pairs=pairs), pairs


class Text(HTMLParser):
    """The cells of a page's tables and the tags it has."""

    def __init__(self):
        super().__init__()
        self.tables, self.tags, self.alts = [], [], []
        self.inside = False

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.inside = True
        self.alts += [value for key, value in attrs if key == "alt"]

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.tables[-1][-1][-1] += data.strip(" \n")


def parsed(folder):
    page = Text()
    page.feed((folder / "report.html").read_text("utf-8"))
    return page


def squeezed(lines):
    return [[cell.replace(" ", "") for cell in line] for line in lines]


def test_a_study_from_its_report_run(tmp_path, capsys):
    # Catches files that do not say the same, and a picture or a column left out.
    run, pairs = study(tmp_path / "runs")
    folder = tmp_path / "again"
    report.main([str(run.path), "--out", str(folder)])
    out = capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == FILES
    # A run is what it ended with.
    assert {path.name for path in run.path.iterdir()} == {"config.json", "meta.json"}
    found = json.loads((folder / "results.json").read_text())
    rows = found["table"]
    assert [r["role"] for r in rows] == (
        ["victim"] + 5 * ["stolen"] + ["untrained", "pixels"]
    )
    assert len([r for r in found["records"] if r["role"] == "stolen"]) == len(pairs)
    # JSON and CSV to the last digit.
    with open(folder / "table.csv") as file:
        lines = list(csv.DictReader(file))
    for row, line in zip(rows, lines, strict=True):
        assert (row["role"], row["theft"]) == (line["role"], line["theft"])
        for name, figure in row["accuracy"].items():
            for part in ("mean", "low", "high"):
                text = line[f"{name}_{part}"]
                assert (float(text) if text else None) == figure[part]
        for key in ("usd", "flops_ratio"):
            assert (float(line[key]) if line[key] else None) == row[key]
    with open(folder / "differences.csv") as file:
        compared = list(csv.DictReader(file))
    # Two budgets: the two losses, and each of them against ssl_only.
    assert len(compared) == len(found["differences"]) == 6
    for row, line in zip(found["differences"], compared, strict=True):
        assert (float(line["holm"]) if line["holm"] else None) == row["holm"]
        assert (line["a"], line["b"]) == (row["a"], row["b"])
    # Markdown, the page and the terminal: rounded alike.
    text = (folder / "report.md").read_text()
    blocks = [block.splitlines() for block in text.split("\n\n") if block[0] == "|"]
    tables = [
        [re.split(r" ?\| ?", line)[1:-1] for line in block if "| --- |" not in line]
        for block in blocks
    ]
    page = parsed(folder)
    assert len(tables) == 3 and len(page.tables) == 4
    assert squeezed(page.tables[0]) == squeezed(line[1:] for line in tables[0])
    assert squeezed(page.tables[2]) == squeezed(tables[2])
    head, *body = tables[0]
    assert "1 % of labels" in head and "reference probe" in head
    for row, line in zip(rows, body, strict=True):
        mean = f"{100 * row['accuracy']['linear']['mean']:.1f}"
        assert line[head.index("linear")].startswith(mean)
        assert re.search(rf"^{line[0]} +{row['role']} .*{mean} \[", out, re.M)
    assert len(page.alts) == 4 and all("infonce" in alt for alt in page.alts)
    assert "2 victim seeds, each with its own stealer seed" in text


def test_whatever_is_given_says_the_same(tmp_path):
    # Catches runs that are found by one way alone, and ssl_only beside the victim of
    # another seed.
    run, pairs = study(tmp_path)
    found = {}
    for way, paths in (
        ("report", [run.path]),
        ("workdir", [tmp_path]),
        ("stealers", [tmp_path / steal for _, steal in pairs]),
    ):
        given = report.gather(paths)
        records = collect(given.nodes, given.pairs)
        found[way] = sorted(json.dumps(r, sort_keys=True) for r in records)
        own = [r for r in records if r["theft"] == "ssl_only"]
        assert {(r["victim_seed"], r["seed"]) for r in own} == {(0, 0), (1, 1)}, way
    assert found["report"] == found["workdir"] == found["stealers"]
    # Some of them alone.
    given = report.gather([tmp_path / pairs[1][1]])
    assert given.pairs == [tuple(pairs[1])]


def test_what_asked_nobody_is_judged_against_all_where_no_seed_fits(tmp_path):
    # Catches such a theft left out, and one that is judged against a run not given.
    run, pairs = study(tmp_path)
    own = fake.steal(tmp_path, None, 9, attack="ssl_only")
    fake.probe(tmp_path, own, 0.5)
    victims = list(dict.fromkeys(victim for victim, _ in pairs))
    others = [tmp_path / steal for _, steal in pairs[1::5]]  # one of each victim
    given = report.gather([own.path, *others])
    assert [p for p in given.pairs if p[1] == fake.key(own)] == [
        (victim, fake.key(own)) for victim in victims
    ]
    assert report.gather([own.path]).pairs == [(None, fake.key(own))]
    study_report.write(tmp_path / "out", *report.gather([own.path])[:2], "One")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [r["role"] for r in found["table"]][0] == "stolen"


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
    assert sorted(given.pairs) == sorted(pairs)
    found = [(r["set"], r["kind"][-2:]) for r in collect(given.nodes, given.pairs)]
    assert sorted(found) == 4 * [("digits", "=8")] + 4 * [("svhn", "16")]


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
    assert [r["theft"] for r in found["table"]] == ["", "mse", "ssl_only"]
    assert [r["ratio"] and r["ratio"]["mean"] for r in found["table"]] == [None, 1, 1]
    assert found["differences"][0]["p"] is None


def test_names_are_escaped(tmp_path):
    # Catches a data set's name that is taken for markup, in the page or in a table.
    name = "<b>a|b</b>&$x$"
    v = fake.victim(tmp_path, 0)
    t = fake.steal(tmp_path, v, 0)
    for of in (v, t):
        fake.probe(tmp_path, of, 0.5, data=name)
    given, out = report.gather([t.path]), tmp_path / "out"
    study_report.write(out, given.nodes, given.pairs, "<i>title</i>", ["<i>note</i>"])
    page = parsed(out)
    assert not {"b", "i"} & set(page.tags)
    assert name in [line[0] for line in page.tables[-1]]
    assert "<b>a\\|b</b>&$x$" in (out / "report.md").read_text()
    assert name in (out / "table.csv").read_text()


def test_pieces_that_are_missing(tmp_path):
    # Catches a crash or an empty column where victim's probe, fidelity or budgets lack.
    v = fake.victim(tmp_path, 0)
    t = fake.steal(tmp_path, v, 0)
    fake.probe(tmp_path, t, 0.7)
    fake.steal(tmp_path, v, 1, finished=False)
    given = report.gather([tmp_path])
    assert given.notes == ["1 unfinished stealer is left out."]
    lines = study_report.write(tmp_path / "out", *given[:2], "T", given.notes)
    assert len(lines) == 2 and lines[1][-1] == ""
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *("report.md", "report.html", "table.csv", "differences.csv", "results.json"),
        "accuracy0.png",
    }
    text = (tmp_path / "out" / "report.md").read_text()
    assert "1 unfinished stealer is left out." in text and "CKA" not in text
    assert "Differences" not in text


def test_many_comparisons_are_cut_short(tmp_path):
    # Catches a page of a thousand lines, and one that hides that there are more.
    v = fake.victim(tmp_path, 0)
    fake.probe(tmp_path, v, 0.9)
    pairs = []
    for i in range(9):  # 36 pairs
        t = fake.steal(tmp_path, v, 0, batch_size=4 + i)
        fake.probe(tmp_path, t, 0.5 + i / 100)
        pairs.append((fake.key(v), fake.key(t)))
    study_report.write(tmp_path / "out", lineage(tmp_path), pairs, "Many")
    assert len(parsed(tmp_path / "out").tables[2]) == 1 + MOST
    assert "all 36" in (tmp_path / "out" / "report.md").read_text()
    lines = (tmp_path / "out" / "differences.csv").read_text().splitlines()
    assert len(lines) == 37


def test_one_line_errors(tmp_path):
    # Catches a traceback, and an error that does not name the run.
    v = fake.victim(tmp_path, 0)
    bare = fake.steal(tmp_path, v, 0)
    half = fake.steal(tmp_path, v, 1, finished=False)
    gone = fake.report(tmp_path, [bare], pairs=[["victim/none", fake.key(bare)]])
    empty = fake.finished(tmp_path, "report", "victim", {}, {"victim": v})
    unfinished = fake.report(tmp_path, [v, half], pairs=[])
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
    own = fake.report(tmp_path, [v, bare], pairs=[[fake.key(v), fake.key(bare)]])
    with pytest.raises(UserError, match="no theft here has a finished probe"):
        study_report.write(tmp_path / "out", *report.gather([own.path])[:2], "None")
    assert not (tmp_path / "out").exists()
