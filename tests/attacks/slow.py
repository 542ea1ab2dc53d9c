"""A slow reference of every attack: NumPy loops, from the papers' equations."""

import numpy as np

from tests.objectives.test_methods import mlp, normed, trunk, unit


def mean_of(each):
    return sum(each) / len(each)


def student(params, view, part="adapter"):
    y = trunk(params, view)
    return mlp(params[part], y) if part in params else y


def plain(images):
    return images / 255.0


def darker(images):
    return plain(images) ** 2


def squares(s, y):
    return np.mean((s - y) ** 2)


def asked(batch):
    return [batch["asked"][:, i] for i in range(batch["asked"].shape[1])]


def answers(batch):
    return [batch["answers"][:, i] for i in range(batch["answers"].shape[1])]


def copied(params, batch, views, part="adapter", target=lambda y: y):
    pairs = zip(views, answers(batch), strict=True)
    return mean_of([squares(student(params, x, part), target(y)) for x, y in pairs])


def direct(params, batch, _):
    return copied(params, batch, [darker(x) for x in asked(batch)])


def direct_image(params, batch, _):
    return copied(params, batch, [darker(batch["images"])] * 2)


warm_start = direct


def own_head(params, batch, _):
    return copied(params, batch, [darker(x) for x in asked(batch)], "head")


def access_head(params, batch, _):
    return copied(params, batch, [darker(batch["images"])] * 2, "head")


def recreate_head(params, batch, given):
    def target(y):
        return mlp(given["head"], y)

    return copied(params, batch, [darker(x) for x in asked(batch)], "head", target)


def symmetrized(params, batch, given):
    def project(y):
        return normed(mlp(params["projection"], y))

    z = given.get("constants") or [project(y) for y in answers(batch)]
    p = [
        mlp(params["predictor"], project(student(params, darker(x))))
        for x in asked(batch)
    ]
    cosines = [np.sum(unit(p[i]) * unit(z[1 - i]), axis=1).mean() for i in (0, 1)]
    return -sum(cosines) / 2


def distance(name, a, b):
    if name == "cosine":
        return -(a @ b)
    return np.abs(a - b).sum() if name == "l1" else np.sqrt(((a - b) ** 2).sum())


def stolen_encoder_loss(rows, y, weight, name):
    """rows: a list of (b, d), that of the image first."""
    total, y = 0.0, unit(y)
    for i in range(len(y)):
        near = [distance(name, unit(row)[i], y[i]) for row in rows]
        total += near[0] + weight / (len(rows) - 1) * sum(near[1:])
    return total / len(y)


def stolen_encoder(params, batch, _):
    each = []
    for x, y in zip(asked(batch), answers(batch), strict=True):
        views = [plain(x), darker(x), darker(x)]
        rows = [student(params, view) for view in views]
        each.append(stolen_encoder_loss(rows, y, 3.0, "l2"))
    return mean_of(each)


def discriminate(a, p, s, t):
    total, b = 0.0, len(a)
    for i in range(b):
        others = [j for j in range(b) if j != i]
        far = sum(np.exp(a[i] @ p[j] / t) + np.exp(s[i] @ s[j] / t) for j in others)
        total -= np.log(np.exp(a[i] @ p[i] / t) / far)
    return total / b


def cont_steal_loss(s, y, t):
    return discriminate(unit(y), unit(s), unit(s), t)


def cont_steal(params, batch, _):
    s = student(params, darker(batch["images"]))
    return mean_of([cont_steal_loss(s, y, 0.5) for y in answers(batch)])


def infonce(s, y, t):
    z, total = unit(np.concatenate([s, y])), 0.0
    for i in range(len(z)):
        others = [np.exp(z[i] @ z[j] / t) for j in range(len(z)) if j != i]
        partner = z[(i + len(s)) % len(z)]
        total -= np.log(np.exp(z[i] @ partner / t) / sum(others))
    return total / len(z)


def cont_steal_released(params, batch, _):
    pairs = zip(asked(batch), answers(batch), strict=True)
    return mean_of([infonce(student(params, plain(x)), y, 0.5) for x, y in pairs])


def rda_loss(s, y, alpha, beta, t):
    """y: a list of answers (b, d)."""
    x, p = unit(s), mean_of([unit(one) for one in y])
    align = [
        np.log(((x[i] - p[i]) ** 2).sum() / (x[i] @ p[i] / np.linalg.norm(p[i]) + 1))
        for i in range(len(x))
    ]
    return alpha * discriminate(x, p, x, t) + beta * np.mean(align)


def rda(params, batch, _):
    s = student(params, darker(batch["images"]))
    return rda_loss(s, answers(batch), 0.7, 0.3, 0.5)


def probabilities(params, view):
    logits = np.exp(student(params, view, "head"))
    return logits / logits.sum(1, keepdims=True)


def label_theft(params, batch, _):
    total = []
    for x, y in zip(asked(batch), answers(batch), strict=True):
        p = probabilities(params, darker(x))
        total += [-np.log(row[int(label)]) for row, (label,) in zip(p, y, strict=True)]
    return mean_of(total)


def knockoff(params, batch, _):
    pairs = zip(asked(batch), answers(batch), strict=True)
    return mean_of(
        [
            -np.mean(np.sum(y * np.log(probabilities(params, darker(x))), axis=1))
            for x, y in pairs
        ]
    )


def head(params, batch, _):
    one, two = (mlp(params["projector"], y) for y in answers(batch))
    return infonce(one, two, 0.5)
