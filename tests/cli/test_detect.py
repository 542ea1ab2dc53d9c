"""``sslx detect``: on a ledger, on arrays and lines of other people's services."""

import hashlib
import json

import numpy as np
import pytest

from sslx.cli import detect
from sslx.cli.detect import made, parted
from sslx.service import DETECTORS
from sslx.service.detectors import rates
from sslx.service.detectors.detector import fit
from sslx.types import UserError
from tests.service.box import opened, pictures
from tests.service.detectors.people import features, honest, stream
from tests.service.detectors.test_detectors import thieves

QUICK = ["--set", "mmd.window=20", "--set", "prada.least=20", "--set"]
QUICK += ["coverage.least=20"]


def saved(path, streams, lines=False):
    if lines:
        with open(path, "w") as out:
            for s in streams:
                for time, row in zip(
                    s.times.tolist(), s.features.tolist(), strict=True
                ):
                    entry = {"account": s.account, "time": time, "features": row}
                    out.write(json.dumps(entry) + "\n")
    else:
        np.savez(
            path,
            account=np.repeat(
                [s.account for s in streams], [len(s.times) for s in streams]
            ),
            time=np.concatenate([s.times for s in streams]),
            features=np.concatenate([s.features for s in streams]),
        )
    return str(path)


def names(streams):
    return ",".join(s.account for s in streams)


def said(capsys, *argv):
    detect.main([*argv, "--json"])
    out, err = capsys.readouterr()
    return json.loads(out), err


PEOPLE = honest(12, 60)
THIEVES = thieves(4)


def test_arrays_and_lines(tmp_path, capsys):
    # Catches a thief among the honest, thresholds judged by those who set them, forms
    # that differ, an account that is lost.
    npz = saved(tmp_path / "t.npz", [*PEOPLE, *THIEVES])
    lines = saved(tmp_path / "t.jsonl", [*THIEVES, *PEOPLE], lines=True)
    found, err = said(capsys, npz, "--honest", names(PEOPLE), *QUICK)
    assert found["length"] == 60
    assert err == "honest accounts are short: streams have 60 queries, not 1,000\n"
    assert found["fitted_on"] == [s.account for s in PEOPLE[::2]]
    judged = {a for a, of in found["accounts"].items() if of["honest"]}
    assert judged == {s.account for s in PEOPLE[1::2]}
    others = set(found["accounts"]) - judged
    assert others == {s.account for s in THIEVES}
    kinds = ["prada", "mmd", "similarity", "similarity across", "coverage"]
    assert list(found["detectors"]) == kinds and not found["left_out"]
    for name, of in found["detectors"].items():
        wrong = of["false_alarms"]
        assert wrong["streams"] == 6 and of["streams"] == 3
        alarms = [found["accounts"][a]["detectors"][name]["alarms"] for a in judged]
        assert wrong["share"] == sum(alarms) / 6
    views = found["accounts"]["views"]
    assert views["queries"] == 60 and views["detectors"]["similarity"]["alarm"] <= 30
    assert found["accounts"]["noise"]["detectors"]["mmd"]["alarm"] == 20
    assert found["accounts"]["short"]["detectors"]["mmd"]["score"] is None
    again, _ = said(capsys, lines, "--honest", names(PEOPLE), *QUICK)
    assert again == found


def test_the_table(tmp_path, capsys):
    # Catches a table that says another thing than the JSON.
    path = saved(tmp_path / "t.npz", [*PEOPLE, *THIEVES])
    argv = [path, "--honest", names(PEOPLE), *QUICK]
    found, _ = said(capsys, *argv)
    detect.main(argv)
    out, _ = capsys.readouterr()
    table = {line.split()[0]: line for line in out.splitlines() if line}
    for account, of in found["accounts"].items():
        assert ("honest" in table[account]) == of["honest"]
        for verdict in of["detectors"].values():
            if verdict["score"] is None:
                assert "too short" in table[account]
                continue
            sign = "<=" if verdict["alarm"] is None else ">"
            first = "no" if verdict["alarm"] is None else f"{verdict['alarm']:,}"
            cell = f"{first}  {verdict['score']:.3g} {sign} {verdict['threshold']:.3g}"
            assert cell in table[account]
    share = found["detectors"]["mmd"]["false_alarms"]["share"]
    assert f"{round(6 * share)} of 6 honest streams" in out
    assert "25% expected: 3 set the threshold" in out
    assert "6 honest accounts judged, 5 others" in out


def test_honest_traffic_of_another_file(tmp_path, capsys):
    # Catches an account of both files taken for one, and honest ones that are lost.
    before = saved(tmp_path / "before.npz", PEOPLE)
    now = saved(tmp_path / "now.jsonl", [*THIEVES, PEOPLE[0]], lines=True)
    found, _ = said(capsys, now, "--honest", before, *QUICK)
    assert {a for a, of in found["accounts"].items() if not of["honest"]} == {
        *(s.account for s in THIEVES),
        "h00",
    }
    assert found["fitted_on"] == [f"{s.account} (honest)" for s in PEOPLE[::2]]


def test_a_ledger_is_only_read(tmp_path, capsys):
    # Catches a detector that writes to the file that it judges.
    path = tmp_path / "ledger.sqlite"
    service = opened(path)
    for i in range(6):
        for part in range(3):
            images = pictures(20, seed=10 * i + part)
            service.query(f"h{i}", images, str(part))
    same = np.repeat(pictures(12, seed=99) // 2, 5, axis=0)
    same += np.random.default_rng(0).integers(0, 3, same.shape, np.uint8)
    service.query("thief", same, "0")
    service.close()
    before = hashlib.sha256(path.read_bytes()).digest()
    people = ",".join(f"h{i}" for i in range(6))
    found, _ = said(capsys, str(tmp_path), "--honest", people, *QUICK)
    assert hashlib.sha256(path.read_bytes()).digest() == before
    thief = found["accounts"]["thief"]
    assert thief["queries"] == 60 and thief["detectors"]["similarity"]["alarm"] < 60
    assert [p.name for p in tmp_path.iterdir()] == ["ledger.sqlite"]


def test_the_halves_of_one_account(tmp_path, capsys):
    # Catches a judge that is its own witness, told or not.
    path = saved(tmp_path / "t.npz", [stream("h", features(1, 210)), *THIEVES])
    argv = [path, "--honest", "h", "--queries", "40", "--detectors", "similarity,mmd"]
    found, err = said(capsys, *argv)
    assert "only 'h' has 40 queries: every other stream of it sets thresholds" in err
    assert found["accounts"]["h"]["queries"] == 80
    assert found["left_out"].keys() == {"mmd", "similarity across"}
    detect.main(argv)
    assert "mmd is left out: too few honest queries" in capsys.readouterr().out


def test_who_has_few_queries_is_judged_only():
    # Catches thresholds set by short streams, and honest users out of sight.
    people = [*honest(4, 50), *honest(2, 7, first=4), *honest(1, 120, first=6)]
    asked, lines = parted(people, THIEVES, 1000)
    assert asked.length == 50 and len(lines) == 1
    assert {len(s.times) for s in asked.fitted} == {50}
    assert sum(len(s.times) for s in asked.fitted if s.account == "h06") in (0, 100)
    counted = {s.account for s in [*asked.fitted, *asked.judged]}
    assert counted == {s.account for s in people}
    fitted = {s.account for s in asked.fitted}
    assert not fitted & {s.account for s in asked.judged}
    # Half of the accounts have that many, so that they are enough.
    asked, _ = parted([*honest(2, 50), *honest(2, 120, first=2)], THIEVES, 1000)
    assert asked.length == 50


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--honest", "nobody"], "there is no account 'nobody' in"),
        (["--honest", "h00,h99"], "there is no account 'h99' in"),
        (["--honest", ","], "there is no account '' in"),
        (["--honest", "h00"], "too few honest queries: 1 streams of 60"),
        (["--honest", "h00,h01"], "too few honest queries: 2 streams of 60"),
        (["--honest", "short"], "too few honest queries: 1 streams of 5"),
        (["--queries", "1"], "--queries 1: 2 or more"),
        (["--rate", "0"], "--rate 0 does not lie in 0..1"),
        (["--rate", "nan"], "--rate nan does not lie in 0..1"),
        (["--detectors", "hoda"], "unknown detector 'hoda'; known: coverage, mmd"),
        (["--detectors", ","], "--detectors names none"),
        (["--detectors", "mmd"], "no stream fills a window of mmd, 200 queries"),
        (["--set", "mmd.windw=3"], "mmd has no number 'windw'; known: references"),
        (["--set", "similarity.across=1"], "similarity has no number 'across'"),
        (["--set", "mmd.window=3.5"], "'3.5' is no whole number"),
        (["--set", "prada.deviations=x"], "'x' is no number"),
        (["--set", "mmd"], "mmd has no number ''"),
        (["--set", "seat.pairs=3"], "unknown detector 'seat'"),
        (["--set", "mmd.window=1"], "mmd.window must be 2 or more, not 1"),
        (
            ["--detectors", "prada", "--set", "mmd.window=9"],
            "mmd is not among --detectors",
        ),
    ],
)
def test_one_line_errors(tmp_path, argv, says):
    # Catches a traceback, and a table made of something else than was meant.
    path = saved(tmp_path / "t.npz", [*PEOPLE, *THIEVES])
    with pytest.raises(UserError) as error:
        detect.main([path, "--honest", names(PEOPLE), *argv])
    assert says in str(error.value) and "\n" not in str(error.value)


def test_files_that_do_not_fit(tmp_path):
    # Catches widths that differ between files, which would be a traceback.
    now = saved(tmp_path / "now.npz", THIEVES)
    for width in (1, 7, 9):
        rows = [s._replace(features=np.ones((60, width))) for s in PEOPLE]
        before = saved(tmp_path / "before.npz", rows)
        with pytest.raises(UserError, match="features differ in width: ") as error:
            detect.main([now, "--honest", before])
        assert f"{width:,} of account 'h11 (honest)'" in str(error.value)


@pytest.mark.slow
def test_time_and_memory():
    # Catches a loop over pairs: 3,000 queries of 512 numbers take seconds.
    import time

    rng = np.random.default_rng(0)
    people = [
        stream(f"h{i}", rng.normal(size=(3000, 512)).astype(np.float32))
        for i in range(5)
    ]
    for name, detector in made([*DETECTORS], []).items():
        fitted = fit(detector, people[:4], rate=0.05)
        begin = time.process_time()
        rates(fitted, {"honest": people[4:]}, length=3000)
        assert time.process_time() - begin < 20, name
