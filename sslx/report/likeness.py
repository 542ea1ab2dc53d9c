"""How alike encoders and victim are, as a table of the report."""

from sslx.report.report_text import labels, short, who

FIDELITY = (
    "On test images, without labels. 1 is the victim itself, but for L2, where that is "
    "0 and 1 is no better than its mean answer; a map is fitted on one part of the "
    "images and judged on the rest. What a theft has won is what stands above the "
    "encoders that nobody stole."
)
# Key of results.json -> heading; maps are fitted on other test images.
MEASURES = {
    "agreement": "agreement of probes",
    "cka": "linear CKA",
    "neighbours": "shared neighbours",
    "information": "MI score",
    "cosine": "cosine",
    "cosine_of_mean": "cosine, victim's mean",
    "l2": "L2",
    "linear_cosine": "cosine, linear map",
    "linear_l2": "L2, linear map",
    "orthogonal_cosine": "cosine, orthogonal map",
    "orthogonal_l2": "L2, orthogonal map",
}


def fidelity_table(found: dict) -> list[list[str]]:
    """How alike each encoder and the victim are, without labels: header and lines."""
    lines = [["data set", "encoder", "theft", "queries", *MEASURES.values()]]
    cells = [
        ("stolen", name, str(c["budget"]), row)
        for c, name in zip(found["sweep"], labels(found["sweep"]), strict=True)
        for row in c["fidelity"]
    ]
    cells += [(who(row), "", "", row) for row in found["fidelity"]]
    for dataset in dict.fromkeys(row["dataset"] for *_, row in cells):
        for *names, row in cells:
            if row["dataset"] == dataset:
                lines.append(
                    [short(dataset), *names, *(_measure(row[m]) for m in MEASURES)]
                )
    return lines


def _measure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
