"""Tell what a person can mend from faults of the machine."""

from __future__ import annotations

import errno

_FAULTS_OF_THE_MACHINE = {
    getattr(errno, name)
    for name in ("EAGAIN", "EDQUOT", "EIO", "EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "ESTALE", "ETIMEDOUT")
    if hasattr(errno, name)
}


MODEL_LIBRARIES = ("accelerate", "diffusers", "open_clip", "safetensors", "torch", "torchvision", "transformers")


class InputError(ValueError):
    """Something that was given cannot be used; the message says what, and how to mend it.

    Pages and commands show it, and work that raises it is not tried again. Every other exception is a fault of the
    program or of the machine: it is logged with its traceback, and the work is tried again.
    """


def lacks_models(error: BaseException) -> bool:
    """Whether the models' libraries are not installed here: an installation of the web side has none of them."""
    return isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in MODEL_LIBRARIES


def is_machine_fault(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is of memory, disk or time: another attempt may succeed.

    Loaders raise such errors among those of a wrong file, often with another one around them.
    """
    while error is not None:
        # torch names its error of GPU memory so; it is a RuntimeError, and torch is not everywhere installed.
        if isinstance(error, MemoryError | TimeoutError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, OSError) and error.errno in _FAULTS_OF_THE_MACHINE:
            return True
        error = error.__cause__ or error.__context__
    return False
