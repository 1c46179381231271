"""The processes of a run: joining them from torchrun's environment, few collectives, and stopping together.

Works with NCCL (one process per GPU) and with gloo (CPU). All tensors in collectives live on the rank's device.
"""

from __future__ import annotations

import os
import signal
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from radload.errors import RadloadError, UsageError

TIMEOUT = timedelta(minutes=10)  # a rank that says nothing for so long is dead


class RankZeroFailed(RadloadError):
    """Rank 0 has told its user why the run ends; the others end without a word."""


@dataclass(frozen=True)
class Ranks:
    """This process among the processes of the run. rank and local_rank count from 0; world is their number.

    group: over all ranks, for CPU tensors, on which the loaders agree (Loader(group=)); None where there is one rank.
    """

    rank: int
    world: int
    local_rank: int
    device: torch.device
    group: Any = None

    @property
    def first(self) -> bool:
        """True in the one process that writes files and talks to the user."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum of `tensor` over ranks, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """Rows of all ranks in order of ranks: (n, …) on each -> (world * n, …). All ranks must have the same n."""
        if self.world == 1:
            return tensor
        everything = tensor.new_empty((self.world * tensor.shape[0], *tensor.shape[1:]))
        _all_gather(everything, tensor.contiguous())
        return everything

    def join_columns(self, tensor: Tensor) -> Tensor:
        """All ranks' columns in order of ranks: (V, n, D) on each -> (V, world * n, D). Gradients go into this rank's own only."""
        if self.world == 1:
            return tensor
        own = tensor.transpose(0, 1)
        parts = list(torch.split(self.gather(own.detach()), len(own)))
        parts[self.rank] = own
        return torch.cat(parts).transpose(0, 1)

    def share_buffers(self, model: nn.Module) -> None:
        """Give every rank the buffers of rank 0 (running statistics of batch norm), as DDP does before a training step."""
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def decide(self, work: Callable[[], int]) -> int:
        """Run `work` on rank 0 and give its result (at least 0) to all ranks; where it fails, all ranks raise.

        Raises:
            RadloadError: what `work` raised, on rank 0; RankZeroFailed on the others.
        """
        if self.world == 1:
            return work()
        value = torch.full((1,), -1, dtype=torch.int64, device=self.device)
        try:
            if self.first:
                value.fill_(work())
        finally:
            dist.broadcast(value, 0)
        if int(value) < 0:
            raise RankZeroFailed("rank 0 failed")
        return int(value)

    @contextmanager
    def leading(self) -> Iterator[None]:
        """For a block in which rank 0 does what the others do not, such as writing files: a collective.

        Raises:
            RadloadError: what the block raised, on rank 0; RankZeroFailed on the others, when they leave the block.
        """
        failed = torch.ones((), device=self.device)
        try:
            yield
            failed.zero_()
        finally:
            if self.world > 1:
                dist.broadcast(failed, 0)
        if self.world > 1 and not self.first and failed:
            raise RankZeroFailed("rank 0 failed")


def join(device: str = "auto") -> Ranks:
    """Join the run that torchrun started (RANK, WORLD_SIZE, LOCAL_RANK), or be the only process where it did not.

    Args:
        device: "auto" (a GPU where there is one), "cpu" or "cuda".

    Raises:
        UsageError: no GPU, or fewer than processes on this machine.
    """
    rank, world, local = (int(os.environ.get(name, value)) for name, value in _TORCHRUN.items())
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        gpus = torch.cuda.device_count()
        if gpus == 0:
            raise UsageError(
                "--device cuda: torch finds no GPU on this machine: train with --device cpu, or mend its driver"
            )
        if local >= gpus:
            raise UsageError(
                f"process {local + 1} of this machine has no GPU ({gpus} found): start fewer (--nproc-per-node), "
                "or train with --device cpu"
            )
        torch.cuda.set_device(local)  # before NCCL starts, or all ranks would meet on the first GPU
    place = torch.device("cuda", local) if device == "cuda" else torch.device("cpu")
    if world > 1:
        if device == "cuda":
            dist.init_process_group("nccl", timeout=TIMEOUT, device_id=place)
        else:
            dist.init_process_group("gloo", timeout=TIMEOUT)
    group = dist.new_group(timeout=TIMEOUT, backend="gloo") if world > 1 else None
    return Ranks(rank, world, local, place, group)


_all_gather = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)  # newer torch warns of the longer name
_TORCHRUN = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}


def launch_notes(ranks: Ranks) -> list[str]:
    """What torchrun's user should know about how he started the run: a sentence, or nothing."""
    restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
    if ranks.world == 1 or restarts == 0 or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return []
    return [
        f"--max-restarts {restarts} may not work: restarted processes can meet the addresses of dead ones, so start torchrun with "
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment"
    ]


def parallel(model: nn.Module, ranks: Ranks, loss: Callable[[nn.Module], Tensor]) -> nn.Module:
    """`model` wrapped for training on all ranks (DDP), or itself where there is one. Weights and buffers stay as they are.

    DDP puts gradients into other buckets after its first two steps, and with three or more ranks the bucket decides in which
    order a gradient is added up. So two steps are rehearsed here, with `loss`, of any batch: a resumed run's first step then adds
    as that step would have in a run that never stopped. Measured with four ranks: not equal without it.
    """
    if ranks.world == 1:
        return model
    net: nn.Module = DistributedDataParallel(
        model,
        device_ids=[ranks.local_rank] if ranks.device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        static_graph=True,
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    net.train()
    for _ in range(2):
        torch.autograd.backward(loss(net))
        net.zero_grad(set_to_none=True)
    model.load_state_dict(before)
    return net


def without_exchange(net: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """For the backward pass of a part of a step: gradients are exchanged after the `last` part only."""
    return net.no_sync() if isinstance(net, DistributedDataParallel) and not last else nullcontext()


def leave() -> None:
    """Leave the run."""
    if dist.is_initialized():
        dist.destroy_process_group()


def end(code: int) -> NoReturn:
    """End this process with `code`, what it said written, without taking the interpreter down: nothing registered for its end runs.

    Gloo's threads may hold the last reference to a tensor and want the GIL to let go of it; an interpreter that ends answers by ending
    the thread, which C++ takes for a failure: SIGABRT, for a run that is over. 1 of 17 ends with those threads starved, 0 of 120 without.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware: tensor cores (compute capability 8.0), or AMX tiles or AVX-512 BF16
    instructions of a CPU.

    Elsewhere bfloat16 is emulated and slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # absent from older torch
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of the random state (dropout, stochastic depth) in one step of one rank.

    Setting it before each step makes the random state a function of (seed, step, rank): a resumed run needs none saved.
    """
    return zlib.crc32(b"%d %d %d" % (seed, step, rank))


def set_random_state(device: torch.device, seed: int) -> None:
    """As torch.manual_seed, for the CPU and `device` alone: that one also formats a stack trace for each kind of device that is not
    there, which took 0.1 to 1 ms a step."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


class StopRequest:
    """SIGTERM and SIGINT as a request to stop after the current step, agreed on by all ranks. A second SIGINT stops at once."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._asked = False
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True

    def agreed(self, due: bool = False) -> tuple[bool, bool]:
        """(stop, due) on all ranks as soon as it is true on one: whether one was asked to stop, and whether `due` holds on one (that a
        checkpoint is). A collective: all ranks call it at the same steps; waits for the device."""
        if self._ranks.world == 1:
            return self._asked, due
        flags = torch.tensor([float(self._asked), float(due)], device=self._ranks.device)
        asked, is_due = self._ranks.sum(flags).tolist()
        return asked > 0, is_due > 0

    def close(self) -> None:
        """Put the former handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
