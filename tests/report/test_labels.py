"""Names of thefts, victims and figures."""

import itertools

from sslx.data.presets import PRESETS
from sslx.report.collect import collect
from sslx.report.labels import (
    Told,
    evaluator,
    flat,
    kinds,
    settings_of,
    short,
    telling,
    thefts,
)
from sslx.report.records import Member
from sslx.runs.lineage import lineage
from tests.report import fake_study as fake

ADAM = {"name": "adam", "learning_rate": 1e-3}


def test_labels():
    # Catches labels that do not tell thefts apart, or name what all share or a seed.
    seeds = itertools.count()

    def told(queries=500, **settings):
        settings = flat({"seed": next(seeds), **settings})
        return Told("direct", "softnn", (queries,), "victim", settings)

    def labels(*several):
        return [label for label, _ in thefts(list(several))]

    numbers = [{"temperature": t, "weight": 1.0} for t in (1.0, 100.0)]
    assert labels(told(), told()) == ["softnn", "softnn"]
    found = labels(
        told(numbers=numbers[0], steps=5, optim=ADAM),
        told(numbers=numbers[1], steps=5, optim=ADAM),
        told(2000, numbers=numbers[0], steps=20, optim=ADAM),
    )
    assert found == [f"softnn temperature={t}" for t in (1, 100, 1)]
    # An encoder's name says enough; its numbers come with it.
    nets = [
        {"name": "conv3", "kw": {"width": 8}},
        {"name": "resnet18", "kw": {"width": 64, "stem": "cifar"}},
    ]
    found = thefts([told(encoder=net) for net in nets])
    assert [label for label, _ in found] == [
        "softnn encoder=conv3",
        "softnn encoder=resnet18",
    ]
    assert found[1][1]["encoder.kw.stem"] == "cifar"  # but it is written down
    optims = [{"weight_decay": w} for w in (0, 1)]
    own = [{"optim": a, "ssl": {"optim": b}} for a in optims for b in optims]
    assert len(set(labels(*(told(**o) for o in own)))) == 4
    both = [Told("rda", loss, (5,), "", {}) for loss in ("own", "mse")]
    assert labels(*both) == ["rda", "rda mse"]
    assert labels(told(augment=[]), told(augment=[{"x": 1}]))[0] == "softnn augment="


def test_kinds_of_victims(tmp_path):
    # Catches seeds that make a kind of their own, and kinds that look the same.
    victims = [fake.victim(tmp_path, seed) for seed in (0, 1)]
    victims.append(fake.victim(tmp_path, 0, held_out=0.5))
    nodes = lineage(tmp_path)
    names = kinds([nodes[fake.key(v)] for v in victims])
    a, b, c = (names[fake.key(v)] for v in victims)
    assert a == b == "simclr conv3 digits" and c == "simclr conv3 digits held_out=0.5"


def test_the_chosen_name_of_an_augmentation(tmp_path):
    # Catches a preset that is told by the first one that is equal: byol for barlow.
    views = [recipe._asdict() for recipe in PRESETS["moco_cifar"]]
    recipe = {"augment": views, "optim": {"name": "adam"}}
    plain = fake.finished(tmp_path, "steal", "a", recipe, {})
    told = fake.finished(tmp_path, "steal", "b", recipe, {}, words={"augment": "mine"})
    nodes = lineage(tmp_path)
    guessed = settings_of(nodes[fake.key(plain)])
    assert guessed == {"augment": "simsiam_cifar", "optim.name": "adam"}
    assert settings_of(nodes[fake.key(told)])["augment"] == "mine"


def test_labels_tell_cells_apart():
    # Catches two cells of one name, and names full of what all cells have.
    def cell(attack, loss, queries=300, **settings):
        own = flat({"views": 1} | settings)
        return Told(attack, loss, (queries,), "victim", own)

    rate = {"optim": {"name": "adam", "learning_rate": 0.5}}
    found = thefts(
        [
            cell("direct", "mse"),
            cell("direct", "mse", queries=90),
            cell("rda", "own", views=10),
            cell("rda", "own", queries=90, views=10),
            cell("own_head", "mse", **rate),
            cell("own_head", "mse", optim=ADAM),
        ]
    )
    assert [label for label, _ in found] == [
        "mse",
        "mse",
        "rda",
        "rda",
        "own_head mse learning_rate=0.5",
        "own_head mse learning_rate=0.001",
    ]


def test_names_of_probes_and_sets():
    # Catches a share of labels that reads as a name, and a folder in a heading.
    assert [
        evaluator(n) for n in ("linear_0.01", "knn", "linear", "linear_one_each")
    ] == [
        "1 % of labels",
        "kNN",
        "linear",
        "one label a class",
    ]
    assert short("npz:/a/b/set.npz") == "npz:set.npz" and short("digits") == "digits"


def test_what_asks_nothing_is_called_after_its_images(tmp_path):
    # Catches names that say more where pool and asked are equally many images.
    v = fake.victim(tmp_path, 0)
    work = {"images": 100, "passes": 1000}
    runs = [
        fake.steal(tmp_path, v, 0, **work),
        fake.steal(tmp_path, None, 0, attack="ssl_only", **work),
        fake.steal(tmp_path, None, 0, attack="ssl_only", asked={}, **work),
    ]
    for run in (v, *runs):
        fake.probe(tmp_path, run, 0.5)
    members = [Member(fake.key(v), fake.key(run), {}) for run in runs]
    records = collect(lineage(tmp_path), members)
    found = {(r.role, r.theft) for r in records if r.role != "victim"}
    assert found == {("stolen", "mse"), ("alone", "pool"), ("alone", "asked")}


def test_what_a_cleaner_is_helped_by_is_named_last():
    # Catches thefts with two encoders of the attacker's own under one label, and the
    # whole of its training told of the only one.
    own = "own.optim.learning_rate"
    plain, one, two = {}, {"clean": "outliers", own: "0.1"}, {"clean": "outliers"}
    two[own] = "0.2"
    assert telling([plain, {**one, "queries": "9"}]) == ["clean"]
    assert telling([plain, {own: "0.1", "clean": "outliers"}]) == ["clean"]
    assert telling([plain, one, two]) == ["clean", own]
