"""A defended study, small: honest users, thieves who know, and what the page says."""

import json

import pytest

from configs import default
from sslx.program import run as launch
from sslx.service.bills import LEDGER, bills
from sslx.service.readers import read_asked
from tests import tiny

B4B = "service.defence=b4b service.defence_kw.b4b.bits=6"
MAPS = default.thefts("accounts=2 anchors=24 clean=('maps',)")[0]
NOISE = "service.defence=noise service.defence_kw.noise.sd=20.0"
RECOVER = default.thefts("clean=('recover',)")[0]
GRID = ("", B4B, f"{B4B} {MAPS}", NOISE, f"{NOISE} {RECOVER}")
USERS = ("domain", "video")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Workdir and results.json of it."""
    workdir = tmp_path_factory.mktemp("defended")
    config = tiny.config(
        study__grid=(GRID,),
        steal__ssl__steps=12,
        service__calibration__images=60,
        service__honest__users=2,
        service__honest__kinds=USERS,
        service__honest__sizes=(50, 100),
    )
    launch(config, workdir)
    (found,) = workdir.glob("report/*/results.json")
    return workdir, read(found)


def read(path):
    return json.loads(path.read_text())


def test_honest_users_stand_beside(study):
    # Catches users judged on clean answers behind a defence, a kind or a defence that
    # is left out, images that are counted for the wrong account.
    workdir, found = study
    rows = [row for row in found["rows"] if row["role"] == "honest"]
    of = {
        (row["theft"], row["cell"].split(", ")[2], row["evaluator"]): row
        for row in rows
    }
    defences = {defence.split()[0] for _, defence, _ in of}
    assert defences == {"none", "b4b", "noise"}
    assert {user for user, _, _ in of} == set(USERS)
    assert len(rows) == 2 * 2 * 2 * 3 and {row["queries"] for row in rows} == {50, 100}
    rows = [row for row in rows if row["queries"] == 100]
    for (user, defence, evaluator), row in of.items():
        if evaluator == "linear":
            clean = of[user, defence, "linear_clean"]["accuracy"]
            assert clean == of[user, "none", "linear_clean"]["accuracy"]
            assert (row["accuracy"] == clean) or defence != "none"
    assert any(
        row["accuracy"] != of[user, defence, "linear_clean"]["accuracy"]
        for (user, defence, evaluator), row in of.items()
        if evaluator == "linear" and defence.startswith("noise")
    )
    images = {}
    for ledger in workdir.glob(f"honest/*/{LEDGER}"):
        user, size = ledger.parent.name.split("-")[:2]
        size = int(size[:-1])
        counted = bills(ledger, [f"{user}1", f"{user}2"])
        assert [bill["images"] for bill in counted.values()] == [size, size]
        images[user, size] = {*read_asked(ledger)[f"{user}1"][1].round(4).ravel()}
    # Nobody's images are a part of those of a larger user: of an undefended service
    # the answers would be, too.
    assert not images["domain", 50] <= images["domain", 100]


def test_whoever_compares_accounts_pays_for_both(study):
    # Catches anchors that are sent once, or on top of the budget.
    workdir, found = study
    (asked,) = (
        meta
        for meta in map(read, workdir.glob("responses/*/meta.json"))
        if len(meta["accounts"]) > 1
    )
    counted = asked["accounts"]
    assert sum(bill["images"] for bill in counted.values()) == 300
    (row,) = (
        row
        for row in found["rows"]
        if row["role"] == "stolen" and row["changes"].get("steal.anchors")
        if row["evaluator"] == "linear"
    )
    assert row["theft"] == "mse accounts=2 clean=maps defence=b4b"
    assert row["queries"] == 300 and row["images"] == 300 - 24


def test_what_an_owner_reads(study):
    # Catches a thief who knows taken for one who does not, a defence without its users,
    # a page without the section.
    workdir, found = study
    first, *others = found["frontier"]
    assert first["defence"] == "none" and first["loss"] == 0
    assert first["naive"]["of"] == 1
    assert first["naive"] and not first["adapted"]
    assert [d["defence"].split()[0] for d in others] == ["b4b", "noise"]
    assert (
        set(others[0]["noted"])
        == {"coverage", "noise"}
        == set(others[0]["naive"]["noted"])
    )
    for d in others:
        assert d["naive"] and d["adapted"] and len(d["uses"]) == 4
        assert d["queries"] == 300
        loss = [use["clean"] - use["defended"] for use in d["uses"]]
        assert d["loss"] == pytest.approx(sum(loss) / 4)
    (page,) = workdir.glob("report/*/report.html")
    (words,) = workdir.glob("report/*/report.md")
    for text in (page.read_text(), words.read_text()):
        assert "What each defence costs" in text and "b4b" in text
        assert "users send test images of digits." in text


def test_who_would_be_seen(study):
    # Catches honest accounts that set a threshold and are judged by it, thieves counted
    # among honest users, a detector that is left out.
    _, found = study
    seen = found["detected"]
    names = {"prada", "mmd", "similarity", "similarity across", "coverage"}
    assert {d["detector"] for d in seen} <= names and len(seen) >= 3 * 2
    for d in seen:
        judged = sum(rates["accounts"] for rates in d["honest"].values())
        assert judged == 2  # of four, two set thresholds
        assert d["naive"]["accounts"] == 1
        if d["defence"].startswith("b4b"):
            assert d["adapted"]["accounts"] == 2
        else:  # who cleans answers asks as the naive one does
            assert d["adapted"] is None
