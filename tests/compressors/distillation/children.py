"""What the tests do in other processes, forked from a server that loaded torch and computed nothing, so that forking is safe."""

import multiprocessing
import os
import resource
import signal
from dataclasses import replace

import torch

from ndogo.compressors.distillation import checkpoints, kept
from ndogo.compressors.distillation.devices import ProcessGroup
from ndogo.compressors.distillation.train import train
from ndogo.compressors.distillation.trainer import Trainer
from ndogo.core.errors import NdogoError

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([__name__])


def ran(target, *args, seconds=120):
    """The exit status of `target(*args)` in a process of its own."""
    child = SERVER.Process(target=target, args=args)
    child.start()
    child.join(seconds)
    if child.exitcode is None:
        child.kill()
    return child.exitcode


def doomed(student, teacher, out, settings, objectives, run, death, how):
    """Train; at the step `death` be killed before its checkpoint, half-way through writing it, or while the teacher speaks."""
    torch.set_num_threads(1)
    kept.BLOCK = 16
    checkpoints.SECONDS_BETWEEN = 0.0
    write = checkpoints.save_file

    def dying(tensors, path, metadata):
        write(tensors, path, metadata)
        if how == "write" and f'"step": {death},' in metadata["facts"]:
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def report(doing, done, total, numbers=None):
        said = {"step": "training", "teacher": "asking the teacher once"}.get(how)
        if said and doing.startswith(said) and done == death:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.save_file = dying
    train(student, teacher, out, settings, objectives, replace(run, report=report))


def one_of(job, rank, size, store, queue):
    """Train as one of `size` gloo processes; the first one sends its loss curve."""
    torch.set_num_threads(1)
    if size > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    curve = []

    def report(doing, done, total, numbers=None):
        curve.append(numbers["loss"])

    Trainer(job, ProcessGroup(rank, size, torch.device("cpu")), report).train()
    if rank == 0:
        queue.put(curve)


def write_too_much(path):
    """Write a checkpoint where the file system refuses, as a full one does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
    try:
        checkpoints.write(path, {"weight/x": torch.zeros(100_000)}, {"identity": "b"})
    except NdogoError as error:
        assert "cannot be written" in error.what and "the last checkpoint, which is kept" in error.cure
        return
    raise AssertionError("nothing was raised")


def refused_by_the_disk(student, teacher, out, settings, objectives, run):
    """Train where a file may not grow to what a teacher's outputs take."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        train(student, teacher, out, settings, objectives, run)
    except NdogoError as error:
        assert "cannot be kept" in error.what and "what is kept so far will be found" in error.cure
        return
    raise AssertionError("nothing was raised")
