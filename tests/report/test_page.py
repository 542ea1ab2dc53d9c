"""The page, on runs made by hand."""

import base64
import io
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from sslx.cli.report import gather
from sslx.report.write import write
from tests.report import fake_study as fake
from tests.report.reading import Page, page_of


def test_names_are_escaped(tmp_path):
    # Catches a data set's name that is taken for markup, in the page or in a table.
    name = "<b>a|b</b>&$x$"
    v = fake.victim(tmp_path, 0)
    t = fake.steal(tmp_path, v, 0)
    for of in (v, t):
        fake.probe(tmp_path, of, 0.5, data=name)
    given, out = gather([t.path]), tmp_path / "out"
    write(out, *given[:2], title="<i>title</i>", notes=["<i>note</i>"])
    page = page_of(out)
    assert not {"b", "i"} & set(page.tags)
    assert name in [line[0] for line in page.table("data set", "encoder")]
    assert "<b>a\\|b</b>&$x$" in (out / "report.md").read_text("utf-8")
    assert name in (out / "results.csv").read_text("utf-8")


def test_sections_stand_where_their_data_are(tmp_path):
    # Catches a section without data, one left out or out of order, a page that asks
    # another host, a picture that is none or says nothing to who cannot see it.
    run, pairs = fake.grid(tmp_path / "a")
    victim, theft = (tmp_path / "a" / key for key in pairs[1])
    for folder in (victim, theft):
        (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    (victim / "watch.jsonl").write_text('{"step": 1, "knn": 0.25}\n')
    fake.gallery(tmp_path / "a", *pairs[1])
    given, out = gather([tmp_path / "a"]), tmp_path / "out"
    members = sorted(given.members, key=lambda m: m[:2] != tuple(pairs[1]))
    write(out, given.nodes, members, title="T")
    source = (out / "report.html").read_text("utf-8")
    page = Page(source)
    assert page.headings == [
        *("Accuracy", "Fidelity", "Cost", "Bill", "Training", "Nearest neighbours"),
        *("Map of the two feature spaces", "Differences between thefts", "Runs"),
        "How to cite",
    ]
    assert source.index('class="lead"') < source.index("<h2>")
    assert len(page.links) == len(page.images)  # and nothing else
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style and "@import" not in style and "<script" not in source
    assert len(page.images) == 5 + 1 + 2 + 2 * (1 + 2 * 2)  # charts, maps, neighbours
    for image in page.images:
        kind, _, text = image["src"].partition(";base64,")
        content = base64.b64decode(text, validate=True)
        if kind == "data:image/png":
            assert Image.open(io.BytesIO(content)).size == (6, 6)
        else:
            assert kind == "data:image/svg+xml"
            assert ElementTree.fromstring(content).tag.endswith("svg")
        assert image["alt"]
    assert "victim ends at 2.5 (loss)" in source and "watched ends at 25" in source
    text = " ".join(page.text.split())
    for words in (
        *("no better than its mean answer", "as XLA counts one pass", "share one bill"),
        *("p of the paired t test", "were neither trained on nor sold"),
    ):
        assert words in text
    # Every figure, whole; the measures that are read, the rest folded.
    assert page.tables[1][0][-2:] == ["agreement of probes", "linear CKA"]
    # All runs, and what determined the headline.
    runs = {f"{stage}/{name}" for stage, name in page.table("stage", "run")[1:]}
    assert set(given.nodes) - runs == {fake.key(run)}
    settings = page.table("setting", "victim", "queries", "stealer")
    assert ["objective", "simclr", "", ""] in settings
    fake_victim = fake.victim(tmp_path / "b", 0)
    stolen = fake.steal(tmp_path / "b", fake_victim, 0)
    fake.probe(tmp_path / "b", stolen, 0.5)
    write(tmp_path / "few", *gather([stolen.path])[:2], title="T")
    few = page_of(tmp_path / "few").headings
    assert few == ["Accuracy", "Cost", "Bill", "Runs", "How to cite"]


def test_no_column_is_out_of_sight(tmp_path):
    # Catches a wide table without names beside its cells, which a narrow page needs.
    run, _ = fake.grid(tmp_path)
    write(tmp_path / "out", *gather([run.path])[:2], title="T")
    source = (tmp_path / "out" / "report.html").read_text("utf-8")
    page = Page(source)
    wide = [table for table in page.tables if len(table[0]) > 3]
    assert source.count(' many">') == len(wide) >= 5
    cells = sum(len(line) for table in page.tables for line in table[1:])
    assert source.count("data-of=") == cells


def test_pictures_hold_their_words(tmp_path):
    # Catches a label that the edge of a picture cuts off, or that is shortened.
    v = fake.victim(tmp_path, 0)
    fake.probe(tmp_path, v, 0.9)
    pairs = []
    long = "a_loss_whose_name_has_no_end_and_says_so_at_some_length"
    for loss in ("mse", long):
        for queries in (100, 400):
            t = fake.steal(tmp_path, v, 0, loss=loss, queries=queries)
            fake.probe(tmp_path, t, 0.5)
            pairs.append((fake.key(v), fake.key(t)))
    given = gather([tmp_path])
    write(tmp_path / "out", *given[:2], title="T")
    for name in ("accuracy0", "queries0", "cost0"):
        image = np.asarray(Image.open(tmp_path / "out" / f"{name}.png").convert("L"))
        edges = image[:2], image[-2:], image[:, :2], image[:, -2:]
        assert all((edge > 250).all() for edge in edges), name
