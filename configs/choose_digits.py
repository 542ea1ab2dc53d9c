"""Numbers of every attack on the digits, chosen on answers that were held back.

Command: python launch.py --config=configs/choose_digits.py --workdir=/tmp/choose
Of the attacker alone in five times the passes: --config=configs/choose_digits.py:long
Time: 25 minutes on two cores beside other work, without probes
Expected: the table in docs/choosing.md

Ten per cent of the images that an attacker paid for train nothing and judge the
training (docs/choosing.md). One seed, the budget of 450 images sent, 25,600 passes for
all. The first setting of each theft is what it had before, or that with augmentation.
The grid is no full product: where a theft has a temperature or a weight, rates were
tried at the first of its values, and augmentation was left out there; the better rate
was then tried with the better value, where that was another.
"""

from configs import default, digits_direct
from sslx.registry import pick

PASSES = digits_direct.PASSES
RATES = ("optim.learning_rate=0.001", "optim.learning_rate=0.004")  # beside 0.002
MILD = "augment=mild"


def _image(attack: str) -> str:
    """It trains on the image itself, augmented, and not on what was asked."""
    return f"attack_kw.{attack}.train_on=image {MILD}"


def _star(base: str, key: str, values: tuple, end: str, rates: tuple) -> list[str]:
    """All values of a key, other rates at the first, and that without the end."""
    first = f"{base} {key}={values[0]:g}"
    each = [f"{base} {key}={value:g} {end}" for value in values]
    return [*each, *(f"{first} {end} {rate}" for rate in rates), first]


def _few(base: str, end: str) -> list[str]:
    """As it is, with the end, and with the end at twice the rate."""
    return [base, f"{base} {end}", f"{base} {end} {RATES[1]}"]


def _settings() -> list[str]:
    """Of all thefts: changes of the section steal."""
    image, out = _image("direct"), []
    for rate in ("", *RATES):
        out += [f"loss=mse {rate}", f"loss=mse {image} {rate}"]
    out += [f"loss=mse {image} batch_size={n}" for n in (64, 128)]
    for loss, values in (("infonce", (0.1, 0.05, 0.3)), ("softnn", (100, 10, 1))):
        key = f"loss_kw.{loss}.temperature"
        out += _star(f"loss={loss}", key, values, image, RATES)
    base = f"attack=stolen_encoder loss=own {MILD} attack_kw.stolen_encoder.weight"
    out += [f"{base}={weight}" for weight in (20, 5, 1)]
    out += [f"{base}=20 {RATES[1]}"]
    base = f"attack=ssl_only loss=own ssl.images=asked ssl.passes={PASSES}"
    key, ssl = "ssl.objective_kw.simclr.temperature", [f"ssl.{r}" for r in RATES]
    for t in (0.2, 0.1, 0.5):
        out += [f"{base} {key}={t}", f"{base} {key}={t} {ssl[1]}"]
    out += [f"{base} {key}=0.2 {ssl[0]}"]
    out += [f"{base} ssl.augment={name}" for name in ("simclr", "vicreg_cifar")]
    out += [f"{base} ssl.batch_size={n}" for n in (32, 128)]
    half = f"passes={PASSES // 2} ssl.passes={PASSES // 2} ssl.batch_size=32"
    out += _few(f"attack=warm_start loss=mse {half}", _image("warm_start"))
    # Of what is augmented as it is asked, the views that were sent, or other ones.
    base = "attack=cont_steal loss=own ask_augment=mild"
    key = "attack_kw.cont_steal.temperature"
    out += _star(base, key, (0.07, 0.2, 0.5), MILD, RATES[1:])
    for attack, output in (("label_theft", "label"), ("knockoff", "probabilities")):
        out += _few(f"attack={attack} loss=own service.output={output}", MILD)
    base = f"attack=rda loss=own ask_views=10 ask_augment=mild {MILD}"
    out += [f"{base} attack_kw.rda.temperature={t}" for t in (0.07, 0.2, 0.5)]
    pair = "ask_views=2 ask_augment=mild"
    base = f"attack=recreate_head loss=infonce {pair} loss_kw.infonce.temperature"
    out += [f"{base}={t}" for t in (0.1, 0.05)]
    out += [f"{base}=0.1 {_image('recreate_head')}"]
    for loss in ("cosine", "barlow", "vicreg"):
        out += _few(f"loss={loss}", image)
    for attack, loss, more in (("own_head", "mse", ""), ("symmetrized", "own", pair)):
        out += _few(f"attack={attack} loss={loss} {more}", _image(attack))[:2]
    return out + _second()


def _second() -> list[str]:
    """Around what was best in the first step."""
    image, rate = _image("direct"), "optim.learning_rate"
    stolen = f"attack=stolen_encoder loss=own {MILD} attack_kw.stolen_encoder.weight"
    alone = f"attack=ssl_only loss=own ssl.images=asked ssl.passes={PASSES}"
    alone += " ssl.batch_size=32"
    return [
        f"loss=mse {rate}=0.008",
        f"loss=infonce loss_kw.infonce.temperature=0.1 {image} {rate}=0.008",
        f"loss=infonce loss_kw.infonce.temperature=0.1 {rate}=0.004",
        f"loss=softnn loss_kw.softnn.temperature=1 {image} {rate}=0.004",
        f"{stolen}=1 {rate}=0.004",
        f"{stolen}=0.2 {rate}=0.004",
        f"{alone} ssl.{rate}=0.001",
        f"{alone} ssl.{rate}=0.004",
        f"{alone} ssl.objective_kw.simclr.temperature=0.1",
    ]


def _long() -> list[str]:
    """Of the attacker alone, in five times the passes."""
    base = f"attack=ssl_only loss=own ssl.images=asked ssl.passes={5 * PASSES}"
    key, rates = "ssl.objective_kw.simclr.temperature", (0.001, 0.004)
    return [
        *(f"{base} {key}={t}" for t in (0.2, 0.1, 0.5)),
        *(f"{base} ssl.batch_size={n}" for n in (64, 128)),
        *(f"{base} ssl.optim.learning_rate={rate}" for rate in rates),
        *(f"{base} ssl.augment={name}" for name in ("simclr", "vicreg_cifar")),
    ]


def get_config(part: str = "all"):
    """The victim of digits_direct.py and all settings, each a theft of its own."""
    c = digits_direct.get_config()
    settings = pick({"all": _settings, "long": _long}, part, "part")()
    c.study.name = "choose_digits" if part == "all" else f"choose_digits-{part}"
    c.study.grid = (default.thefts(*settings),)
    # What all settings differ from.
    c.steal.attack, c.steal.loss = "direct", "mse"
    c.steal.augment = "none"
    c.steal.optim.learning_rate = 2e-3
    c.steal.ssl.batch_size = 64 if part == "all" else 32
    c.steal.attack_kw.symmetrized.update({"hidden": 128, "predictor": 64})
    c.steal.head.update({"passes": PASSES, "batch_size": c.steal.batch_size})
    c.steal.head.optim.update(c.steal.optim)
    c.steal.held_back.share = 0.1
    c.steal.alone = ()
    return c
