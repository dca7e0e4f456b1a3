"""Rules that a grep could hold, but on the syntax tree: nothing is ever unpickled, nothing evaluated, no asserts for users."""

import ast
from collections.abc import Iterator
from pathlib import Path

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
LARGEST_INIT = 60  # lines


def modules(package) -> list[Path]:
    found = sorted((package.path / "src").rglob("*.py"))
    assert found, f"{package.folder}: no sources found, this test would prove nothing"
    return found


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> object:
    value = next((k.value for k in call.keywords if k.arg == name), None)
    return value.value if isinstance(value, ast.Constant) else None


def test_nothing_is_unpickled(package):
    for path in modules(package):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            assert not {n.partition(".")[0] for n in names} & FORBIDDEN_MODULES, path
        for name, call in calls(tree):
            if name == "torch.load":
                assert keyword(call, "weights_only") is True, f"{path}:{call.lineno}"
            if name in {"np.load", "numpy.load"}:
                assert keyword(call, "allow_pickle") in (False, None), f"{path}:{call.lineno}"


def test_nothing_is_evaluated(package):
    for path in modules(package):
        for name, call in calls(ast.parse(path.read_text(encoding="utf-8"))):
            assert name not in {"eval", "exec", "os.system", "yaml.load"}, f"{path}:{call.lineno}"
            assert keyword(call, "shell") is not True, f"{path}:{call.lineno}"


def test_every_module_says_what_it_holds(package):
    missing = [str(p) for p in modules(package) if not ast.get_docstring(ast.parse(p.read_text(encoding="utf-8")))]
    assert not missing


def test_init_is_short_and_lists_its_names_literally(package):
    path = package.path / "src" / package.module / "__init__.py"
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LARGEST_INIT
    stub = path.with_suffix(".pyi")  # `lazy_loader.attach_stub` reads the names from there
    if stub.is_file():
        text = stub.read_text(encoding="utf-8")
        assert "attach_stub" in path.read_text(encoding="utf-8")
    assigned = [n for n in ast.parse(text).body if isinstance(n, ast.Assign | ast.AnnAssign)]
    literal = [n.value for n in assigned if "__all__" in ast.unparse(n).partition("=")[0]]
    assert len(literal) == 1
    assert isinstance(literal[0], ast.List | ast.Tuple)


def test_exceptions_have_one_base(package):
    text = (package.path / "src" / package.module / "errors.py").read_text(encoding="utf-8")
    classes = [n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)]
    base, *others = sorted(classes, key=lambda n: n.lineno)
    known = {base.name}
    for node in others:
        assert {ast.unparse(b) for b in node.bases} & known, f"{package.folder}: {node.name} stands outside of the tree"
        known.add(node.name)
