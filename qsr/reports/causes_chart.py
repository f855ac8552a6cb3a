"""What each cause takes of the PSNR, as a figure."""

import numpy as np

from qsr.analysis.records import CauseCosts
from qsr.reports.drawing import FIRST, INK, MUTED, SECOND, SURFACE, drawing
from qsr.reports.page import Figure


def causes_figure(causes: CauseCosts) -> Figure:
    """Draw what each cause takes, one after another, up to the whole."""
    parts = [
        ("weights", causes.weights_db),
        ("activations", causes.activations_db),
        ("I/O grid", causes.io_grid_db),
        ("interaction", causes.interaction_db),
        ("integer kernels", causes.kernels_db),
    ]
    if causes.reference_rounding_db:
        parts.append(("reference's own", -causes.reference_rounding_db))
    count = len(parts)
    starts = np.concatenate([[0.0], np.cumsum([value for _, value in parts])])
    described = ", ".join(f"{name} {value:+.4f} dB" for name, value in parts)
    with drawing(
        "causes",
        f"Drop of PSNR by cause: {described}; together {causes.total_db:.4f} dB; the last "
        f"rounding, not part of it, {causes.last_rounding_db:.4f} dB.",
        2.9,
    ) as one:
        axes = one.axes()
        rows = [*parts, ("whole drop", causes.total_db), ("last rounding", causes.last_rounding_db)]
        lefts = [*starts[:-1], 0.0, 0.0]
        places = [*range(count), count + 0.2, count + 1.6]
        colours = [*[FIRST if value >= 0 else SECOND for _, value in parts], INK, MUTED]
        for place, left, (_, value), colour in zip(places, lefts, rows, colours, strict=True):
            axes.barh(place, value, left=left, height=0.66, color=colour)
            axes.annotate(
                f"{value:+.4f}" if place < count else f"{value:.4f}",  # parts have signs
                (max(left, left + value), place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
        axes.barh(
            places[1],
            causes.saturation_db,
            left=lefts[1],
            height=0.66,
            color=FIRST,
            edgecolor=SURFACE,
            linewidth=0,
            hatch="////",
        )
        for place, joint in zip(places[:count], starts[1:], strict=True):
            axes.plot([joint, joint], [place - 0.33, place + 1.33], color=MUTED, linewidth=0.7)
        axes.set_yticks(places, [name for name, _ in rows])
        axes.invert_yaxis()
        axes.margins(x=0.17)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_xlabel("dB of mean PSNR")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0, labelcolor=INK)
    return Figure(
        one.svg,
        "Each bar begins where the one above ends, so that the parts add up to the whole drop; a "
        "part in the other colour, to the left, gives something back. Hatched: saturation, a part "
        f"of the activations ({causes.saturation_db:.4f} dB). Interaction is what all together "
        "lose more than each by itself; the reference's own, if it is an integer model, what its "
        "rounding costs that model already. The last rounding, to 8 bits, is taken from the "
        "reference as well and is no part of the drop.",
    )
