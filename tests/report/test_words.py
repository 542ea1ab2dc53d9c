"""What a report says in words, on runs made by hand."""

import pytest

from sslx.cli.report import gather
from sslx.report.write import write
from sslx.runs.lineage import lineage
from tests.report import fake_study as fake
from tests.report.reading import page_of
from tests.report.test_aggregate import paid
from tests.report.test_compare import near

EDGE = {"l2": 0.1, "converged": True, "l2_at_edge": True}
INSIDE = EDGE | {"l2_at_edge": False}


def told(workdir, pairs, **more):
    """report.md and the page as text, each on one line."""
    write(workdir / "out", lineage(workdir), fake.members(pairs), title="T", **more)
    text = (workdir / "out" / "report.md").read_text("utf-8")
    return text, " ".join(page_of(workdir / "out").text.split())


BOUGHT = (
    "100 queries are worth 10.0 points over the same network trained without an answer "
    "on the same images in as many passes"
)
SENTENCES = {
    "none": ({}, "", "queries are worth"),
    "equal": ({1: (-0.1,)}, f"{BOUGHT}.", "times the passes"),
    "both": ({1: (-0.1,), 5: (0.02,)}, f"{BOUGHT}, -2.0 over 5 times the passes.", "?"),
    "a loss": ({1: (0.031,)}, "100 queries are worth -3.1 points over the", "bought"),
    "longer": ({3: (-0.03,)}, "the same images over 3 times the passes.", "as many"),
}


@pytest.mark.parametrize("alone, words, never", SENTENCES.values(), ids=SENTENCES)
def test_what_queries_are_worth(alone, words, never, tmp_path):
    # Catches a sentence on what was not run, the sign of a loss, one that was
    # "bought", the two mixed up.
    pairs = paid(tmp_path, alone, seeds=(0,))
    for text in told(tmp_path, pairs):
        assert words in text and never not in text
    head = page_of(tmp_path / "out").tables[0][0]
    assert ("points over alone" in head) == (1 in alone)
    assert [h for h in head if "over alone," in h] == [
        f"over alone, {n}x" for n in alone if n > 1
    ]


def test_what_queries_are_worth_over_seeds(tmp_path):
    # Catches a sentence without its interval; what is alone on other images beside it.
    pairs = paid(tmp_path, {1: (-0.1, -0.12), 5: (0.02, 0.04)})
    others = ("asked", 40, 1000), ("pool", 900, 1000), ("pool", 900, 1400)
    for kind, images, passes in others:
        work = {"images": images, "passes": passes, "steps": images + passes}
        more = {"asked": {}} if kind == "asked" else {}
        run = fake.steal(tmp_path, None, 0, attack="ssl_only", **work, **more)
        fake.probe(tmp_path, run, 0.5)
        pairs.append((pairs[0][0], fake.key(run)))
    text, page = told(tmp_path, pairs)
    for found in (text, page):
        assert "are worth 11.0 [-1.7, 23.7] points over" in found
        assert ", -3.0 [-15.7, 9.7] over 5 times" in found
    lead = text.split("\n\n")[1]
    assert "(asked, 100 images, 5000 passes)" in lead and "900 images" in lead
    assert "40 images" not in lead and "1400 passes" not in lead


def test_the_baseline_is_the_better_untrained_network(tmp_path):
    # Catches the lesser form in the sentence or the pictures, one that the table lacks,
    # a theft that is said to be no better and is, or is not and is passed over.
    pairs = fake.study(tmp_path, victims=(0,), losses=("mse", "infonce", "cosine"))
    fake.probe(tmp_path, None, 0.45, untrained=0)
    fake.probe(tmp_path, None, 0.5, untrained=0, initial=True)
    text, page = told(tmp_path, pairs)
    lead = text.split("\n\n")[1]
    assert "an untrained network 50.0 %." in lead and "45.0" not in lead
    lines = page_of(tmp_path / "out").tables[0]
    assert [line[1] for line in lines if line[0] == "untrained"] == ["", "initial"]
    (bars, *_) = page_of(tmp_path / "out").alts
    assert bars.count("untrained") == 1 and "untrained 50.0 %" in bars
    for found in (text, page):
        # 60, 50 and 40.
        assert (
            "On digits 2 thefts are no better than the untrained network (50.0 %, "
            "linear): infonce, 100 queries; cosine, 100 queries."
        ) in found


def test_thefts_above_the_untrained_network(tmp_path):
    # Catches a note where there is nothing to note.
    pairs = fake.study(tmp_path, victims=(0,))
    fake.probe(tmp_path, None, 0.45, untrained=0)
    assert "no better than the untrained" not in told(tmp_path, pairs)[0]


def test_strengths_at_the_end_of_their_grid(tmp_path):
    # Catches a probe on few labels, or a kernel machine, that is not spoken of, is
    # counted with the others, or is not to be found among the runs; one that had
    # nothing to choose by and is said to have chosen.
    v, t = fake.victim(tmp_path, 0), fake.steal(tmp_path, fake.victim(tmp_path, 0), 0)
    more = {"linear_0.1": 0.5, "linear_one_each": 0.3}
    for run, edge in ((v, INSIDE), (t, EDGE)):
        notes = {
            "linear": INSIDE | {"converged": run is v},
            "linear_0.1": edge,
            "linear_one_each": EDGE | {"l2_undecided": True},
        }
        fake.probe(tmp_path, run, 0.8, notes=notes, **more)
    notes = {"linear": INSIDE, "svm": {"penalty": 1, "l2_at_edge": True}}
    fake.probe(tmp_path, None, 0.3, notes=notes, svm=0.9)
    pairs = [(fake.key(v), fake.key(t))]
    for text in told(tmp_path, pairs):
        for words in (
            "Probes that stopped short of the tolerance: 1 of 3 (linear); see Runs.",
            "end of the grid of strengths: 1 of 2 (10 % of labels), 1 of 1 (SVM); see",
            "took the strongest: 2 of 2 (one label a class); see Runs.",
        ):
            assert words in text
    (table,) = (t for t in page_of(tmp_path / "out").tables if "solved" in t[0])
    solved = [line[table[0].index("solved")] for line in table[1:]]
    assert solved == [
        "linear: stopped short; 10 % of labels: grid's end; "
        "one label a class: no choice",
        "one label a class: no choice",
        "SVM: grid's end",
    ]


def test_the_service_s_classifier_at_the_end_of_its_grid(tmp_path):
    # Catches a classifier that was sold, and of which nobody says that it is not best.
    pairs = fake.study(tmp_path, victims=(0,))
    parents = {"victim": fake.victim(tmp_path, 0)}
    fake.finished(tmp_path, "classifier", "c", {"seed": 0}, parents, l2_at_edge=True)
    assert "1 classifier of the service chose an end" in told(tmp_path, pairs)[0]


def test_nearer_than_what_nobody_stole(tmp_path):
    # Catches a comparison that only results.json has, or one without independents.
    copies = {"mse": (0.3, 0.31, 0.32)}
    pairs = near(tmp_path / "a", copies, (0.5, 0.52, 0.51), cka=(0.7, 0.8))
    for text in told(tmp_path / "a", pairs):
        assert "Is a copy nearer to its victim" in text
    (line,) = page_of(tmp_path / "a" / "out").table("data set", "queries", "theft")[1:]
    assert line[2:6] == ["mse", "3", "0.310", "0.510"]
    assert line[6:] == ["0.200 [0.175, 0.225]", "0.00083", "0.00083", "linear CKA"]
    run, _ = fake.grid(tmp_path / "b")
    given = gather([run.path])
    write(tmp_path / "b" / "out", *given[:2], title="T")
    assert "Is a copy nearer" not in (tmp_path / "b/out/report.md").read_text("utf-8")


def test_published_figures(tmp_path):
    # Catches a row of ours beside figures of another loss, budget or set, one that was
    # not run passed over, and shares taken for per cent.
    pairs = fake.study(tmp_path, victims=(0,))
    same = {"data": "digits", "dataset": "digits", "loss": "mse", "queries": 100}
    same |= {"victim": 0.79, "copy": 0.769, "source": "<a> journal"}
    others = [
        same | change
        for change in (
            *({}, {"loss": "cosine"}, {"queries": 101}),
            *({"dataset": "cifar10"}, {"data": "cifar10"}),
        )
    ]
    text, _ = told(tmp_path, pairs, published=others)
    head, *lines = page_of(tmp_path / "out").table("victim on", "probed on")
    assert head[4:] == [
        *("victim", "copy", "ours", "our victim, linear", "our copy, linear", "source")
    ]
    assert lines[0][4:] == [
        *("79.0", "76.9", "simclr conv3 digits", "80.0", "60.0", "<a> journal")
    ]
    assert [line[6] for line in lines[1:]] == ["not run"] * 4
    assert text.count("not run") == 4


@pytest.mark.parametrize(("passes", "told_of"), [(1000, 0), (1040, 0), (2000, 1)])
def test_thefts_of_other_lengths_are_told(tmp_path, passes, told_of):
    # Catches thefts of study.passes="as given" compared without a word.
    v = fake.victim(tmp_path, 0)
    fake.probe(tmp_path, v, 0.9)
    pairs = []
    for loss, own in (("mse", 1000), ("infonce", passes)):
        run = fake.steal(tmp_path, v, 0, loss=loss, images=100, passes=own)
        fake.probe(tmp_path, run, 0.7)
        pairs.append((fake.key(v), fake.key(run)))
    text, _ = told(tmp_path, pairs)
    assert text.count("thefts had from 1,000 to 2,000 passes") == told_of


def test_a_theft_that_began_with_more(tmp_path):
    # Catches a warm start of all the pool that is said to have had the same images.
    v = fake.victim(tmp_path, 0)
    fake.probe(tmp_path, v, 0.9)
    run = fake.steal(tmp_path, v, 0, attack="warm_start", images=450, passes=1000)
    own = fake.steal(
        *(tmp_path, None, 0),
        **{"attack": "ssl_only", "images": 100, "passes": 1000, "asked": {}},
    )
    for encoder, accuracy in ((run, 0.8), (own, 0.7)):
        fake.probe(tmp_path, encoder, accuracy)
    pairs = [(fake.key(v), fake.key(encoder)) for encoder in (run, own)]
    words = "on the images that were asked (the theft began with 450) in as many passes"
    assert words in told(tmp_path, pairs)[0]
