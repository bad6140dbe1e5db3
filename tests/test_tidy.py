"""Decides what the source tree must look like; each rule lists every place that breaks it."""

import ast
import functools
import io
import os
import re
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("control", "workers", "store", "tui")
PYTHON_FOLDERS: Final = (*PACKAGES, "bench", "tests", "docs", "examples")
SKIPPED_FOLDERS: Final = {"__pycache__", "build", "dist"}

MODULE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60
FOLDER_MODULES_MAX: Final = 22
IN_THE_GLOSSARYS_WORDS: Final = ("control/cli/", "workers/")
"""The packages that were rewritten in them; the others follow, one by one."""

# The joints keep this file from finding itself.
UNFINISHED: Final = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
MACHINE_PATH: Final = re.compile(r"(?<![\w.~}/-])/(home|root|Users|work)/\w")
FROM_AN_INDEX: Final = re.compile(
    r"\b(pipx?|uv)\b[^`\n]*\binstall\b[^`\n]*[\s'\"]taskplane(?![\w./-])|\binstall taskplane\["
)
VAGUE_NAMES: Final = {"common", "helper", "helpers", "manager", "managers", "util", "utils"}

TOPICS_OWNER: Final = "control/model/names.py"
TOPICS: Final = {
    "task_runs",
    "task_runs_load_balanced",
    "task_run_results",
    "query_task_run_results",
    "notification_task_run_results",
    "task_run_events",
    "task_commands",
}

# Time and chance come in here and travel on as arguments.
CLOCK_OWNERS: Final = {
    "control/process/control_plane.py",
    "control/model/clock.py",
    "workers/app.py",
}
CLOCK_CALLS: Final = re.compile(
    r"(datetime\.)?(datetime\.(now|utcnow|today)|date\.today)"
    r"|time\.(time|monotonic|perf_counter)(_ns)?|(uuid\.)?uuid[14]|random\.\w+"
)


@functools.cache
def text_files() -> dict[str, str]:
    """Return every text file of the tree by its path, without what tools leave behind."""
    found = {}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in SKIPPED_FOLDERS and (name == ".ci" or not name.startswith("."))
        ]
        for file in files:
            path = Path(folder, file)
            if path.suffix == ".pyc" or file.startswith(".coverage"):
                continue
            try:
                found[path.relative_to(ROOT).as_posix()] = path.read_text("utf-8")
            except UnicodeDecodeError:
                continue  # An image or a database has no style.
    return found


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Return the syntax tree of every Python file of ours by its path."""
    return {
        path: ast.parse(text, path)
        for path, text in text_files().items()
        if path.endswith(".py") and path.split("/")[0] in PYTHON_FOLDERS
    }


def in_packages(path: str) -> bool:
    """Tell whether a file is part of what users install."""
    return path.split("/", maxsplit=1)[0] in PACKAGES


def dotted(path: str) -> str:
    """Return the name a Python file is imported by."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def docstrings(tree: ast.Module) -> set[int]:
    """Return the identities of the nodes that are documentation, not values."""
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and value of every string literal that is not documentation."""
    documentation = docstrings(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in documentation:
            continue
        if isinstance(node.value, str):
            yield node.lineno, node.value


def lines_matching(pattern: re.Pattern[str]) -> list[str]:
    """Return `path:line: text` wherever the pattern stands in a text file."""
    return [
        f"{path}:{number}: {line.strip()}"
        for path, text in text_files().items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_modules_are_short() -> None:
    lengths = {path: text_files()[path].count("\n") for path in modules()}
    too_long = {path: lines for path, lines in lengths.items() if lines > MODULE_LINES_MAX}
    assert not too_long


def test_folders_are_small() -> None:
    """A reader scans all names of a folder; a folder with more modules holds several concerns."""
    sizes = Counter(str(Path(path).parent) for path in modules() if "__init__" not in path)
    assert not {folder: size for folder, size in sizes.items() if size > FOLDER_MODULES_MAX}


def test_functions_are_short() -> None:
    too_long = [
        f"{path}:{node.lineno}: {node.name} has {length} lines"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not too_long


def test_modules_say_what_they_decide_or_own() -> None:
    silent = [
        path
        for path, tree in modules().items()
        if tree.body and not (ast.get_docstring(tree) or "").split("\n")[0].strip()
    ]
    assert not silent


def test_package_markers_are_empty() -> None:
    filled = [
        path for path, tree in modules().items() if path.endswith("/__init__.py") and tree.body
    ]
    assert not filled


def test_nothing_is_left_unfinished() -> None:
    assert not lines_matching(UNFINISHED)


def test_names_are_not_vague() -> None:
    vague = [
        path
        for path in modules()
        if VAGUE_NAMES & {word for part in Path(path).parts for word in re.split(r"[_.]", part)}
    ]
    assert not vague


def test_topics_are_named_in_one_place() -> None:
    strays = [
        f"{path}:{line}: {value}"
        for path, tree in modules().items()
        if (in_packages(path) or path.startswith("bench/")) and path != TOPICS_OWNER
        for line, value in strings(tree)
        if value in TOPICS
    ]
    assert not strays


def test_time_and_chance_come_in_at_the_top() -> None:
    strays = [
        f"{path}:{node.lineno}: {ast.unparse(node.func)}"
        for path, tree in modules().items()
        if in_packages(path) and path not in CLOCK_OWNERS
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and CLOCK_CALLS.fullmatch(ast.unparse(node.func))
    ]
    assert not strays


def test_no_path_of_one_machine() -> None:
    here = re.compile(re.escape(f"{ROOT}/"))
    assert not lines_matching(MACHINE_PATH) + lines_matching(here)


def test_nothing_says_to_install_us_from_a_package_index() -> None:
    # We publish to none; what another publishes under our name must not be installed by our advice.
    assert not lines_matching(FROM_AN_INDEX)


def glossary(section: str) -> list[list[str]]:
    """Return the rows of the table of a section of the glossary, as cells."""
    text = text_files()["docs/glossary.md"].partition(f"## {section}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:]]


def written_words(path: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the words, in lower case, of names, comments, and documentation."""
    documentation = {
        node.lineno
        for node in ast.walk(modules()[path])
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for token in tokenize.generate_tokens(io.StringIO(text_files()[path]).readline):
        row, text = token.start[0], token.string
        is_text = token.type == tokenize.COMMENT or row in documentation
        if token.type == tokenize.NAME:
            parts = re.split(r"_|(?<=[a-z0-9])(?=[A-Z])", text)
        elif is_text and token.type in {tokenize.COMMENT, tokenize.STRING}:
            parts = re.findall(r"[A-Za-z]+", re.sub(r"`[^`]*`", "", text))
        else:
            continue
        words = [part.lower() for part in parts]
        yield from (
            (row, word)
            for before, word in zip(["", *words], words, strict=False)
            if (before, word) != ("not", "found")  # As in FileNotFoundError.
        )


def test_code_has_no_word_that_the_glossary_bans() -> None:
    banned = {
        word.strip() for row in glossary("Words that we do not use") for word in row[0].split(",")
    }
    assert len(banned) > 20
    released = {row[0].strip("`") for row in glossary("Released names")}
    lines = {path: text_files()[path].splitlines() for path in modules()}
    faults = {
        f"{path}:{row}: {word}"
        for path in modules()
        if path.startswith(IN_THE_GLOSSARYS_WORDS)
        for row, word in written_words(path)
        if word in banned and not any(name in lines[path][row - 1] for name in released)
    }
    assert not faults


def test_no_word_has_two_senses() -> None:
    sections = re.findall(r"(?m)^## (.*)$", text_files()["docs/glossary.md"])[:-2]
    rows = [row for name in sections for row in glossary(name)]
    words = [word.strip() for row in rows for word in row[0].split(",")]
    assert not [word for word, count in Counter(words).items() if count > 1]


def test_no_class_name_stands_twice() -> None:
    """A name means one thing in the whole product; classes within a class have its name, too."""
    released = {row[0].strip("`") for row in glossary("Released names")}
    names = Counter(
        node.name
        for path, tree in modules().items()
        if in_packages(path) or path.startswith("bench/")
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    )
    assert not {name for name, count in names.items() if count > 1} - released


def references(tree: ast.Module) -> Iterator[str]:
    """Yield every dotted name a module imports, or names in a string (`module:attribute` too)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for _, value in strings(tree):
        yield value.partition(":")[0]


def entry_points() -> Iterator[str]:
    """Yield the modules the installed scripts and plug-ins start in."""
    project = tomllib.loads(text_files()["pyproject.toml"])["project"]
    groups = [project.get("scripts", {}), *project.get("entry-points", {}).values()]
    for group in groups:
        for target in group.values():
            yield target.partition(":")[0]


def test_no_module_is_dead() -> None:
    alive = set(entry_points())
    for path, tree in modules().items():
        alive.update(name for name in references(tree) if name != dotted(path))
    dead = [
        path
        for path in modules()
        if in_packages(path)
        and not path.endswith(("/__init__.py", "/__main__.py"))
        and dotted(path) not in alive
    ]
    assert not dead
