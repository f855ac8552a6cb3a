"""Each image alone: the linear search of the XCAT paper (section 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

from qsr.calibration.strategies.base import Subset
from qsr.calibration.study import Trial


@dataclass(frozen=True)
class Linear:
    """Tries every candidate alone as the representative data set, in order."""

    name: str = "linear"

    def ask(self, images: Sequence[str], trials: Sequence[Trial]) -> Sequence[Subset]:
        """Return every single image that has not been tried."""
        tried = {trial.images for trial in trials}
        return [(image,) for image in images if (image,) not in tried]
