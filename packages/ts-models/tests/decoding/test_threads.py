"""Threads that generate together: the same bits for any number of them, whatever becomes of a helper."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from ts_models import fast
from ts_models.fast import decode, team
from ts_models.fast.decode import FastStepper
from ts_models.fast.kernels import arrays
from ts_models.fast.team import Pace

PROMPTS = [[61, *range(1, 1 + n % 5)] for n in range(17)]


@pytest.mark.parametrize("module", [fast, team])
def test_a_machine_that_cannot_fork_loads_it_all_the_same(module, monkeypatch):
    """As Windows: neither os.register_at_fork nor os.sched_getaffinity."""
    for name in ("register_at_fork", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    name, folders = f"{module.__name__}_elsewhere", list(getattr(module, "__path__", [])) or None
    spec = importlib.util.spec_from_file_location(name, module.__file__, submodule_search_locations=folders)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    assert team.usable_threads(10**6) == os.cpu_count()


@torch.inference_mode()
def run(small, threads: int, rows: int, steps: int = 12, precision: str = "float32") -> list[torch.Tensor]:
    """Logits of each step; rows leave and the last ones part."""
    stepper = FastStepper(small, precision=precision)
    stepper.threads = threads
    found = [stepper.start(PROMPTS[:rows], 5 + 2 * steps, per_prompt=1)]
    for step in range(steps):
        rows_kept = torch.arange(1, len(found[-1])) if step % 4 == 3 and len(found[-1]) > 1 else None
        count = len(found[-1]) - (rows_kept is not None)
        found.append(stepper.step(torch.arange(count) + step, rows_kept))
    return found


@pytest.fixture(autouse=True)
def _always_all(monkeypatch):
    """All threads in every call."""
    monkeypatch.setattr(Pace, "choose", lambda self: max(self.options))


@torch.inference_mode()
def test_a_helper_that_computes_all_rows_of_a_step_keeps_them_apart(small):
    stepper = FastStepper(small)
    stepper.threads = 2
    stepper.start(PROMPTS, 20, per_prompt=1)
    rows, words, cache = len(PROMPTS), stepper.team.words, stepper.cache
    stepper.tokens[:] = np.arange(rows)
    cache.where[np.arange(rows), cache.lengths // arrays.BLOCK] = stepper.slots
    alone = torch.empty(rows, stepper.weights.head.bias.shape[1])
    stepper._forward(alone.numpy(), 1, 0)
    serial, chunk = int(words[arrays.SERIAL]) + 1, 5
    words[arrays.SERIAL], words[arrays.POSITION], words[arrays.ROWS] = serial, -1, rows
    kind = serial << arrays.KIND_BITS | arrays.WHOLE
    words[arrays.TICKET] = (kind << arrays.LAYER_BITS | chunk) << arrays.CLAIM_BITS
    stepper.kernels.help_forward(stepper.weights, cache, stepper.slots, stepper.tokens, stepper.scratch, words, 1, 10)
    assert (words[arrays.DONE : arrays.DONE + 4] == serial << 8 | 1).all()
    assert torch.equal(torch.from_numpy(stepper.scratch.logits[1]), alone)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("rows", [1, 3, 17])
def test_two_and_three_threads_give_the_bits_of_one(small, rows, precision, monkeypatch):
    monkeypatch.setattr(decode, "_ROWS_OF_A_THREAD", 3)
    alone = run(small, 1, rows, precision=precision)
    for threads in (2, 3):
        for one, other in zip(alone, run(small, threads, rows, precision=precision), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("rows", [1, 17])
def test_a_leader_that_waits_for_nobody_gives_the_same_bits(small, rows, monkeypatch):
    """Each claimed item is computed twice, so helpers write while the leader goes on."""
    alone = run(small, 1, rows, 40)
    monkeypatch.setattr(team.Team, "set_waits", lambda self, seconds: None)
    for _ in range(3):
        for one, other in zip(alone, run(small, 3, rows, 40), strict=True):
            assert torch.equal(one, other)


def test_helpers_that_never_come_change_nothing(small, monkeypatch):
    alone = run(small, 1, 17)
    monkeypatch.setattr(team.Team, "wake", lambda self, *arguments: None)
    for one, other in zip(alone, run(small, 2, 17), strict=True):
        assert torch.equal(one, other)


def test_a_helper_that_fails_changes_nothing(small, monkeypatch):
    alone = run(small, 1, 17)

    def fail(*arguments: object) -> None:
        raise MemoryError

    made = team.Team.__init__
    monkeypatch.setattr(
        team.Team, "__init__", lambda self, threads, items, help_forward, looks: made(self, threads, items, fail, looks)
    )
    for one, other in zip(alone, run(small, 2, 17), strict=True):
        assert torch.equal(one, other)


def test_beams_that_part_wait_for_helpers(small):
    with torch.inference_mode():
        results = []
        for threads in (1, 2):
            stepper = FastStepper(small)
            stepper.threads = threads
            found = [stepper.start(PROMPTS[:6], 30, per_prompt=3)]
            for step in range(10):
                rows = torch.tensor([p * 3 + (p + step + beam // 2) % 3 for p in range(6) for beam in range(3)])
                found.append(stepper.step(torch.arange(18) + step, rows))
            results.append(found)
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_generations_beside_each_other_keep_their_bits(small):
    alone, found = run(small, 1, 3, 30), {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: run(small, 2, 3, 30)})) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        for one, other in zip(alone, found[number], strict=True):
            assert torch.equal(one, other)


SCRIPT = """
import os, signal, sys, threading, time, _thread
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins with interrupts ignored
sys.path[:0] = {path!r}
import torch
from conftest import CONFIGS, make
from ts_models.fast.decode import FastStepper
from ts_models.fast.kernels import arrays
from ts_models.fast.team import Pace
Pace.choose = lambda self: max(self.options)
torch.set_grad_enabled(False)
torch.set_num_threads(1)
def begin():
    stepper = FastStepper(make(CONFIGS["story"])); stepper.threads = 2
    stepper.start([[1, 2]], 40, per_prompt=1)
    stepper.step(torch.tensor([3]), None)
    return stepper
stepper = begin()
{body}
"""


def script(body: str) -> str:
    source = SCRIPT.format(path=[str(Path(__file__).parents[1])], body=body)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_exit_fork_and_interrupt_end_nothing():
    """A forked child goes on alone, an interrupted generation can be repeated, and the interpreter ends with a helper awake."""
    out = script("""
child = os.fork() if hasattr(os, "fork") else None
if child == 0:
    stepper.step(torch.tensor([3]), None)
    begin().step(torch.tensor([3]), None)
    os._exit(7)
if child is not None:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
timers = [threading.Timer(after, _thread.interrupt_main) for after in (0.05, 2, 4)]   # one that comes in a finalizer is lost
for timer in timers:
    timer.start()
try:
    while True:
        begin()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    for timer in timers:
        timer.cancel()
begin()
print("ends", flush=True)
""")
    assert out.split() == ["interrupted", "ends"]


@torch.inference_mode()
def test_no_other_thread_compiles(small, monkeypatch):
    """A process that ends waits for its threads: one that compiled held an interrupted command up for a minute."""
    callers: list[int] = []
    stepper = FastStepper(small)
    stepper.threads, kernel = 2, stepper.kernels.help_forward
    monkeypatch.setattr(stepper.kernels, "help_forward", lambda *given: (callers.append(threading.get_ident()), kernel(*given)))
    stepper.start(PROMPTS[:1], 9, per_prompt=1)
    stepper.step(torch.tensor([3]), None)
    assert callers[0] == threading.get_ident()

    calls: list[int] = []  # not those above: a helper of the stepper may come late

    class Kernel:
        overloads = 0

        def __call__(self, begin: int, end: int) -> None:
            calls.append(0 if self.overloads else threading.get_ident())
            self.overloads += 1

    fast.split(Kernel(), 4, 2)
    assert calls == [threading.get_ident(), 0, 0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_while_a_helper_ends_does_not_wait_for_it():
    """The lock of the helper's future is held at the fork, by a thread that the child does not have."""
    out = script("""
held, free = threading.Event(), threading.Event()
def hold():
    with stepper.team._helpers[0]._condition:
        held.set()
        free.wait(60)
threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if child == 0:
    threading.Timer(20, os._exit, [9]).start()
    stepper.step(torch.tensor([3]), None)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
free.set()
""")
    assert out.split() == ["7"]


def test_pace_keeps_what_is_faster_and_compares_again(monkeypatch):
    monkeypatch.undo()
    pace, chosen = Pace({1, 2, 4}), []
    assert pace.options == [4, 2, 1]
    for call in range(4000):
        chosen.append(pace.choose())
        now = {4: 3.0, 2: 1.0, 1: 2.0} if call < 2000 else {4: 1.0, 2: 3.0, 1: 2.0}
        pace.record(chosen[-1], now[chosen[-1]])
    assert chosen[100:200] == [2] * 100
    assert pace.best == 4


@pytest.mark.parametrize(("one", "two", "calls"), [(2.0, 1.0, 10), (1.0, 2.0, 10), (1.1, 1.0, 30)])
def test_a_clear_difference_ends_the_comparison_early(monkeypatch, one, two, calls):
    monkeypatch.undo()
    pace, chosen = Pace({1, 2}), []
    for _ in range(60):
        chosen.append(pace.choose())
        pace.record(chosen[-1], {1: one, 2: two}[chosen[-1]])
    assert chosen[:calls].count(1) == chosen[:calls].count(2) == calls // 2
    assert set(chosen[calls:]) == {1 if one < two else 2}


def test_short_calls_are_compared_to_the_end(monkeypatch):
    monkeypatch.undo()
    few, many = Pace({1, 2}), Pace({1, 2})
    for _ in range(10):
        for pace, rows in ((few, 1), (many, 100)):
            option = pace.choose()
            pace.record(option, {1: 0.0002, 2: 0.0001}[option], rows=rows)
    assert few.choose() == 2
    assert not few._left
    assert many._left


def test_a_call_that_brings_more_tokens_is_compared_by_its_tokens(monkeypatch):
    monkeypatch.undo()
    pace = Pace({0, 4})
    for _ in range(60):
        option = pace.choose()
        pace.record(option, 2.0 if option else 1.0, 3 if option else 1)
    assert pace.best == 4
