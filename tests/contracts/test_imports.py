"""What an import and a `--help` load. Modules are counted rather than seconds, so that a busy machine changes nothing."""

import json
import os
import subprocess
import sys

from tools.workspace import Package

HEAVY = {
    "torch",
    "spacy",
    "numba",
    "sklearn",
    "scipy",
    "torchtune",
    "transformers",
    "pyarrow",
    "numpy",
    "pandas",
    "matplotlib",
    "nltk",
}

# What each stage of a program has loaded so far goes to a pipe of its own.
REPORT = """
import json, os, sys
def report():
    names = sorted({name.partition('.')[0] for name, module in sys.modules.items() if module})
    os.write(WRITER, (json.dumps(names) + '\\n').encode())
"""
IMPORTS = """
import MODULE
report()
import MODULE.schemas, MODULE.errors
report()
first = {n: getattr(MODULE, n) for n in MODULE.__all__}
assert first
assert all(first[n] is getattr(MODULE, n) for n in MODULE.__all__)
try:
    MODULE.no_such_name
except AttributeError as problem:
    assert 'no_such_name' in str(problem)
else:
    raise AssertionError('an unknown name must be refused')
report()
"""
HELP = """
sys.argv = ['FOLDER', '--help']
import MODULE.cli as cli
try:
    cli.main()
except SystemExit:
    pass
report()
from typer.main import get_command
from typer.testing import CliRunner
names = list(get_command(cli.app).commands)
assert names
for name in names:
    done = CliRunner().invoke(cli.app, [name, '--help'])
    assert done.exit_code == 0, (name, done.output)
report()
"""


def loaded_after(program: str, package: Package) -> list[set[str]]:
    """Top-level modules that stand loaded in a fresh interpreter after each stage, less what is barred (None)."""
    reader, writer = os.pipe()
    code = (REPORT + program).replace("WRITER", str(writer)).replace("MODULE", package.module).replace("FOLDER", package.folder)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, pass_fds=[writer])
    os.close(writer)
    with os.fdopen(reader) as pipe:
        stages = [set(json.loads(line)) for line in pipe]
    assert done.returncode == 0, done.stderr
    assert len(stages) == program.count("report()")
    return stages


def test_importing_a_package_loads_nothing_heavy(package: Package) -> None:
    imported, with_schemas, with_names = loaded_after(IMPORTS, package)
    assert not imported & (HEAVY | {"rich", "typer", "pydantic"})
    assert "pydantic" in with_schemas
    assert not with_schemas & (HEAVY | {"rich", "typer"})
    assert with_names & HEAVY, "the names are loaded on use"


def test_help_loads_nothing_heavy(package: Package) -> None:
    top, every_command = loaded_after(HELP, package)
    assert "typer" in top
    assert not top & (HEAVY | {"pydantic"})
    assert not every_command & HEAVY
