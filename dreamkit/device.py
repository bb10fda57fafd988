"""Which device computes."""

import torch


def choose_device(name: str) -> str:
    """The device for a name: `auto` is CUDA where there is one, else the CPU; any other name is tried.

    Raises ValueError for a device that this machine cannot use.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"cannot use the device {name!r}: {str(error).splitlines()[0]}. Try --device cpu") from error
    return name
