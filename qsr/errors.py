"""The errors that reach a person: one line each, saying what is wrong, where, and what to do."""


class QsrError(Exception):
    """Base of every error that qsr raises on purpose; the command line prints its text alone.

    ``exit_code`` is what the command exits with: 1 when the work could not be done.
    """

    exit_code = 1


class UsageError(QsrError):
    """The request itself is wrong: an unknown name, or options that do not fit together."""

    exit_code = 2


class ImageError(QsrError):
    """An image, or a folder of images, that cannot be used."""


class ModelError(QsrError):
    """A model that cannot be read, converted, run or quantized."""


class StudyError(QsrError):
    """A run folder or journal that belongs to other work, or is damaged."""


class DeviceError(QsrError):
    """A phone that cannot be reached, or a program on it that fails."""
