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


def _objectives() -> dict:
    return {
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


def _defences() -> dict:
    # Noise is in deviations of each number of an answer (service.calibration).
    return {
        "saliency": {"blur": 0.1},  # of an image's side
        # floor and most: bits an image costs; doubling: share of what honest users
        # learn by which an account is above them for its price to double.
        "proof_of_work": {
            "sd": 1.0,
            "quantile": 0.95,
            "floor": 16.0,
            "doubling": 0.02,
            "most": 30.0,
            "call_size": 256,
        },
        "noise": {"sd": 0.5},
        "round": {"step": 1.0},  # deviations
        "top_k": {"k": 16},
        "truncate": {"width": 32},
        "project": {"width": 32},
        "near_duplicates": {"similarity": 0.9},  # cosine less the mean, in deviations
        "b4b": {
            "bits": 12,  # 2^bits buckets
            "draws": 20,  # of the planes; coverage is the mean
            "centred": True,  # planes go through the calibration's mean, not 0
            "start": 1e-6,  # lambda of the paper
            "noise": 0.8,  # its alpha: noise at the knee; 0: the transform alone
            "knee": 40.0,  # its beta: coverage in percent
            # each account's: none, diagonal, dense, orthogonal, pad_shuffle or bits
            "transform": "none",
        },
        "coverage_ratio": {
            "bits": 12,
            "draws": 20,
            "domain": 0.3,  # share of the calibration set that an honest user asks of
            "allowed": 1.1,  # coverage beside that user's up to which nothing is added
            "noise": 3.0,  # for each 1 of that ratio above
            "start": 200.0,  # queries after which half of it is added
        },
    }


def thefts(*changes: str) -> tuple[str, ...]:
    """An axis of ``study.grid``: changes of the section steal, without its name.

    "" is the config as it is. A key of the section service keeps the name of it.
    """

    def whole(pair: str) -> str:
        return pair if pair.startswith("service.") else f"steal.{pair}"

    return tuple(" ".join(map(whole, change.split())) for change in changes)


def get_config() -> ConfigDict:
    """The whole tree; its numbers are the study's where it has them."""
    c = ConfigDict()
    c.seed = 0  # of the victim, and of the stealer where steal.seed says nothing
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
    # A victim that is not trained here: PyTorch weights of victim.encoder, FILE or
    # FILE#PART (docs/pytorch.md); "shipped:NAME", one that comes with
    # sslx (sslx.victims()); or an API, "npz:FILE" or "python:MODULE:FUNCTION"
    # (docs/audit.md). The data set below then gives only image shape and attacker's
    # images, all else but encoder and encoder_kw is unused.
    c.victim.weights = ""
    c.victim.source = ""
    c.victim.dim = 0  # numbers that a function answers with; 0: it is asked
    c.victim.dataset = "digits"
    c.victim.objective = "simclr"
    c.victim.objective_kw = _objectives()
    c.victim.encoder = "resnet34"
    c.victim.encoder_kw = _encoders()
    c.victim.augment = "simclr"  # preset, one recipe a view; sslx/data/presets.py
    c.victim.optim = _optim()
    c.victim.batch_size = 256  # images; twice as many views
    c.victim.epochs = 200
    c.victim.steps = 0  # above 0: so many steps, whatever epochs says
    # Above 0: so many views go through the network (steps x batch x views of an image
    # in a step), whatever epochs says and however few images there are.
    c.victim.passes = 0
    # Epochs between two looks at the encoder (accuracy on held-out images, collapse,
    # alignment: docs/victims.md); the end gets one too. 0: none. In no recipe.
    c.victim.watch_every = 10

    c.service = ConfigDict()
    # Or "projection" (after the head), "probabilities" or "label" (of a classifier on
    # the representation: a linear probe, or what a supervised victim was trained with).
    c.service.output = "representation"
    # Limits of an account and of all together; None: of images, what the plan sends.
    c.service.image_limit = config_dict.placeholder(int)
    c.service.call_limit = config_dict.placeholder(int)
    c.service.total_image_limit = config_dict.placeholder(int)
    c.service.total_call_limit = config_dict.placeholder(int)
    c.service.call_size = 256  # images the attacker sends in one call
    c.service.price = 0.001  # USD an image; a round number, nobody's price list
    # An image sent again: "memoised" (the stored answer) or "fresh" (answered anew).
    c.service.repeats = "memoised"
    # What is done to answers: a name, MODULE:NAME, or a tuple of some ("a+b" in grids),
    # one behind the other from the victim on (docs/defences.md).
    c.service.defence = config_dict.FieldReference("none", field_type=object)
    c.service.defence_kw = _defences()
    # A file of 16 bytes or more, read by its owner alone, that defences draw by. "":
    # the victim's run, so that whoever has the config has the answers again.
    c.service.secret = ""
    # What the provider measures the victim's answers on: so many images of a set, or of
    # those "held_out"; they are nobody's to ask or to be judged by. 0: none.
    c.service.calibration = {"data": "held_out", "images": 0}
    # Honest users beside a thief: so many of each kind and size, an account each. One
    # sends so many test images of the first set of probe.datasets, trains a linear
    # classifier on half of the answers and has it classify the other half.
    c.service.honest = {
        "users": 0,
        # More sets, whose test images they send, too: then a set is a domain. Without,
        # the domains are halves of the classes of the first set.
        "beside": (),
        "kinds": ("domain", "domains", "video", "retries", "sorted"),
        "sizes": (100, 300),
        # Who of them and of the thieves is taken for a thief (docs/detect.md), at what
        # share of false alarms; () for none.
        "detectors": ("prada", "mmd", "similarity", "coverage"),
        "false_alarms": 0.05,
        "l2_grid": (1e-3, 1e-2, 1e-1),
        "validation": 0.2,
        "tolerance": 1e-5,
        "max_iterations": 5000,
    }
    # Whether a victim that is a function is sent a few images of noise at each start,
    # to name and check it (docs/audit.md). False: none; victim.dim says its width.
    c.service.self_check = True
    # The provider's classifier, for "probabilities" and "label"; as the probe has it.
    c.service.classifier = {
        "l2_grid": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        "validation": 0.2,
        "tolerance": 1e-5,
        "max_iterations": 5000,
    }

    c.steal = ConfigDict()
    # Of the stealer and of its choice of images; None: `seed`.
    c.steal.seed = config_dict.placeholder(object)
    c.steal.attack = "direct"  # or MODULE:NAME, one of your own (docs/attacks.md)
    # train_on: what the stealer sees of an image, "asked" (the view that was sent) or
    # "image" (the image itself), either through steal.augment.
    c.steal.attack_kw = {
        "direct": {"train_on": "asked"},
        # hidden: width of the stealer's own head; 0: as wide as the features
        "own_head": {"train_on": "asked", "hidden": 0},
        "access_head": {"train_on": "asked", "hidden": 0},
        "recreate_head": {
            "train_on": "asked",
            "hidden": 0,
            "projection": 128,
            "temperature": 0.07,  # of the InfoNCE that learns the head
        },
        "symmetrized": {"train_on": "asked", "hidden": 512, "predictor": 512},
        # weight: of the augmented views' term, shared by `augmented` of them a step
        "stolen_encoder": {"weight": 20.0, "augmented": 1, "distance": "l2"},
        "cont_steal": {"form": "paper", "temperature": 0.07},  # or "released", 0.5
        "rda": {
            "train_views": 5,  # of an image in a step
            "contrast": 1.0,  # weights of the two terms
            "align": 1.0,
            "temperature": 0.07,
        },
        "warm_start": {"train_on": "asked"},
        "ssl_only": {},
        "label_theft": {},
        "knockoff": {},
    }
    # What stands beside each theft: its network trained as steal.ssl says, without an
    # answer, in as many passes on the images that are asked, and on the whole pool;
    # beside thefts of the headline's budget also in five times as many.
    c.steal.alone = ("asked", "pool", "asked:5")
    # The attacker's images: "held_out" (training images that a victim made here
    # did not see; what imported weights saw nobody here knows),
    # "test" (a part of the test split; figures are then on the other part), or a set.
    # "answered": those of victim.source="npz:FILE", but for the probes' test images.
    c.steal.pool = "held_out"
    c.steal.test_kept = 0.1  # share of the test split that pool="test" leaves to test
    c.steal.queries = 9000  # images sent: views count, each of them
    c.steal.ask_views = 1  # views of an image that are asked
    c.steal.ask_augment = "none"  # preset of these views; of a pair, the first counts
    # Which images: "random", "kmeans" (near the centres of all clusters), "narrow" (all
    # of few clusters).
    c.steal.plan = "random"
    c.steal.plan_kw = {
        "random": {},
        "kmeans": {"clusters": 100},
        "narrow": {"clusters": 100},
    }
    # Whose features kmeans clusters: "untrained" (the stealer's network) or "ssl"
    # (the same trained as steal.ssl says). From the second round on the answers of
    # the rounds before, carried over to the pool by a ridge regression on them.
    c.steal.plan_features = "untrained"
    c.steal.plan_ridge = 1e-2
    c.steal.rounds = 1
    c.steal.accounts = 1  # the attacker's; its calls go to them in turn
    c.steal.anchors = 0  # images that every account asks, to compare their answers
    # What is done to answers before anything trains on them, in turn: names of
    # sslx/attacks/cleaning/ (docs/defences.md).
    c.steal.clean = ()
    c.steal.clean_kw = {
        "mean": {},
        "union": {},
        "maps": {"kind": "dense"},  # or diagonal, orthogonal, permuted, bits
        "standardise": {},
        "outliers": {"share": 0.1},  # of the images, that is left out
        # The network that a copy of the defence may teach to undo it.
        "recover": {"width": 256, "ridge": 1e-3},
        "predictions": {"weight": 0.5},  # of what the first stealer predicts
    }
    c.steal.loss = "mse"  # "own" for attacks that have one; or MODULE:NAME
    c.steal.loss_kw = {
        "mse": {},
        "infonce": {"temperature": 0.07},
        "softnn": {"temperature": 100.0},
        "cosine": {},
        "regression": {},
        "barlow": {"off_diagonal": 0.0051},  # weight of redundancy, the study's
        # Weights of the three terms, the paper's.
        "vicreg": {"invariance": 25.0, "variance": 25.0, "covariance": 1.0},
        "wasserstein": {},
        "energy": {},
        # labels: clusters of the answers that stand for classes; 0: the true labels
        "supcon": {"temperature": 0.07, "labels": 10},
        "bce": {"threshold": 0.5},  # quantile of each feature over the answers
        "soft_cross_entropy": {},
        # The published code's, defects and all.
        "bce_reference": {},
        "soft_cross_entropy_reference": {},
        "infonce_reference": {"temperature": 0.07},
        "barlow_reference": {"off_diagonal": 0.0051},
    }
    c.steal.encoder = "resnet34"
    c.steal.encoder_kw = _encoders()
    # The study's stealer sees the images it asked; of a pair, the first recipe counts.
    c.steal.augment = "none"
    c.steal.optim = _optim()
    c.steal.batch_size = 256
    c.steal.epochs = 100
    c.steal.steps = 0
    c.steal.passes = 0
    # What a stealer trains before it sees an answer: itself without labels, with its
    # own encoder (attacks warm_start and ssl_only, plan_features="ssl").
    c.steal.ssl = {
        "images": "pool",  # that it has: all of the pool, or those "asked"
        "objective": "simclr",
        "augment": "simclr",
        "batch_size": 256,
        "epochs": 100,
        "steps": 0,
        "passes": 0,
        "optim": _optim(),
    }
    c.steal.ssl.objective_kw = _objectives()
    # To choose numbers by (docs/choosing.md): the share of the images that he paid for
    # (without answers, of those he has) which trains nothing and judges the training.
    # What is trained without answers is judged by its own loss, which is comparable at
    # one temperature and on views of one preset only; they are these.
    c.steal.held_back = {"share": 0.0, "temperature": 0.2, "augment": "mild"}
    # The projection head of recreate_head, on the answers.
    c.steal.head = {
        "batch_size": 256,
        "epochs": 200,
        "steps": 0,
        "passes": 0,  # of answers
        "optim": _optim(),
    }
    c.steal.head.optim.learning_rate = 1e-3

    c.probe = ConfigDict()
    c.probe.datasets = ("digits",)
    c.probe.skip_missing = False  # True: a set that is not at hand is left out
    c.probe.l2_grid = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # of the mean cross-entropy
    c.probe.validation = 0.2  # share of the training split that chooses among them
    c.probe.tolerance = 1e-5  # largest entry of the gradient at the solution
    c.probe.max_iterations = 5000
    # Further linear probes, on these shares of the training labels; 0: one picture of
    # each class. Few labels are where a representation is worth its price.
    c.probe.few_labels = (0.0, 0.01, 0.1)
    # Of the figures, the one that headline and pictures show: "linear", "knn",
    # "linear_one_each", "linear_0.01" (of few_labels), "reference_probe".
    c.probe.primary = "linear"
    # Also the study's own probe, for comparison (docs/evaluation.md).
    c.probe.reference = False
    c.probe.knn_k = 20
    c.probe.knn_temperature = 0.07
    c.probe.confidence = 0.95  # of the intervals
    # Encoders that nobody steals, to compare with: so many further victims, trained as
    # the victim with the seeds 1,000,000, 1,000,001, ...
    c.probe.independent = 0
    # How alike encoder and victim are on test images, without labels.
    c.probe.fidelity = {
        "fit": 0.5,  # share of them that the best maps are fitted on; figures: the rest
        "rows": 2000,  # that are compared pair by pair, at most
        "neighbours": 10,
    }

    # Several thefts: every combination of one change of each axis, an axis being a
    # tuple of changes with whole keys, "steal.loss=mse steal.optim.learning_rate=1e-3".
    # (("steal.loss=mse", "steal.loss=infonce"), ("seed=0", "seed=1")) are 4 thefts;
    # the first is the headline, and "" stands for the config as it is.
    c.study = ConfigDict()
    c.study.grid = ()
    c.study.name = ""  # of the report; "": named after the headline
    # Whether all thefts of a victim must be trained on equally many views, to half a
    # step: "equal", or "as given", where recipes are compared with all they bring.
    c.study.passes = "equal"
    # Figures of others that the report puts beside ours: rows of sslx.types.Published.
    c.study.published = ()

    # How runs are carried out. None of this changes what comes out of them, but for
    # rounding where devices or steps_per_dispatch differ.
    c.engine = ConfigDict()
    c.engine.log_every = 10  # steps
    c.engine.save_every = 500  # steps
    c.engine.keep = 2  # checkpoints
    c.engine.steps_per_dispatch = 20  # on an accelerator; a CPU takes one
    c.engine.data_on_device = True  # on an accelerator
    # Emulated where there is no accelerator; 8 suit 32 pixels (docs/performance.md).
    c.engine.cpu_devices = 8
    # False: features are not kept on disk, but computed anew for each use; so are those
    # whose files were deleted.
    c.engine.keep_features = True
    c.engine.compile_cache = "~/.cache/sslx/xla"  # "" for none
    # Several processes (docs/hosts.md). Slurm, Open MPI and TPUs say all of it.
    c.engine.coordinator = ""  # "HOST:PORT" of process 0; "" for none
    c.engine.processes = 0  # how many; 0: as the launcher says; 1: alone all the same
    c.engine.process = -1  # which one this is, from 0; -1: as the launcher says
    c.engine.patience = 300  # seconds that they wait for each other at the start
    return c.lock()
