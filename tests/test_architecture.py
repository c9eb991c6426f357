"""The shape of the product, read from its source: who imports whom, and what stands nowhere."""

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOOR = "trifed.py"
PACKAGES = ("shared", "client", "server", "simulation")
MAY_IMPORT = {
    "shared": {"shared"},
    "client": {"client", "shared"},
    "server": {"server", "shared"},
    "simulation": {"simulation", "client", "server", "shared"},
}
FLOWER_FILES = {
    "shared/whole_arrays.py",
    "shared/wire.py",
    "client/app.py",
    "client/courier.py",
    "client/deploy/carrying.py",
    "client/deploy/node_memory.py",
    "client/deploy/supernode.py",
    "server/app.py",
    "server/federation.py",
    "server/deployed.py",
    "server/aggregate.py",
    "server/deploy/app.py",
    "server/deploy/bundle.py",
    "server/deploy/control.py",
    "server/deploy/executor.py",
    "server/deploy/grid.py",
    "server/deploy/link_state.py",
    "server/deploy/objects.py",
    "server/deploy/pieces.py",
    "server/deploy/short_way.py",
    "server/deploy/superlink.py",
    "simulation/flower.py",
}
RAY_FILES = {"simulation/flower.py"}
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "task"}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_NAMES = {"eval", "exec", "compile", "__import__"}
UNSAFE_CALLS = {"yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "os.system"}
UNSAFE_METHODS = {"read_pickle", "to_pickle"}
UNSAFE_IMPORTS = {("yaml", "load"), ("torch", "load"), ("pandas", "read_pickle")}
"""Names that must be written with their module, so that a call of them is seen."""
MAY_PRINT = re.compile(r"trifed\.py|(client|server|simulation)/(\w+/)?(__main__|cli|command)\.py")
FILE_LINES, FUNCTION_LINES = 300, 60

FILES = sorted(
    [path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    + [DOOR]
)
Fault = tuple[str, int, str]


@functools.cache
def _tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"), filename=file)


def _modules(node: ast.AST) -> list[str]:
    """The full names of the modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + (node.module or "")]
    return []


@functools.cache
def _imports(file: str) -> list[tuple[str, int]]:
    """Every import of a file, wherever it stands: the top-level package and the line."""
    return [
        (module.split(".")[0] or ".", getattr(node, "lineno", 0))
        for node in ast.walk(_tree(file))
        for module in _modules(node)
    ]


def _at_load(node: ast.AST) -> Iterator[ast.AST]:
    """The statements that run when a module is loaded; not functions, not type checking."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _at_load(child)


@functools.cache
def _calls(file: str) -> list[tuple[str, ast.Call]]:
    """Every call of a file: the called name as written, and the call."""
    calls = [node for node in ast.walk(_tree(file)) if isinstance(node, ast.Call)]
    return [(ast.unparse(call.func), call) for call in calls]


def _said(faults: Iterable[Fault]) -> str:
    return "\n" + "\n".join(f"{file} line {line}: {text}" for file, line, text in sorted(faults))


def test_packages_import_only_whom_they_may():
    faults = [
        (file, line, f"{file.split('/')[0]} may not import {name}")
        for file in FILES
        if file != DOOR
        for name, line in _imports(file)
        if name in ({*PACKAGES, "trifed", "tests", "."}) - MAY_IMPORT[file.split("/")[0]]
    ]
    assert not faults, _said(faults)


def test_the_command_loads_nothing_but_the_standard_library():
    faults = [
        (DOOR, node.lineno, f"{module} must be imported inside the function that needs it")
        for node in _at_load(_tree(DOOR))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in _modules(node)
        if module.split(".")[0] not in sys.stdlib_module_names
    ]
    assert not faults, _said(faults)


@pytest.mark.parametrize(
    ("library", "allowed"), [("flwr", FLOWER_FILES), ("ray", RAY_FILES)], ids=["flwr", "ray"]
)
def test_flower_and_ray_stand_only_at_the_border(library, allowed):
    faults = [
        (file, line, f"{library} may be imported only in {sorted(allowed)}")
        for file in FILES
        for name, line in _imports(file)
        if name == library and file not in allowed
    ]
    assert not faults, _said(faults)


@functools.cache
def _loads(file: str) -> list[str]:
    """The product's files that a file's own imports load."""
    found = list[str]()
    for node in _at_load(_tree(file)):
        for module in _modules(node):
            names = getattr(node, "names", [])
            for part in [module, *(f"{module}.{alias.name}" for alias in names)]:
                path = part.replace(".", "/")
                found += [each for each in (f"{path}.py", f"{path}/__init__.py") if each in FILES]
    return found


def _reachable(start: str) -> set[str]:
    """The product's files that are loaded with a file, itself included."""
    found, waiting = set[str](), [start]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _loads(file)
    return found


def test_what_runs_beside_the_patients_does_not_load_flower():
    loaded = {
        file: sorted(_reachable(file) & FLOWER_FILES)
        for file in FILES
        if file.startswith("client/") and file not in FLOWER_FILES
    }
    assert len(loaded) > 100
    couriers = {file: found for file, found in loaded.items() if found}
    assert not couriers, f"a worker must not need Flower: {couriers}"


def test_nothing_unpickles():
    faults = [
        (file, line, f"{name} runs code from data; use safetensors, JSON or npz without pickle")
        for file in FILES
        for name, line in _imports(file)
        if name in UNSAFE_MODULES
    ]
    assert not faults, _said(faults)


def test_what_can_run_code_is_called_by_its_full_name():
    faults = [
        (file, node.lineno, f"write {node.module}.{alias.name}(...) where it is called")
        for file in FILES
        for node in ast.walk(_tree(file))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (node.module, alias.name) in UNSAFE_IMPORTS
    ]
    assert not faults, _said(faults)


def test_no_call_runs_code_from_data():
    faults = [
        (file, call.lineno, f"{name}(...) can run code from data")
        for file in FILES
        for name, call in _calls(file)
        if name in UNSAFE_NAMES | UNSAFE_CALLS
        or name.rpartition(".")[2] in UNSAFE_METHODS
        or (name == "torch.load" and not _says(call, "weights_only", value=True))
        or _says(call, "allow_pickle", value=True)
        or _says(call, "weights_only", value=False)
        or _says(call, "shell", value=True)
    ]
    assert not faults, _said(faults)


def _says(call: ast.Call, keyword: str, *, value: bool) -> bool:
    return any(
        k.arg == keyword and isinstance(k.value, ast.Constant) and k.value.value is value
        for k in call.keywords
    )


def test_input_never_meets_assert():
    faults = [
        (file, node.lineno, "assert vanishes under python -O; raise one of the project's errors")
        for file in FILES
        for node in ast.walk(_tree(file))
        if isinstance(node, ast.Assert)
    ]
    assert not faults, _said(faults)


def test_only_the_command_line_prints():
    faults = [
        (file, call.lineno, "use logging")
        for file in FILES
        if not MAY_PRINT.fullmatch(file)
        for name, call in _calls(file)
        if name == "print"
    ]
    assert not faults, _said(faults)


def test_files_are_short():
    lengths = {f: len((ROOT / f).read_text(encoding="utf-8").splitlines()) for f in FILES}
    faults = [
        (file, n_lines, f"at most {FILE_LINES} lines: divide it")
        for file, n_lines in lengths.items()
        if n_lines > FILE_LINES
    ]
    assert not faults, _said(faults)


def test_functions_are_short():
    faults = [
        (file, node.lineno, f"{node.name} has {n_lines} lines, at most {FUNCTION_LINES}: divide it")
        for file in FILES
        for node in ast.walk(_tree(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (n_lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    ]
    assert not faults, _said(faults)


def test_every_public_name_says_what_it_is_for():
    faults = [
        (file, 1, "the module has no docstring")
        for file in FILES
        if not ast.get_docstring(_tree(file))
    ]
    faults += [
        (file, node.lineno, f"{node.name} has no docstring")
        for file in FILES
        for node in _public(_tree(file))
        if not ast.get_docstring(node)
    ]
    assert not faults, _said(faults)


def _public(
    node: ast.Module | ast.ClassDef,
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """A module's or class's public functions and classes, and those inside its classes."""
    for child in node.body:
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        explained_elsewhere = ast.unparse(child.body[-1]) == "..." or any(
            ast.unparse(mark).rpartition(".")[2] in ("overload", "override", "setter")
            for mark in child.decorator_list
        )
        if not child.name.startswith("_") and not explained_elsewhere:
            yield child
            if isinstance(child, ast.ClassDef):
                yield from _public(child)


def test_no_module_is_a_drawer():
    drawers = [file for file in FILES if DRAWERS & set(file.removesuffix(".py").split("/"))]
    assert not drawers, f"{drawers} say nothing about what is inside; name the noun"


def test_the_top_level_holds_only_the_packages_and_the_command():
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert found == set(PACKAGES)
    assert [path.name for path in ROOT.glob("*.py")] == [DOOR]


INTERNAL = {
    "a path of one machine": r"/work/|/root/|/home/\w|/Users/\w",
    "a registry or index": r"--(?:extra-)?index-url|/simple/|https?://\S*(?:pypi|nexus|artifactory)",
    "a machine's name": r"\bfarm-\w",
    "a number in somebody's tracker": r"\bissue #\d",
    "how the text came about": r"\bsessions?\b",
}


def _texts() -> list[str]:
    """The committed text files; this one names what it forbids."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    names = [name for name in listed.split("\0") if name and name != "tests/test_architecture.py"]
    return [n for n in names if (ROOT / n).is_file() and b"\0" not in (ROOT / n).read_bytes()]


@pytest.mark.parametrize("what", INTERNAL)
def test_no_committed_text_speaks_of_internal_things(what):
    texts = _texts()
    if not texts:
        pytest.skip("not a git checkout: there is no list of committed files")
    faults = [
        f"{name} line {number}: {line.strip()[:100]}"
        for name in texts
        for number, line in enumerate((ROOT / name).read_text("utf-8").splitlines(), start=1)
        if re.search(INTERNAL[what], line, re.IGNORECASE)
    ]
    assert not faults, f"{what}:\n" + "\n".join(faults)
