"""Try an installed package as a newcomer would: import it, ask each command for help, do one small real thing.

Run by the Python of a clean environment that holds the wheel and nothing of this repository: `python -P tools/smoke.py ts-data`.
"""

from __future__ import annotations

import importlib
import itertools
import json
import subprocess
import sys
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path

SCRIPTS = Path(sysconfig.get_path("scripts"))
DISTRIBUTIONS = {"ts-tokenizer": "tinystories-tokenizer", "ts-train": "tinystories-train", "ts-eval": "tinystories-eval"}

# One small real thing per package, with what its dependencies alone can do. `{dir}` is an empty folder.
FIRST_STEPS = {
    "ts-data": [
        "ts-data sample --stories 400 --out {dir}/raw.txt",
        "ts-data prepare {dir}/raw.txt --out {dir}/splits --validation 20 --json",
    ],
    "ts-tokenizer": [
        "ts-data sample --stories 400 --out {dir}/raw.txt",
        "ts-data prepare {dir}/raw.txt --out {dir}/splits --validation 20",
        "ts-tokenizer train {dir}/splits --out {dir}/word_tokenizer.json --vocab-size 512",
        "ts-tokenizer encode {dir}/splits --tokenizer {dir}/word_tokenizer.json --out {dir}/encoded --json",
    ],
    "ts-models": [
        "ts-models list --json",
        'python -c __import__("ts_models").load("demo").model.generate([[0]],max_new_tokens=8)',  # without Numba
    ],
}


def call(line: str) -> str:
    name, *arguments = line.split()
    done = subprocess.run([str(SCRIPTS / name), *arguments], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        sys.exit(f"$ {line}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def commands(name: str) -> list[str]:
    """The commands that `<name> --help` lists."""
    lines = call(f"{name} --help").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Commands:"))
    under = itertools.takewhile(lambda line: line.strip(), lines[start + 1 :])
    return [line.split()[0] for line in under if line.startswith("  ") and line[2:3] not in (" ", "")]


def main() -> None:
    name = sys.argv[1]
    module = importlib.import_module(name.replace("-", "_"))
    place = Path(str(module.__file__))
    if not place.is_relative_to(sysconfig.get_path("purelib")):
        sys.exit(f"{name}: imported from {place}, not from the wheel")
    installed = metadata.version(DISTRIBUTIONS.get(name, name))
    if module.__version__ != installed or call(f"{name} --version").split() != [name, installed]:
        sys.exit(f"{name}: __version__, --version and the metadata ({installed}) differ")
    verbs = commands(name)
    for verb in verbs:
        call(f"{name} {verb} --help")
    for exported in module.__all__:
        getattr(module, exported)
    with tempfile.TemporaryDirectory() as folder:
        for line in FIRST_STEPS.get(name, ()):
            output = call(line.format(dir=folder))
            if "--json" in line:
                json.loads(output)
    print(f"{name} {installed}: {len(module.__all__)} names, {len(verbs)} commands, first steps: all answer")


if __name__ == "__main__":
    main()
