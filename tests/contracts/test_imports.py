"""What an import and a `--help` load. Modules are counted rather than seconds, so that a busy machine changes nothing."""

import os
import subprocess
import sys

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


def loaded_after(code: str) -> set[str]:
    """Top-level modules loaded in a fresh interpreter after `code`, less what is barred (None). They are written to a pipe of their own."""
    reader, writer = os.pipe()
    ending = f"import os, sys; os.write({writer}, ' '.join({{n.partition('.')[0] for n, loaded in sys.modules.items() if loaded}}).encode())"
    program = f"import atexit\ndef told():\n    {ending}\natexit.register(told)\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, pass_fds=[writer])
    os.close(writer)
    with os.fdopen(reader) as pipe:
        names = set(pipe.read().split())
    assert done.returncode == 0, done.stderr
    return names


def test_importing_a_package_loads_nothing_heavy(package):
    assert not loaded_after(f"import {package.module}") & (HEAVY | {"rich", "typer", "pydantic"})


def test_importing_the_schemas_loads_pydantic_and_nothing_heavy(package):
    loaded = loaded_after(f"import {package.module}.schemas, {package.module}.errors")
    assert "pydantic" in loaded
    assert not loaded & (HEAVY | {"rich", "typer"})


def test_help_loads_nothing_heavy(package):
    loaded = loaded_after(f"import sys; sys.argv = ['{package.folder}', '--help']; import {package.module}.cli as c; c.main()")
    assert "typer" in loaded
    assert not loaded & (HEAVY | {"pydantic"})


def test_help_of_every_command_loads_nothing_heavy(package):
    program = (
        "import sys, importlib\n"
        f"sys.argv = ['{package.folder}', '--help']\n"
        f"cli = importlib.import_module('{package.module}.cli')\n"
        "from typer.main import get_command\n"
        "from typer.testing import CliRunner\n"
        "runner = CliRunner()\n"
        "names = list(get_command(cli.app).commands)\n"
        "assert names\n"
        "for name in names:\n"
        "    done = runner.invoke(cli.app, [name, '--help'])\n"
        "    assert done.exit_code == 0, (name, done.output)\n"
    )
    assert not loaded_after(program) & HEAVY


def test_exported_names_resolve_twice_alike(package):
    program = (
        f"import {package.module} as p\n"
        "first = {n: getattr(p, n) for n in p.__all__}\n"
        "second = {n: getattr(p, n) for n in p.__all__}\n"
        "assert all(first[n] is second[n] for n in first)\n"
        "try:\n"
        "    p.no_such_name\n"
        "except AttributeError as problem:\n"
        "    assert 'no_such_name' in str(problem)\n"
        "else:\n"
        "    raise AssertionError('an unknown name must be refused')\n"
    )
    loaded_after(program)
