"""Numbers of thefts of the reference victim, chosen on answers that were held back.

Command: python launch.py --config=configs/choose_reference.py --workdir=/tmp/choose
Time: about an hour on two cores; the probes that its report wants take longer
Expected: the table in docs/choosing.md

As choose_digits.py: a tenth of 3,000 paid images trains nothing and judges. One seed
and 64,000 passes for all, a quarter of the study's. The first step stands above, what
was tried around its best below.
"""

from configs import cifar_reference, default

PASSES = 64_000
RATES = ("optim.learning_rate=0.001", "optim.learning_rate=0.004")  # beside 0.002


def _settings() -> list[str]:
    """Of all thefts: changes of the section steal."""
    out = ["loss=mse", *(f"loss=mse {rate}" for rate in RATES)]
    out += ["loss=mse augment=none", "loss=mse augment=mild"]
    for loss, values in (("infonce", (0.1, 0.05, 0.3)), ("softnn", (1, 10, 100))):
        key = f"loss_kw.{loss}.temperature"
        out += [f"loss={loss} {key}={value:g}" for value in values]
    key = "attack_kw.stolen_encoder.weight"
    out += [f"attack=stolen_encoder loss=own {key}={weight}" for weight in (1, 20)]
    base = f"attack=ssl_only loss=own ssl.images=asked ssl.passes={PASSES}"
    out += [f"{base} ssl.objective_kw.simclr.temperature={t}" for t in (0.2, 0.1, 0.5)]
    out += [f"{base} ssl.optim.learning_rate={r}" for r in (5e-4, 1e-3, 4e-3, 8e-3)]
    out += [f"{base} ssl.augment=mild", f"{base} ssl.augment=mild ssl.{RATES[1]}"]
    return out + _second()


def _second() -> list[str]:
    """Around what was best in the first step."""
    mild = f"augment=mild {RATES[1]}"
    weight = "attack=stolen_encoder loss=own attack_kw.stolen_encoder.weight=1"
    return [
        f"loss=mse {mild}",
        "loss=mse augment=mild optim.learning_rate=0.008",
        f"loss=infonce loss_kw.infonce.temperature=0.05 {mild}",
        f"loss=softnn loss_kw.softnn.temperature=1 {mild}",
        f"{weight} {mild}",
        "loss=mse augment=mild optim.learning_rate=0.016",
        "loss=mse augment=supervised optim.learning_rate=0.008",
        "loss=infonce loss_kw.infonce.temperature=0.05 augment=mild "
        "optim.learning_rate=0.008",
        "loss=softnn loss_kw.softnn.temperature=10 augment=mild "
        "optim.learning_rate=0.008",
    ]


def get_config():
    """The victim of cifar_reference.py and all settings, each a theft of its own."""
    c = cifar_reference.get_config()
    c.study.name = "choose_reference"
    c.study.grid = (default.thefts(*_settings()),)
    c.steal.queries = 3000
    # What all settings differ from.
    c.steal.augment = "simclr_cifar"
    for part in (c.steal, c.steal.ssl):
        part.optim.learning_rate = 2e-3
    c.steal.passes = c.steal.ssl.passes = c.steal.head.passes = PASSES
    c.steal.held_back.share = 0.1
    c.steal.held_back.augment = "simclr_cifar"
    c.steal.alone = ()
    return c
