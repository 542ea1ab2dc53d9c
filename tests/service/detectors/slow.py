"""Detectors as one would write them down: loops over queries, pairs and buckets."""

import math

import numpy as np
from scipy.stats import shapiro


def centre_of(streams):
    return np.array([row for s in streams for row in s.features], float).mean(axis=0)


def unit(row, centre):
    row = np.array(row, float) - centre
    return row / math.sqrt(sum(x * x for x in row))


def apart(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def prada(learned, streams, every, least, deviations):
    centre = centre_of(learned)
    out = []
    for stream in streams:
        members, joined, bar = [], [0.0], 0.0
        found, scores = [], {}
        for n, row in enumerate(stream.features, 1):
            here = unit(row, centre)
            near = min((apart(here, m) for m in members), default=0.0)
            near = 0.0 if near <= 1e-6 else near
            found.append(near)
            if not members:
                members.append(here)
            elif near > bar:
                members.append(here)
                joined.append(near)
                bar = max(bar, np.mean(joined) - np.std(joined))
            if n % every == 0:
                mean, sd = np.mean(found), np.std(found)
                kept = [d for d in found if abs(d - mean) < deviations * sd]
                if len(kept) >= least:
                    scores[n] = 1 - shapiro(kept).statistic
        out.append(scores)
    return out


def mmd(learned, streams, window, step, references):
    centre = centre_of(learned)
    windows = []
    for stream in learned:
        for i in range(0, len(stream.features) - window + 1, window):
            windows.append([unit(r, centre) for r in stream.features[i : i + window]])
    places = np.linspace(0, len(windows) - 1, min(references, len(windows)))
    chosen = [windows[int(place)] for place in places]
    every = [row for w in chosen for row in w]
    pairs = [apart(a, b) for i, a in enumerate(every) for b in every[:i]]
    median = float(np.median(pairs))

    def kernel(a, b):
        d = apart(a, b)
        return sum(math.exp(-d * d / (2 * (w * median) ** 2)) for w in (0.5, 1, 2, 4))

    def inside(rows):
        n = len(rows)
        both = [(a, b) for i, a in enumerate(rows) for b in rows[:i]]
        return 2 * sum(kernel(a, b) for a, b in both) / (n * (n - 1))

    insides = [inside(reference) for reference in chosen]
    out = []
    for stream in streams:
        scores = {}
        for end in range(window, len(stream.features) + 1, step):
            own = [unit(row, centre) for row in stream.features[end - window : end]]
            within, values = inside(own), []
            for reference, theirs in zip(chosen, insides, strict=True):
                between = np.mean([[kernel(a, b) for b in reference] for a in own])
                values.append(within + theirs - 2 * between)
            scores[end] = np.mean(values)
        out.append(scores)
    return out


def similarity(learned, streams, pairs, tail):
    centre = centre_of(learned)
    longest = max(len(s.features) for s in learned)
    share = tail * (pairs + 1) / (longest * (longest - 1) / 2)
    cosines, total = [], 0
    for stream in learned:
        rows = [unit(row, centre) for row in stream.features]
        total += len(rows) * (len(rows) - 1) // 2
        new = []
        for row in rows:
            near = [cosine(row, other) for other in new]
            if max(near, default=0) < 1 - 1e-10:
                new.append(row)
                cosines += near
    high = sorted(cosines)[-round(share * total)] - 1e-9
    out = []
    for stream in streams:
        scores, before, count = {}, [], 0
        for n, row in enumerate(stream.features, 1):
            here = unit(row, centre)
            near = [cosine(here, b) for b in before]
            if max(near, default=0) < 1 - 1e-10:
                count += sum(c >= high for c in near)
                before.append(here)
            scores[n] = count
        out.append(scores)
    return out


def across(learned, streams, pairs, tail, most):
    centre = centre_of(learned)

    def queries(streams):
        """(time, stream, row) of all, in the order of time."""
        out = []
        for i, s in enumerate(streams):
            rows = [unit(row, centre) for row in s.features]
            out += [(t, i, row) for t, row in zip(s.times, rows, strict=True)]
        return sorted(out, key=lambda q: q[0])  # stable

    def compared(streams):
        """(stream, other's account, row, cosines with it) of each query."""
        asked = queries(streams)
        for place, (_, i, row) in enumerate(asked):
            others = {}
            for _, j, theirs in asked[max(0, place - most) : place]:
                account = streams[j].account
                if account != streams[i].account:
                    others.setdefault(account, []).append(cosine(row, theirs))
            yield i, others

    known = list(compared(learned))
    cosines = [c for _, others in known for own in others.values() for c in own]
    accounts = len({s.account for s in learned})
    high = sorted(cosines)[-round(tail * (pairs + 1) * accounts)] - 1e-9
    high = min(high, 1 - 1e-6)
    links = sum(max(own) >= high for _, others in known for own in others.values())
    shared = links / len(cosines)
    out = [{} for _ in streams]
    counts = [{} for _ in streams]
    for i, others in compared(streams):
        for account, own in others.items():
            seen, near = counts[i].get(account, (0, 0))
            counts[i][account] = seen + len(own), near + (max(own) >= high)
        value = 0.0
        for seen, near in counts[i].values():
            expected = seen * shared
            value = max(value, (near - expected) / math.sqrt(expected + 1))
        out[i][len(out[i]) + 1] = value
    return out


def coverage(learned, streams, bits, draws, least, seed):
    centre = centre_of(learned)
    planes = np.random.default_rng(seed).normal(size=(draws, bits, len(centre)))

    def filled(stream):
        sets = [set() for _ in range(draws)]
        out = []
        for row in stream.features:
            for own, normals in zip(sets, planes, strict=True):
                sides = [cosine(row - centre, normal) > 0 for normal in normals]
                own.add(sum(2**j for j, side in enumerate(sides) if side))
            out.append(sum(map(len, sets)) / draws)
        return out

    curves = [filled(stream) for stream in learned]
    out = []
    for stream in streams:
        scores = {}
        for n, own in enumerate(filled(stream), 1):
            there = [curve[n - 1] for curve in curves if len(curve) >= n]
            if n >= least and there:
                scores[n] = abs(math.log(own / (sum(there) / len(there))))
        out.append(scores)
    return out
