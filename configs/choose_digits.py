"""Numbers of every attack on the digits, chosen on answers that were held back.

Command: python launch.py --config=configs/choose_digits.py --workdir=/tmp/choose
Time: 30 minutes on two cores beside other work
Expected: the table in docs/choosing.md

Ten per cent of the images that an attacker paid for train nothing and judge the
training (docs/choosing.md). One seed, the budget of 450 images sent, 76,800 passes for
all. The grid is no full product: where a theft has a temperature or a weight, rates
were tried at one of its values alone.
"""

from configs import default

PASSES = 76800
RATES = (1e-3, 4e-3)  # beside 2e-3
MILD = "augment=mild"
IMAGE = "attack_kw.{}.train_on=image " + MILD
PAIR = " ask_views=2 ask_augment=mild"


def _rates(*bases: str, key: str = "optim.learning_rate") -> list[str]:
    """Each as it is, and at the other rates."""
    rates = ["", *(f"{key}={rate:g}" for rate in RATES)]
    return [f"{base} {rate}".strip() for base in bases for rate in rates]


def _with_temperature(base: str, key: str, temperatures: tuple, mild: str) -> list:
    """Temperatures with and without augmentation; rates at the middle one, with it."""
    each = [f"{base} {key}={t:g}" for t in temperatures]
    rates = _rates(f"{each[1]} {mild}")[1:]
    return [*each, *(f"{one} {mild}" for one in each), *rates]


def _settings() -> list[str]:
    """Of all thefts: changes of the section steal."""
    direct = IMAGE.format("direct")
    out = []
    for loss in ("mse", "cosine", "barlow", "vicreg"):
        out += _rates(f"loss={loss}", f"loss={loss} {direct}")
    for loss, temperatures in (("infonce", (0.05, 0.1, 0.3)), ("softnn", (1, 10, 100))):
        key = f"loss_kw.{loss}.temperature"
        out += _with_temperature(f"loss={loss}", key, temperatures, direct)
    base, weight = f"attack=stolen_encoder loss=own {MILD}", "attack_kw.stolen_encoder"
    out += [f"{base} {weight}.weight={w:g}" for w in (1, 5)]
    out += _rates(f"{base} {weight}.weight=20")
    # Answers are to a view; what it trains on is the image, through the augmentation.
    base = "attack=cont_steal loss=own ask_augment=mild"
    key = "attack_kw.cont_steal.temperature"
    out += _with_temperature(base, key, (0.07, 0.2, 0.5), MILD)
    base = f"attack=rda loss=own ask_views=10 ask_augment=mild {MILD}"
    key = "attack_kw.rda.temperature"
    out += [f"{base} {key}={t:g}" for t in (0.07, 0.5)]
    out += _rates(f"{base} {key}=0.2")
    half = f"passes={PASSES // 2} ssl.passes={PASSES // 2}"
    base = f"attack=warm_start loss=mse {half}"
    out += _rates(base, f"{base} {IMAGE.format('warm_start')}")
    base = "attack=recreate_head loss=infonce" + PAIR
    key = "loss_kw.infonce.temperature"
    out += [f"{base} {key}={t:g}" for t in (0.05, 0.3)]
    out += _rates(f"{base} {key}=0.1")
    out += [f"{base} {key}=0.1 {IMAGE.format('recreate_head')}"]
    base = "attack=own_head loss=mse"
    out += [*_rates(base), f"{base} {IMAGE.format('own_head')}"]
    for attack, output in (("label_theft", "label"), ("knockoff", "probabilities")):
        base = f"attack={attack} loss=own service.output={output}"
        out += _rates(base, f"{base} {MILD}")
    base = "attack=symmetrized loss=own" + PAIR
    out += [*_rates(base), f"{base} {IMAGE.format('symmetrized')}"]
    base = f"attack=ssl_only loss=own ssl.images=asked ssl.passes={PASSES}"
    for t in (0.2, 0.1, 0.5):
        own = f"{base} ssl.objective_kw.simclr.temperature={t:g}"
        out += _rates(own, key="ssl.optim.learning_rate")
    out += [f"{base} ssl.augment={name}" for name in ("simclr", "vicreg_cifar")]
    return out


def get_config():
    """The victim of docs/choosing.md and all settings, each a theft of its own."""
    c = default.get_config()
    c.study.name = "choose_digits"
    c.study.grid = (default.thefts(*_settings()),)
    c.data.held_out = 1 / 9  # 450 of the 1,350 training digits
    c.victim.dataset = "digits"
    c.victim.encoder = c.steal.encoder = "conv3"
    c.victim.augment = c.steal.ssl.augment = "mild"
    for part in (c.victim, c.steal.ssl):
        part.objective_kw.simclr.temperature = 0.2
    for part in (c.victim, c.steal, c.steal.ssl, c.steal.head):
        part.optim.name = "adamw"
        part.optim.learning_rate = 2e-3
        part.batch_size = 128
    c.victim.steps = 2000
    c.steal.queries = 450
    c.steal.passes = PASSES
    c.steal.head.passes = PASSES // 2
    c.steal.held_back.share = 0.1
    c.steal.attack_kw.symmetrized.update({"hidden": 128, "predictor": 64})
    c.steal.alone = ()
    c.probe.datasets = ("digits",)
    c.probe.few_labels = ()
    c.engine.save_every = 1000
    c.engine.cpu_devices = 4  # images this small are slower over 8
    return c
