"""Tables 1 to 4 of the XCAT paper (Ayazoglu and Bilecen, 2022, arXiv:2208.14655), as data."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from qsr.errors import UsageError

NUMBERS = (1, 2, 3, 4)
"""Of the tables that there are."""

_ROOM = files("qsr.tables")


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """What the paper says of one model; what it leaves out is None.

    PSNR is over RGB on the DIV2K validation images unless said otherwise. The networks of Table 4,
    and the columns of Table 2, are rows here.

    Attributes:
        name: what the paper calls the model; in Table 3, where it has no name, what it differs in.
        config: what it differs in from the others, in short.
        network: name in the zoo, or ``bicubic``.
        recipe: name of the recipe that trains it; None for what is not trained.
        fp32_psnr_db: of the float model.
        uint8_psnr_db: of the UINT8 model.
        uint8_test_psnr_db: of the UINT8 model on the DIV2K test images, which are not public.
        drop_db: from FP32 to UINT8, as printed.
        parameters_thousands: number of parameters, in thousands.
        mali_ms: time on the GPU Mali-G71 MP2.
        synaptics_ms: time on the NPU Synaptics Dolphin, in NCHW order.
        score: of the challenge.
        set_psnr_db: Table 2: benchmark set to PSNR of the float model, in luminance but for DIV2K.
    """

    name: str
    network: str
    recipe: str | None = None
    config: str = ""
    fp32_psnr_db: float | None = None
    uint8_psnr_db: float | None = None
    uint8_test_psnr_db: float | None = None
    drop_db: float | None = None
    parameters_thousands: int | None = None
    mali_ms: float | None = None
    synaptics_ms: float | None = None
    score: float | None = None
    set_psnr_db: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """One table of the paper.

    Attributes:
        number: in the paper.
        title: what it shows.
        rows: its models, in the paper's order.
    """

    number: int
    title: str
    rows: tuple[PaperRow, ...]


@cache
def paper_table(number: int) -> PaperTable:
    """Return a table of the paper.

    Args:
        number: 1 to 4.

    Raises:
        UsageError: no such table.
    """
    if number not in NUMBERS:
        raise UsageError(f"there is no table {number}; give one of {', '.join(map(str, NUMBERS))}")
    data = _read(f"table{number}.toml")
    return PaperTable(number=number, title=data["title"], rows=_rows(data))


@cache
def claims() -> tuple[PaperRow, ...]:
    """Return XCATs that lack one thing the paper recommends; it gives no numbers for them."""
    return _rows(_read("claims.toml"))


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((_ROOM / name).read_text(encoding="utf-8"))


def _rows(data: dict[str, Any]) -> tuple[PaperRow, ...]:
    return tuple(PaperRow(**row) for row in data["rows"])
