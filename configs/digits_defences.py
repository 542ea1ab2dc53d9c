"""Defences of the digits' victim, thieves who know them, and honest users beside.

Command: python launch.py --config=configs/digits_defences.py
All defences at three strengths, three seeds: --config=configs/digits_defences.py:full
Time: not measured
Expected: the table of docs/defences.md

Victim, theft and passes are those of digits_direct.py, but for the split: a fourth of
the digits is not the victim's, of which 150 images are the provider's to measure
answers on and the rest are the attacker's. Every theft sends 450 images, whatever it
does with them. The naive one takes answers as they are; what each defence is met with
is in KNOWS, and in ALL what may undo any. Each runs without a defence, too: what it
gains there has nothing to do with one. B4B's knees lie about what honest
users of 300 images cover of 1,024 buckets, 17 to 19 %, and a thief of 450, 24 %.
"""

from configs import default, digits_attack
from sslx.registry import pick

# Defence -> the number that is its strength, and three values of it.
STRENGTHS = {
    "noise": ("sd", (1.0, 0.5, 2.0)),
    "round": ("step", (2.0, 1.0, 4.0)),
    "top_k": ("k", (8, 16, 4)),
    "truncate": ("width", (16, 32, 8)),
    "project": ("width", (16, 32, 8)),
    "near_duplicates": ("similarity", (0.8, 0.9, 0.7)),
    "b4b": ("knee", (20.0, 25.0, 15.0)),
    "coverage_ratio": ("noise", (3.0, 1.0, 10.0)),
    "saliency": ("blur", (0.1, 0.05, 0.2)),
    "proof_of_work": ("floor", (16.0, 12.0, 20.0)),
}
VIEWS = "ask_views=3 ask_augment=mild"
ACCOUNTS = "accounts=3"  # each begins anew
MAPS = f"{ACCOUNTS} anchors=40 clean=('maps',) clean_kw.maps.kind"
ALL = ("clean=('predictions',)", "clean=('recover',)")  # against whatever it is
KNOWS = {
    "noise": (f"{VIEWS} clean=('mean',)",),
    "round": ("ask_views=3 ask_augment=dither clean=('mean',)",),
    "top_k": (f"{VIEWS} clean=('union',)",),
    "project": (f"{MAPS}=dense",),
    "near_duplicates": ("clean=('outliers',)", ACCOUNTS),
    "b4b": ("plan=narrow", f"{MAPS}=diagonal", "clean=('standardise',)"),
    "coverage_ratio": ("plan=narrow", ACCOUNTS),
    "proof_of_work": (ACCOUNTS,),
}
# A copy of these teaches nothing: it changes images, or draws another matrix.
NO_COPY = {"saliency", "project"}
BUDGETS = ("queries=90", "queries=150", "queries=300")  # a thief who was stopped
SEEDS = (0, 1, 2)


def _changes(strengths: int) -> list[str]:
    """Every defence at so many strengths, with every thief that meets it."""
    alone = [t for own in KNOWS.values() for t in own if "maps" not in t]
    out = ["", *default.thefts(*dict.fromkeys(alone), ALL[0], *BUDGETS)]
    for name, (key, values) in STRENGTHS.items():
        thieves = ["", *KNOWS.get(name, ()), *ALL]
        for value in values[:strengths]:
            own = f"service.defence={name} service.defence_kw.{name}.{key}={value}"
            for thief in thieves:
                if "recover" in thief and name in NO_COPY:
                    continue
                (change,) = default.thefts(thief) if thief else ("",)
                out.append(f"{own} {change}".strip())
    return out


def get_config(part: str = "quick"):
    """``part`` is quick (one strength, one seed) or full."""
    c = digits_attack.get_config("stolen_encoder")
    strengths, seeds = pick({"quick": (1, 1), "full": (3, 3)}, part, "part")
    c.study.name = f"digits_defences-{part}"
    c.study.grid = (
        tuple(_changes(strengths)),
        tuple(f"seed={seed}" for seed in SEEDS[:seeds]),
    )
    c.data.held_out = 0.25
    c.service.calibration.images = 150
    c.service.call_size = 50  # accounts share calls
    c.service.defence_kw.b4b.bits = 10
    c.service.defence_kw.b4b.transform = "diagonal"
    c.service.defence_kw.coverage_ratio.bits = 10
    c.service.honest.users = 5
    c.steal.alone = ("asked",)
    return c
