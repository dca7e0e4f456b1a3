"""Checkpoints: everything a resume needs, each complete or absent. Nothing is pickled.

checkpoints/step-00000100/ holds `tensors.safetensors` (weights, optimizer state, average) and `state.json`. It is
written to a temporary folder from a copy in memory, flushed and renamed, in a background thread.
"""

import contextlib
import errno
import itertools
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ts_models import artefact

from .errors import ArtefactError, DiskFullError
from .schemas import MIGRATIONS, TrainerState


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: run/checkpoints.
        keep: number of newest checkpoints to keep, besides the one with the best validation loss.
        background: write in a thread; its error is raised by the next `save` or `wait`.
    """

    def __init__(self, folder: Path, *, keep: int = 2, background: bool = True) -> None:
        self.folder, self.keep, self.background = folder, keep, background
        self._thread: threading.Thread | None = None
        self._problem: BaseException | None = None

    def save(self, state: TrainerState, tensors: dict[str, torch.Tensor], *, now: bool = False) -> None:
        """Write a checkpoint of `state.step`. The tensors are copied before this returns."""
        self.wait()
        copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        if now or not self.background:
            self._write(state, copies)
            self.wait()
        else:
            self._thread = threading.Thread(target=self._write, args=(state, copies), daemon=False)
            self._thread.start()

    def wait(self) -> None:
        """Wait for the write in progress and raise its error."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        problem, self._problem = self._problem, None
        if problem is not None:
            with self.disk_full_is_clear():
                raise problem

    @contextlib.contextmanager
    def disk_full_is_clear(self) -> Iterator[None]:
        """Raise DiskFullError, which names the checkpoint to resume from, for any error of a full disk or a limit of file sizes."""
        try:
            yield
        except (OSError, SafetensorError) as problem:
            number = getattr(problem, "errno", None)
            if number in {errno.ENOSPC, errno.EDQUOT} or "No space left" in str(problem):
                raise DiskFullError(self._disk_full("the disk is full", "Free some space")) from None
            if number == errno.EFBIG or "File too large" in str(problem):
                raise DiskFullError(
                    self._disk_full("a file is larger than allowed here", "Raise the limit (ulimit -f)")
                ) from None
            raise

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, in ascending order."""
        return sorted(step for step, path in self._named() if path.is_dir())

    def load(self, *, set_aside: bool = False) -> tuple[TrainerState, dict[str, torch.Tensor], list[str]]:
        """The newest complete checkpoint, and a message for each newer damaged one.

        Args:
            set_aside: rename the damaged ones, so that checkpoints of their steps can be written again.

        Raises:
            ArtefactError: there is none; nothing was renamed.
        """
        problems: list[str] = []
        damaged: list[Path] = []
        for step in reversed(self.steps()):
            try:
                found = self.read(step)
            except (ArtefactError, OSError) as problem:
                problems.append(f"{problem} Going back to the checkpoint before.")
                damaged.append(self._path(step))
                continue
            for path in damaged if set_aside else ():
                _rename_aside(path)
            return *found, problems
        detail = " ".join(problems)
        raise ArtefactError(f"{self.folder}: no whole checkpoint to resume from. {detail}".strip())

    def read(self, step: int) -> tuple[TrainerState, dict[str, torch.Tensor]]:
        """State and tensors of one checkpoint. Raises ArtefactError if it is damaged."""
        path = self._path(step)
        migrations = MIGRATIONS["ts-train/state"]
        state = artefact.read_model(
            path / "state.json", TrainerState, package="tinystories-train", migrations=migrations, error=ArtefactError
        )
        if state.step != step:
            raise ArtefactError(f"{path / 'state.json'}: is of step {state.step}; the checkpoint is damaged.")
        tensors_file = path / "tensors.safetensors"
        if not tensors_file.exists():
            raise ArtefactError(f"{tensors_file}: no such file; the checkpoint is damaged.")
        if artefact.sha256_file(tensors_file) != state.tensors_sha256:
            raise ArtefactError(
                f"{tensors_file}: its SHA-256 is not the one in state.json; the checkpoint is cut short or damaged."
            )
        try:
            return state, load_file(tensors_file)
        except (SafetensorError, OSError, ValueError) as problem:
            raise ArtefactError(f"{tensors_file}: not a whole safetensors file ({problem}); the checkpoint is damaged.") from None

    def sweep(self) -> None:
        """Clean up after a killed process: remove partial folders, finish an interrupted rename, rename files in a checkpoint's place."""
        if not self.folder.exists():
            return
        for _, path in self._named():
            if not path.is_dir():
                _rename_aside(path)
        for path in self.folder.glob(".step-*.ts-old"):
            artefact.recover(self.folder / path.name.removeprefix(".").removesuffix(".ts-old"))
        for path in self.folder.glob(".step-*.ts-partial"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob(".step-*.ts-lock"):
            path.unlink(missing_ok=True)

    def _named(self) -> list[tuple[int, Path]]:
        """(step, path) of all entries named as a checkpoint is."""
        names = [p.name for p in self.folder.glob("step-*")] if self.folder.is_dir() else []
        numbers = [int(name[5:]) for name in names if name.isascii() and name[5:].isdecimal()]
        return [(n, self._path(n)) for n in numbers if self._path(n).name in names]

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _write(self, state: TrainerState, tensors: dict[str, torch.Tensor]) -> None:
        try:
            with artefact.write_folder(self._path(state.step), "state.json", "ts-train/state") as aside:
                save_file(tensors, aside / "tensors.safetensors")
                digest = artefact.sha256_file(aside / "tensors.safetensors")
                artefact.write_model(aside / "state.json", state.model_copy(update={"tensors_sha256": digest}))
            for step in self.steps()[: -self.keep]:
                if step != state.best_step:
                    with contextlib.suppress(OSError):
                        shutil.rmtree(self._path(step))
        except BaseException as problem:  # raised by wait() in the training thread
            self._problem = problem

    def _disk_full(self, what: str, mend: str) -> str:
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()  # the write in progress may still complete
        steps = self.steps()
        kept = f"the checkpoint of step {steps[-1]} is whole" if steps else "there is no earlier checkpoint"
        return f"{self.folder}: {what}; {kept}. {mend}, then run: ts-train resume {self.folder.parent}"


def _rename_aside(path: Path) -> None:
    """step-N → damaged-step-N, or damaged-step-N.2 … where that is taken."""
    names = (f"damaged-{path.name}" + (f".{n}" if n > 1 else "") for n in itertools.count(1))
    target = next(t for t in (path.with_name(name) for name in names) if not t.exists())
    path.rename(target)
