"""docs/defences.md against the table."""

from configs.default import get_config
from sslx.registry import keywords
from sslx.service import DEFENCES, LAWS, make_defence
from tests import tiny

DOC = tiny.ROOT / "docs" / "defences.md"
BLOCKS = get_config().service.defence_kw.to_dict()


def cells(section):
    """The rows of a section's first table, but for head and rule."""
    text = DOC.read_text().partition(section)[2]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]


def test_the_table_says_what_each_defence_is():
    # Catches a defence that is not written of, a number, a want or an exemption that is
    # another than the code's.
    found = cells("## What each does")[1 : len(DEFENCES) + 1]
    assert [row[0].strip("`") for row in found] == sorted(
        DEFENCES, key=[row[0].strip("`") for row in found].index
    )
    for name, _, numbers, wants, breaks in found:
        name = name.strip("`")
        defence = make_defence([name], BLOCKS)
        assert set(numbers.split("`")[1::2]) == keywords(DEFENCES[name]), name
        assert set(filter(None, wants.split(", "))) == defence.wants, name
        assert set(filter(None, breaks.split(", "))) == defence.exempt, name


def test_the_laws_are_those_of_the_code():
    # Catches a law whose sentence was changed in one place.
    found = cells("### Laws")[1 : len(LAWS) + 1]
    assert {row[0]: row[1] for row in found} == LAWS


def test_every_default_block_makes_a_defence():
    # Catches a block that is missing, or one that its defence would refuse.
    for name, entry in DEFENCES.items():
        assert set(BLOCKS.get(name, {})) == keywords(entry), name
        make_defence([name], BLOCKS)
