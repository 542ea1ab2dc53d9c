"""The files of a report, on runs made by hand."""

import csv
import json
import re

import pytest

from sslx import report
from sslx.cli import report as command
from sslx.embed import shipped
from sslx.report import words
from sslx.report.aggregate import aggregate
from sslx.report.collect import collect
from sslx.report.records import Member
from sslx.report.tables import MOST
from sslx.report.write import write
from sslx.runs.lineage import lineage
from sslx.runs.names import make_run
from sslx.types import UserError
from tests.report import fake_study as fake
from tests.report.reading import page_of, squeezed

FILES = {
    *("report.md", "report.html", "results.csv", "differences.csv", "results.json"),
    *("accuracy0.png", "queries0.png", "ratio0.png", "cost0.png", "fidelity0.png"),
}


def read(folder):
    return json.loads((folder / "results.json").read_text("utf-8"))


def test_a_study_from_its_report_run(tmp_path, capsys):
    # Catches files that do not say the same, and a picture or a column left out.
    run, pairs = fake.grid(tmp_path / "runs")
    folder = tmp_path / "again"
    command.main([str(run.path), "--out", str(folder)])
    out = capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == FILES
    # A run is what it ended with.
    assert {path.name for path in run.path.iterdir()} == {"config.json", "meta.json"}
    found = read(folder)
    rows = aggregate(collect(*command.gather([run.path])[:2]))
    assert [r.role for r in rows] == (
        ["victim"] + 4 * ["stolen"] + ["alone", "untrained", "pixels"]
    )
    thefts = [r for r in found["records"] if r["role"] in ("stolen", "alone")]
    assert len(thefts) == len(pairs)
    # JSON and CSV to the last digit.
    flat = iter(found["rows"])
    for row in rows:
        for name, figure in row.figures.items():
            entry = next(flat)
            assert (entry["role"], entry["evaluator"]) == (row.role, name)
            assert (entry["accuracy"], entry["interval_kind"]) == (
                *(figure.mean, figure.by),
            )
            assert entry["interval"] == [figure.low, figure.high]
            measured = {m: f._asdict() for m, f in row.fidelity.items()}
            assert entry["fidelity"] == measured
            assert entry["of_victim"] == (row.of_victim and row.of_victim._asdict())
    assert next(flat, None) is None
    with open(folder / "results.csv") as file:
        lines = list(csv.DictReader(file))
    for entry, line in zip(found["rows"], lines, strict=True):
        for key in ("role", "theft", "evaluator", "varies", "usd", "flops_of_victim"):
            assert line[key] == ("" if entry[key] is None else str(entry[key]))
        ends = {"": entry["interval"]}
        figures = {"of_victim": entry["of_victim"]}
        figures |= {f"fidelity_{m}": f for m, f in entry["fidelity"].items()}
        for name, figure in figures.items():
            if figure:
                assert float(line[name]) == figure["mean"]
                ends[f"{name}_"] = [figure["low"], figure["high"]]
        for name, both in ends.items():
            given = [line[f"{name}low"], line[f"{name}high"]]
            assert given == ["" if x is None else str(x) for x in both]
        assert line["seeds"] == " ".join(map(str, entry["seeds"]))
    with open(folder / "differences.csv") as file:
        compared = list(csv.DictReader(file))
    # Two budgets: the two losses, and each of them against ssl_only.
    assert len(compared) == len(found["differences"]) == 6
    for row, line in zip(found["differences"], compared, strict=True):
        assert (float(line["holm"]) if line["holm"] else None) == row["holm"]
        assert (line["a"], line["b"]) == (row["a"], row["b"])
    # Markdown, the page and the terminal: rounded alike.
    text = (folder / "report.md").read_text("utf-8")
    blocks = [block.splitlines() for block in text.split("\n\n") if block[0] == "|"]
    accuracy, fidelity, cost, bill, differences = (
        [re.split(r" ?\| ?", line)[1:-1] for line in block if "| --- |" not in line]
        for block in blocks
    )
    page = page_of(folder)
    assert squeezed(page.tables[0]) == squeezed(line[1:] for line in accuracy)
    assert squeezed(page.tables[1]) == squeezed(line[1:] for line in fidelity)
    for lines in (cost, bill, differences):
        assert squeezed(lines) in [squeezed(table) for table in page.tables]
    head, *body = accuracy
    assert "1 % of labels" in head and "reference probe" in head
    for row, line in zip(rows, body, strict=True):
        mean = f"{100 * row.figures['linear'].mean:.1f}"
        assert line[head.index("linear")].startswith(mean)
        assert re.search(rf"^{line[0]} +{row.role} .*{mean} \[", out, re.M)
    assert len(page.alts) == 5 and all("infonce" in alt for alt in page.alts)
    assert "2 victim seeds, each with its own stealer seed" in text


def test_results(tmp_path):
    # Catches a row that cannot be told from another, counters of another cell, a mean
    # under the name of a single run, rows that do not survive the file.
    run, pairs = fake.grid(tmp_path)
    given = command.gather([run.path])
    write(tmp_path / "out", *given[:2], title="T")
    found = read(tmp_path / "out")
    assert (found["schema"], found["primary"]) == (3, "linear")
    rows, cell = found["rows"], "mse, 100 queries"
    names = [(r["role"], r["cell"], r["dataset"], r["evaluator"]) for r in rows]
    assert len(set(names)) == len(names) == 8 * 4
    (row,) = (r for r in rows if r["cell"] == cell and r["evaluator"] == "linear")
    assert (row["role"], row["theft"], row["queries"]) == ("stolen", "mse", 100)
    # 0.6 + 100 / 4000 and that + 1 / 20, of two seeds.
    assert row["accuracy"] == pytest.approx(0.65)
    low, high = row["interval"]
    assert low < 0.65 < high and row["interval_kind"] == "t"
    assert (row["n_test"], row["runs"], row["seeds"]) == (fake.N_TEST, 2, [0, 1])
    (pixels,) = (r for r in rows if r["role"] == "pixels" and r["evaluator"] == "knn")
    assert (pixels["cell"], pixels["theft"], pixels["queries"]) == (None, None, None)
    assert pixels["interval_kind"] == "wilson" and pixels["seeds"] == []
    (untrained, *_) = (r for r in rows if r["role"] == "untrained")
    assert untrained["theft"] == "batch"
    assert found["headline"] == "pool"  # the first of the members
    assert len(found["counters"]) == 4  # who asks nobody has none
    counted = found["counters"][cell]
    assert [entry["seed"] for entry in counted] == [0, 1]
    keys = {"unique_images", "images", "calls", "values", "limit", "cost"}
    for entry in counted:
        assert set(entry["accounts"]["attacker"]) == keys
        assert entry["accounts"]["attacker"]["images"] == 100


def test_a_report_run(tmp_path, capsys):
    # Catches a run that is not finished by it, made twice, or silent about what was
    # left out; a table for the terminal that is another; what stands alone passed
    # over.
    run, pairs = fake.grid(tmp_path)
    more = {"skipped": ["stl10"], "unanswered": {"npz:/a/b.npz": 3}}
    changes = [
        [*pair, {"steal.loss": "mse"} if i % 5 else {"alone": 1}]
        for i, pair in enumerate(pairs)
    ]
    asked = fake.asked([*run.parents.values()], changes, **more)
    own = [m for m in asked[0]["members"] if "alone" in m["changes"]]
    asked[0]["members"] = [m for m in asked[0]["members"] if m not in own]
    asked[0]["alone"] = own
    made = make_run(tmp_path, "report", "mine", *asked)
    report.make(made)
    text = (made.path / "report.md").read_text("utf-8")
    assert text.startswith("# Study fake\n")
    assert "Note: stl10 was not at hand and is left out." in text
    assert "not probed on npz:b.npz: 3 of its images" in text
    found = read(made.path)
    assert found["skipped"] == ["stl10"]
    alone = {row["role"] for row in found["rows"] if row["changes"] == {"alone": 1}}
    assert alone == {"alone"} and len(own) == 2
    assert {"steal.loss": "mse"} in [row["changes"] for row in found["rows"]]
    assert made.name in (made.path / "report.html").read_text("utf-8")
    table = report.table_text(made.path)
    command.main([str(made.path), "--out", str(tmp_path / "again")])
    assert table in capsys.readouterr().out
    before = {p: p.stat().st_mtime_ns for p in made.path.iterdir()}
    report.make(made)
    assert {p: p.stat().st_mtime_ns for p in made.path.iterdir()} == before


def test_a_report_run_on_what_is_not_finished(tmp_path):
    # Catches a page of runs that are still at work.
    v = fake.victim(tmp_path, 0)
    half = fake.steal(tmp_path, v, 0, finished=False)
    asked = fake.asked([half], [(fake.key(v), fake.key(half))])
    with pytest.raises(UserError, match="which is not finished"):
        report.make(make_run(tmp_path, "report", "mine", *asked))


def test_an_experiment_says_who_was_robbed(tmp_path):
    # Catches a headline that names another theft, and a title of a study.
    v = fake.victim(tmp_path, 0)
    asked = {loss: fake.steal(tmp_path, v, 0, loss=loss) for loss in ("mse", "infonce")}
    fake.probe(tmp_path, v, 0.8)
    for run, accuracy in zip(asked.values(), (0.6, 0.7), strict=True):
        fake.probe(tmp_path, run, accuracy)
    runs = [*asked.values()]
    given = lineage(tmp_path)
    members = fake.members([(fake.key(v), fake.key(run)) for run in runs])
    write(tmp_path / "out", given, members, title="T")
    text = (tmp_path / "out" / "report.md").read_text("utf-8")
    lead = text.split("\n\n")[1]
    assert "right for 60.0 % [58.0, 63.0] of 1,000 test images" in lead
    assert "on the victim for 80.0 % [78.0, 83.0]" in lead
    assert "the copy reaches 75.0 % of its victim" in lead
    assert "between 60.0 % (mse, 100 queries) and 70.0 % (infonce, 100 q" in lead
    assert read(tmp_path / "out")["headline"] == "mse, 100 queries"
    assert words.title(given, members) == "Direct extraction of a simclr encoder"
    alone = [Member(fake.key(v), None, {})]
    assert words.title(given, alone) == "Evaluation of a simclr encoder"


def foreign(workdir, **recipe):
    """A victim from elsewhere, as its run is."""
    recipe = {"seed": 0, "image_shape": fake.SHAPE, **recipe}
    return fake.finished(workdir, "victim", "foreign", recipe, {}, flops=None)


def test_victims_from_elsewhere(tmp_path):
    # Catches a page that claims to know what a victim is, or was trained on.
    for name, recipe, told, title in (
        ("a", {"origin": "npz", "images": 1700, "dim": 6}, "1,700 images", "API"),
        (
            *("b", {"origin": "python", "function": "f:g", "dim": 6, "answers": "1"}),
            *("f:g (6", "API"),
        ),
        (
            *("d", {"origin": "python", "function": "f:g", "dim": 6, "answers": None}),
            *("Nothing checked what f:g answers", "API"),
        ),
        (
            *("c", {"origin": "weights", "encoder": fake.ENCODER}),
            *("a conv3 encoder, made of PyTorch weights", "imported encoder"),
        ),
    ):
        v = foreign(tmp_path / name, **recipe)
        fake.probe(tmp_path / name, v, 0.8)
        fake.probe(tmp_path / name, None, 0.2)
        alone = [Member(fake.key(v), None, {})]
        nodes, out = lineage(tmp_path / name), tmp_path / name / "out"
        assert title in words.title(nodes, alone)
        write(out, nodes, alone, title=words.title(nodes, alone))
        for file in ("report.md", "report.html"):
            text = " ".join((out / file).read_text("utf-8").split())
            assert told in text and "evaluated alone" in text
            assert ("Nothing checked" in text) == (name == "d")
            assert "may have seen images of the probes" in text
            for word in ("untrained", "stealer", "attacker's", "extraction of"):
                assert word not in text, (file, word)
        t = fake.steal(tmp_path / name, v, 0)
        fake.probe(tmp_path / name, t, 0.7)
        fake.probe(tmp_path / name, None, 0.3, untrained=0)
        given = command.gather([tmp_path / name])
        write(out, *given[:2], title="T")
        text = (out / "report.md").read_text("utf-8")
        assert "may have seen the attacker's images, and those of the probes" in text
        whose = "the victim's" if name == "c" else "the headline stealer's"
        assert f"Untrained is {whose} architecture" in text


def test_a_shipped_victim_is_named(tmp_path, monkeypatch):
    # Catches weights of nobody knows whom, and a pool called by the kind of its source.
    card = {"weights": "1f", "dataset": "digits", "training": {}}
    monkeypatch.setattr(shipped, "_cards", lambda _: {"small": card})
    own = {"origin": "weights", "shipped": "small", "weights": "1f"}
    v = foreign(tmp_path, encoder=fake.ENCODER, **own)
    pool = {"pool": {"tfds": {"name": "cifar10"}}, "shipped": "small"}
    t = fake.steal(tmp_path, v, 0, pool=pool)
    fake.probe(tmp_path, v, 0.8)
    fake.probe(tmp_path, t, 0.7)
    nodes, members = lineage(tmp_path), fake.members([(fake.key(v), fake.key(t))])
    title = words.title(nodes, members)
    assert title == "Direct extraction of an encoder that comes with sslx"
    write(tmp_path / "out", nodes, members, title=title)
    text = " ".join((tmp_path / "out" / "report.md").read_text("utf-8").split())
    assert "a conv3 encoder, small, which comes with sslx; served" in text
    assert "from the images of cifar10 that the victim never saw" in text


def test_the_primary_evaluator(tmp_path):
    # Catches a headline, a ratio or a difference that stays the linear probe's.
    run, pairs = fake.grid(tmp_path)
    members = fake.members([pairs[1], *pairs])
    out = tmp_path / "out"
    write(out, lineage(tmp_path), members, title="T", primary="knn")
    found = read(out)
    # knn is 0.1 below linear: 0.525 and 0.575 of victims 0.7 and 0.72.
    (row,) = (
        r
        for r in found["rows"]
        if r["cell"] == found["headline"] and r["evaluator"] == "knn"
    )
    assert (found["primary"], row["cell"]) == ("knn", "mse, 100 queries")
    assert row["of_victim"]["mean"] == pytest.approx((0.525 / 0.7 + 0.575 / 0.72) / 2)
    text = (out / "report.md").read_text("utf-8")
    assert "On digits (kNN), a probe on the stolen encoder is right for 55.0 %" in text


def test_pieces_that_are_missing(tmp_path):
    # Catches a crash or an empty column where victim's probe, fidelity or budgets lack.
    v = fake.victim(tmp_path, 0)
    t = fake.steal(tmp_path, v, 0)
    fake.probe(tmp_path, t, 0.7)
    fake.steal(tmp_path, v, 1, finished=False)
    given = command.gather([tmp_path])
    assert given.notes == ["1 unfinished stealer is left out."]
    table = write(tmp_path / "out", *given[:2], title="T", notes=given.notes)
    assert len(table.splitlines()) == 2 and "of victim" not in table
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *("report.md", "report.html", "results.csv", "results.json", "accuracy0.png"),
    }
    text = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert "1 unfinished stealer is left out." in text and "CKA" not in text
    assert "Differences" not in text


def test_many_comparisons_are_cut_short(tmp_path):
    # Catches a page of a thousand lines, and one that hides that there are more.
    pairs = []
    for seed in (0, 1):
        v = fake.victim(tmp_path, seed)
        fake.probe(tmp_path, v, 0.9)
        for i in range(9):  # 36 comparisons
            t = fake.steal(tmp_path, v, seed, batch_size=4 + i)
            fake.probe(tmp_path, t, 0.5 + i / 100 + seed * i * i / 1000)
            pairs.append((fake.key(v), fake.key(t)))
    out = tmp_path / "out"
    write(out, lineage(tmp_path), fake.members(pairs), title="Many")
    assert len(page_of(out).table("data set", "queries", "theft")) == 1 + MOST
    assert "all 36" in (out / "report.md").read_text("utf-8")
    assert len((out / "differences.csv").read_text("utf-8").splitlines()) == 37


def test_the_same_runs_give_the_same_files(tmp_path):
    # Catches a date, a random id, a path of the machine.
    run, pairs = fake.grid(tmp_path)
    given = command.gather([run.path])
    for name in ("a", "b"):
        write(tmp_path / name, *given[:2], title="T")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path
        assert str(tmp_path).encode() not in path.read_bytes()
