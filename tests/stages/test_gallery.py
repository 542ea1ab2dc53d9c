"""What a gallery finds in feature spaces made by hand; a whole one: test_pipeline."""

import numpy as np

from sslx.stages import gallery


def test_neighbours_by_hand():
    # Catches encoders that are swapped, and shares over the wrong rows.
    labels = np.repeat([3, 5], 6)
    # Rows at equal angles: the neighbours are the next ones on a half circle; the
    # stolen encoder has the last two places exchanged.
    angles = np.linspace(0, np.pi, 12)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    other = circle[[*range(10), 11, 10]]
    arrays, facts = gallery._compare(
        {"victim": circle, "stolen": other}, labels, np.arange(12), seed=0
    )
    assert sorted(arrays["near_victim"][0].tolist()) == [1, 2, 3, 4, 5]
    assert arrays["near_victim"][11].tolist() == [10, 9, 8, 7, 6]
    assert arrays["near_stolen"][11].tolist() == [9, 10, 8, 7, 6]
    by_row = (labels[arrays["near_victim"]] == labels[:, None]).sum(1)
    assert facts["agree"]["victim"] == by_row.sum() / 60
    pairs = zip(arrays["near_victim"], arrays["near_stolen"], strict=True)
    same = sum(len(set(a.tolist()) & set(b.tolist())) for a, b in pairs)
    assert facts["shared"] == same / 60 and 0.8 < facts["shared"] < 1
    assert arrays["map_victim"].shape == arrays["map_stolen"].shape == (12, 2)


def test_one_class_image_each_and_no_more_than_asked():
    # Catches a sample that is not the seed's, or more images than a report can afford.
    labels = np.arange(3000) % 25
    rows = np.arange(0, 3000, 2)
    chosen = gallery._sample(labels, rows, 0)
    assert len(chosen) == 500 and len(set(chosen)) == 500
    assert set(chosen) <= set(rows) and len(set(labels[chosen])) == 10
    assert chosen.tolist() == gallery._sample(labels, rows, 0).tolist()
    assert chosen.tolist() != gallery._sample(labels, rows, 1).tolist()
