"""An accelerator made of paper: its tensors are those of the CPU, but they say that they live elsewhere.

`python accelerator.py TEMPLATE OUT_DIR` runs a template's experiment.py on it. What uses tensors of two devices at
once is refused, and so is double precision, which Apple's MPS does not have. Where no accelerator is at hand, this is
what can be known of a program that is to run on one.
"""

import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only


class Module(backend_registration._DummyBackendModule):
    """What PyTorch asks a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


backend_registration._setup_privateuseone_for_python_backend("paper", Module())
DEVICE = torch.device("paper:0")
MOVES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
INDEXES = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default}  # take indices from the CPU anywhere
CPU_GENERATOR = torch.Generator


class OnPaper(torch.Tensor):
    """A tensor of the device; `inner` holds its numbers."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "OnPaper":
        if inner.dtype in (torch.float64, torch.complex128):
            raise TypeError("MPS has no double precision")
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )

    def __init__(self, inner: torch.Tensor):
        self.inner = inner

    def __format__(self, form: str) -> str:
        return format(self.item(), form)

    def tolist(self) -> Any:
        return self.inner.tolist()

    def __deepcopy__(self, memo: dict) -> "OnPaper":
        return OnPaper(self.inner.clone()).requires_grad_(self.requires_grad)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return carry_out(function, args, kwargs or {})


class Generator(torch.Generator):
    """Random numbers of a device; those of paper come from the CPU."""

    device = DEVICE

    def __new__(cls, device: Any = "cpu") -> Any:
        return super().__new__(cls if torch.device(device) == DEVICE else CPU_GENERATOR)


class Paper(TorchDispatchMode):
    """While it lasts, tensors can be made on the device."""

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return carry_out(function, args, kwargs or {})


def carry_out(function: Any, args: tuple, kwargs: dict) -> Any:
    """Do on the CPU what was asked of the device, and say that it was done there."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    here = [tensor for tensor in tensors if isinstance(tensor, OnPaper)]
    strange = [tensor for tensor in tensors if not isinstance(tensor, OnPaper) and tensor.dim()]
    if here and strange and function not in MOVES | INDEXES:
        raise RuntimeError(f"{function}: a tensor of shape {tuple(strange[0].shape)} is on the CPU, another is not")
    wanted = kwargs.get("device")
    there = bool(here) if wanted is None else torch.device(wanted).type == "paper"
    if function is torch.ops.aten.copy_.default:
        there = isinstance(args[0], OnPaper)
    inner = tree_map_only(OnPaper, lambda tensor: tensor.inner, (args, kwargs))
    if wanted is not None:
        inner[1]["device"] = torch.device("cpu")
    made = function(*inner[0], **inner[1])
    if not there:
        return made
    made = tree_map_only(torch.Tensor, OnPaper, made)
    return return_and_correct_aliasing(function, args, kwargs, made) if here else made


def main(template: Path, out_dir: Path) -> None:
    """Run experiment.py as on a machine that has this accelerator."""
    torch.accelerator.is_available = lambda: True
    torch.accelerator.current_accelerator = lambda check_available=False: DEVICE
    torch.accelerator.synchronize = lambda *_: None
    torch.Generator = Generator
    sys.argv = ["experiment.py", f"--out_dir={out_dir}"]
    sys.path.insert(0, str(template))
    with Paper():
        runpy.run_path(str(template / "experiment.py"), run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
