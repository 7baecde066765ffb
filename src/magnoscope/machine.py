"""Memory and threads: what the machine must be told for long loops over arrays to run fast."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

import torch

Thing = TypeVar("Thing")


def keep_memory() -> None:
    """Tell glibc's allocator not to return large blocks; elsewhere do nothing.

    Long loops over arrays of tens of megabytes otherwise spend most of their time in page faults: training is two to
    three times faster with it.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**31 - 1)
    mallopt(m_top_pad, 2**28)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16; without them convolutions in it take ten times as long."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def on_device(thing: Thing, device: torch.device) -> Thing:
    """A tensor, or a list, tuple or dataclass of such, with all tensors on a device; whatever else it holds stays."""
    if isinstance(thing, torch.Tensor):
        return thing.to(device)  # type: ignore[return-value]
    if isinstance(thing, (list, tuple)) and any(isinstance(part, torch.Tensor) or is_dataclass(part) for part in thing):
        return type(thing)(on_device(part, device) for part in thing)
    if is_dataclass(thing) and not isinstance(thing, type):
        return replace(thing, **{f.name: on_device(getattr(thing, f.name), device) for f in fields(thing)})
    return thing


@contextmanager
def one_thread() -> Iterator[None]:
    """Run small batched work on one thread: threads that wait for each other cost it up to ten times its own time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
