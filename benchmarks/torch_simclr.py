"""The SimCLR step in PyTorch, equal to the program's: what a user would else run.

Built from the recipe of a resolved config, so that networks, head, temperature,
optimiser and augmentation have the same numbers. Names of modules are torchvision's, so
that weights carry over (``benchmarks.equality`` shows that loss and gradient agree).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.record import cores
from benchmarks.torch_augment import augment
from sslx.data.presets import Recipe
from sslx.data.views import read_recipe

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight)
    return conv


def _pool(x: Tensor) -> Tensor:
    return x.float().mean((2, 3)) if x.dtype != torch.float64 else x.mean((2, 3))


class Conv3(nn.Module):
    """Three convolutions with BatchNorm and ReLU, as ``sslx.models.conv3``."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        for i in range(3):
            outputs = width * 2**i
            conv = _conv(channels, outputs, 3, 1 if i == 0 else 2)
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(outputs))
            channels = outputs
        self.dim = channels

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) to (b, 4 width)."""
        for i in (1, 2, 3):
            conv, norm = self.get_submodule(f"conv{i}"), self.get_submodule(f"bn{i}")
            x = F.relu(norm(conv(x)))
        return _pool(x)


class Block(nn.Module):
    """Basic or bottleneck block, the stride on the (first) 3x3 convolution."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        out = 4 * width if bottleneck else width
        plan = [(width, 3, stride), (width, 3, 1)]
        if bottleneck:
            plan = [(width, 1, 1), (width, 3, stride), (out, 1, 1)]
        self.layers = len(plan)
        last = inputs
        for i, (outputs, size, step) in enumerate(plan, start=1):
            self.add_module(f"conv{i}", _conv(last, outputs, size, step))
            self.add_module(f"bn{i}", nn.BatchNorm2d(outputs))
            last = outputs
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != out:
            shortcut = _conv(inputs, out, 1, stride)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) to (b, out, h / stride, w / stride)."""
        y = x
        for i in range(1, self.layers + 1):
            y = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(y))
            y = F.relu(y) if i < self.layers else y
        return F.relu(self.downsample(x) + y)


class ResNet(nn.Module):
    """With the stem for small images: 3x3, no max-pool."""

    def __init__(self, name: str, width: int, channels: int):
        super().__init__()
        bottleneck = name == "resnet50"
        self.conv1, self.bn1 = _conv(channels, width, 3), nn.BatchNorm2d(width)
        inputs = width
        for stage, count in enumerate(BLOCKS[name]):
            blocks = []
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(Block(inputs, width * 2**stage, stride, bottleneck))
                inputs = width * 2**stage * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.dim = inputs

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) to (b, features)."""
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return _pool(x)


class Projector(nn.Module):
    """Two linear layers."""

    def __init__(self, dim: int, hidden: int, out: int):
        super().__init__()
        self.dense1 = nn.Linear(dim, hidden or dim)
        self.dense2 = nn.Linear(hidden or dim, out)

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) to (b, out)."""
        return self.dense2(F.relu(self.dense1(x)))


class Net(nn.Module):
    """Encoder and projector of a victim's recipe."""

    def __init__(self, recipe: dict[str, Any]):
        super().__init__()
        name, kw = recipe["encoder"]["name"], recipe["encoder"]["kw"]
        channels = recipe["image_shape"][2]
        if name == "conv3":
            self.encoder: Conv3 | ResNet = Conv3(kw["width"], channels)
        else:
            assert kw["stem"] == "cifar"
            self.encoder = ResNet(name, kw["width"], channels)
        numbers = recipe["numbers"]
        sizes = numbers["hidden"], numbers["projection"]
        self.projector = Projector(self.encoder.dim, *sizes)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) to (b, projection)."""
        return self.projector(self.encoder(x))


def infonce(z: Tensor, temperature: float) -> Tensor:
    """NT-Xent over the rows of z (2b, d); rows 2i and 2i + 1 are one image's."""
    z = F.normalize(z, dim=1, eps=1e-12)
    logits = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    partner = torch.arange(len(z), device=z.device) ^ 1
    return F.cross_entropy(logits.masked_fill(itself, -math.inf), partner)


def make_loss(
    net: Net,
    recipe: dict[str, Any],
    precision: str = "float32",
    layout: torch.memory_format = torch.contiguous_format,
):
    """``loss(images)`` of uint8 images (b, c, h, w): views, network, InfoNCE."""
    device = next(net.parameters()).device
    recipes: list[Recipe] = [read_recipe(numbers) for numbers in recipe["augment"]]
    mean, std = (
        torch.tensor(recipe[k], device=device).reshape(1, -1, 1, 1)
        for k in ("mean", "std")
    )
    low = precision == "bfloat16"

    def loss(images: Tensor) -> Tensor:
        with torch.no_grad():
            x = images.float() / 255
            views = torch.stack([(augment(x, r) - mean) / std for r in recipes], 1)
            views = views.flatten(0, 1)
        if precision == "float64":
            views = views.double()
        views = views.contiguous(memory_format=layout)
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            z = net(views)
        z = z.float() if low else z
        return infonce(z, recipe["numbers"]["temperature"])

    return loss


def make_optimiser(net: nn.Module, optim: dict[str, Any]) -> torch.optim.Optimizer:
    """Adam with coupled decay or AdamW, PyTorch's fused kernels."""
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[optim["name"]](
        net.parameters(),
        lr=optim["learning_rate"],
        weight_decay=optim["weight_decay"],
        fused=True,
    )


def set_rate(optimiser, recipe: dict[str, Any], step: int) -> None:
    """The cosine from the peak to zero at the last step."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / recipe["steps"]))
    for group in optimiser.param_groups:
        group["lr"] = recipe["optim"]["learning_rate"] * cosine


def make_stepper(
    recipe: dict[str, Any], *, precision: str, channels_last: bool, mode: str
):
    """``(call, steps)``: ``call`` takes so many steps and waits for their end.

    Args:
        recipe: Of the victim; its data are noise.
        precision: "float32", or "bfloat16" by autocast.
        channels_last: Memory layout of images and weights.
        mode: Of ``torch.compile`` ("default", "reduce-overhead"); "" for none.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(cores())
    torch.manual_seed(0)
    # The program's: on a GPU, products in float32 are rounded as XLA does by default;
    # where the network is in bfloat16, what is left in float32 (views, InfoNCE) is not.
    torch.set_float32_matmul_precision("highest" if precision == "bfloat16" else "high")
    torch.backends.cudnn.benchmark = True
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = Net(recipe).to(device=device, memory_format=layout).train()
    loss = make_loss(net, recipe, precision, layout)
    if mode:
        # A way that is called after CUDA graphs must not run without them.
        torch._inductor.config.triton.cudagraph_or_error = mode == "reduce-overhead"
        loss = torch.compile(loss, mode=mode)
    optimiser = make_optimiser(net, recipe["optim"])
    h, w, c = recipe["image_shape"]
    shape = (recipe["batch_size"], c, h, w)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    done, steps = 0, 1 if device == "cpu" else 20

    def call() -> None:
        nonlocal done
        for _ in range(steps):
            set_rate(optimiser, recipe, done)
            optimiser.zero_grad(set_to_none=True)
            loss(images).backward()
            optimiser.step()
            done += 1
        if device == "cuda":
            torch.cuda.synchronize()

    return call, steps
