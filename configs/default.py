"""Every key of an experiment, with the one home of its number. Not an experiment.

An experiment file calls ``get_config`` here and changes what it needs. Names choose;
the numbers of what is chosen stand in a block of its name (``steal.loss = "infonce"``,
``steal.loss_kw.infonce.temperature``). Tuples and numbers can be set on the command
line: ``--config.steal.queries=500``.
"""

from ml_collections import ConfigDict, config_dict


def _encoders() -> dict:
    def resnet() -> dict:
        return {
            "stem": "cifar",  # 3x3, no max-pool; or "imagenet" (7x7 stride 2, max-pool)
            "width": 64,  # channels of the first layer; the others are multiples of it
            "zero_init": False,  # the last scale of each block starts at zero
            "init": "he",  # normal, by fan-in; or "torch" (nn.Conv2d's own, uniform)
        }

    return {
        "conv3": {"width": 32},  # channels of the first layer
        "resnet18": resnet(),
        "resnet34": resnet(),
        "resnet50": resnet(),
    }


def _optim() -> dict:
    return {
        "name": "adam",  # adam (coupled L2, as PyTorch's), adamw, larc, lars, sgd
        "learning_rate": 3e-4,  # peak; a cosine takes it to zero at the last step
        "learning_rate_per_256": False,  # True: times batch_size / 256
        "weight_decay": 1e-4,
        "decay_vectors": True,  # decay of biases and norm scales; never by larc, lars
        "momentum": 0.9,  # of larc, lars, sgd
        "trust_coefficient": 0.02,  # of larc, lars; solo-learn's (the papers: 0.001)
        "warmup_steps": 0,
    }


def get_config() -> ConfigDict:
    """The whole tree; its numbers are the study's where it has them."""
    c = ConfigDict()
    c.seed = 0  # of the victim, the stealer and the plan of queries
    c.stages = ("victim", "steal", "probe", "report")
    c.precision = "float32"  # of the computation; or "bfloat16" (statistics stay wide)

    c.data = ConfigDict()
    c.data.dir = config_dict.placeholder(str)  # None: TFDS_DATA_DIR, else the usual one
    c.data.download = False  # True: a TFDS set not there is downloaded and prepared
    c.data.size = 0  # pixels; the shorter side is brought to it, the middle cut out
    c.data.channels = 0  # 0: as they are; 1: grey; 3: RGB
    c.data.mean = (0.0,)  # per channel or one for all, after scaling to [0, 1]
    c.data.std = (1.0,)
    c.data.held_out = 0.2  # share of the training images the victim never sees
    # Which ones; apart from `seed`, so that seeds share a split. None: the last ones.
    # (Declared as object: the command line reads no None where a whole number stands.)
    c.data.split_seed = config_dict.placeholder(object)
    c.data.split_seed = 0

    c.victim = ConfigDict()
    # A victim that is not trained here: PyTorch weights of victim.encoder, a file
    # (docs/pytorch.md); or an API, "npz:FILE" or "python:MODULE:FUNCTION"
    # (docs/audit.md). The data set below then gives only image shape and attacker's
    # images, all else but encoder and encoder_kw is unused.
    c.victim.weights = ""
    c.victim.source = ""
    c.victim.dataset = "digits"
    c.victim.objective = "simclr"
    c.victim.objective_kw = {
        # hidden: width of the head's hidden layers; 0: as wide as the features
        "simclr": {"temperature": 0.07, "hidden": 0, "projection": 128},
        # The others' numbers are solo-learn's for CIFAR and ResNet-18.
        "simsiam": {
            "hidden": 2048,
            "projection": 2048,
            "predictor": 512,  # the bottleneck
        },
        "barlow": {
            "off_diagonal": 5e-3,  # weight of the redundancy term
            "scale": 0.1,  # of the loss; goes with the learning rate
            "hidden": 2048,
            "projection": 2048,
        },
        "byol": {
            "decay": 0.99,  # of the moving average at the first step; 1 at the last
            "hidden": 4096,
            "projection": 256,
            "predictor": 4096,
        },
        "vicreg": {
            "invariance": 25.0,  # weights of the three terms, the paper's
            "variance": 25.0,
            "covariance": 1.0,
            "hidden": 2048,
            "projection": 2048,
        },
        "moco": {
            "temperature": 0.2,
            "decay": 0.99,  # of the moving average at the first step
            "final_decay": 0.999,  # and at the last
            "queue": 32768,  # keys kept of each view
            "hidden": 2048,
            "projection": 256,
        },
        "supervised": {},
    }
    c.victim.encoder = "resnet34"
    c.victim.encoder_kw = _encoders()
    c.victim.augment = "simclr"  # preset, one recipe a view; sslx/data/presets.py
    c.victim.optim = _optim()
    c.victim.batch_size = 256  # images; twice as many views
    c.victim.epochs = 200
    c.victim.steps = 0  # above 0: so many steps, whatever epochs says
    # Epochs between two looks at the encoder (kNN on held-out images, collapse,
    # alignment: docs/victims.md); the end gets one too. 0: none. In no recipe.
    c.victim.watch_every = 10

    c.service = ConfigDict()
    c.service.output = "representation"  # or "projection" (after the head)
    c.service.image_limit = config_dict.placeholder(int)  # None: steal.queries
    c.service.call_size = 256  # images the attacker sends in one call
    c.service.defence = "none"

    c.steal = ConfigDict()
    c.steal.attack = "direct"
    # The attacker's images: "held_out" (the training images the victim never saw),
    # "test" (a part of the test split; figures are then on the other part), or a set.
    # "answered": those of victim.source="npz:FILE", but for the probes' test images.
    c.steal.pool = "held_out"
    c.steal.test_kept = 0.1  # share of the test split that pool="test" leaves to test
    c.steal.queries = 9000  # images sent
    c.steal.loss = "mse"
    c.steal.loss_kw = {
        "mse": {},
        "infonce": {"temperature": 0.07},
        "softnn": {"temperature": 100.0},
        "cosine": {},
        "regression": {},
        "barlow": {"off_diagonal": 0.0051},  # weight of redundancy, the study's
        # Weights of the three terms, the paper's.
        "vicreg": {"invariance": 25.0, "variance": 25.0, "covariance": 1.0},
    }
    c.steal.encoder = "resnet34"
    c.steal.encoder_kw = _encoders()
    # The study's stealer sees the images it asked; of a pair, the first recipe counts.
    c.steal.augment = "none"
    c.steal.optim = _optim()
    c.steal.batch_size = 256
    c.steal.epochs = 100
    c.steal.steps = 0
    # Further cells: each a change of this section, "loss=infonce queries=450".
    c.steal.also = ()

    c.probe = ConfigDict()
    c.probe.datasets = ("digits",)
    c.probe.skip_missing = False  # True: a set that is not at hand is left out
    c.probe.l2_grid = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # of the mean cross-entropy
    c.probe.validation = 0.2  # share of the training split that chooses among them
    c.probe.tolerance = 1e-5  # largest entry of the gradient at the solution
    c.probe.max_iterations = 5000
    c.probe.knn_k = 20
    c.probe.knn_temperature = 0.07
    c.probe.confidence = 0.95  # of the intervals

    # How runs are carried out. None of this changes what comes out of them, but for
    # rounding where devices or steps_per_dispatch differ.
    c.engine = ConfigDict()
    c.engine.log_every = 10  # steps
    c.engine.save_every = 500  # steps
    c.engine.keep = 2  # checkpoints
    c.engine.steps_per_dispatch = 20  # on an accelerator; a CPU takes one
    c.engine.data_on_device = True  # on an accelerator
    c.engine.cpu_devices = 4  # emulated where there is no accelerator
    c.engine.compile_cache = "~/.cache/sslx/xla"  # "" for none
    # Several processes (docs/hosts.md). Slurm, Open MPI and TPUs say all of it.
    c.engine.coordinator = ""  # "HOST:PORT" of process 0; "" for none
    c.engine.processes = 0  # how many; 0: as the launcher says; 1: alone all the same
    c.engine.process = -1  # which one this is, from 0; -1: as the launcher says
    c.engine.patience = 300  # seconds that they wait for each other at the start
    return c.lock()
