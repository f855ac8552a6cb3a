"""What a measurement was made from: hashes of content and versions of packages."""

from hashlib import sha256
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

import qsr

_PACKAGES = ("tensorflow", "ai-edge-litert", "numpy")


def model_hash(model: bytes) -> str:
    """Return the SHA-256 of a model's bytes, 64 hexadecimal digits."""
    return sha256(model).hexdigest()


def image_hash(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of an image's shape and pixels, 64 hexadecimal digits."""
    return sha256(repr(image.shape).encode() + np.ascontiguousarray(image).data).hexdigest()


def versions() -> dict[str, str]:
    """Return the version of every package that can change a result."""
    return {"qsr": qsr.__version__} | {package: version(package) for package in _PACKAGES}
