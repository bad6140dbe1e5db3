"""The matrix: every lexical position of a shell command, each payload, really run by sh and bash.

In a position that is allowed every value arrives byte for byte; in all others validation refuses
the template, with its place and what to write.
"""

import os
import subprocess
from pathlib import Path
from typing import Final

import msgspec
import pytest

from control.model.errors import JobFailed
from control.model.json_values import Json
from control.model.surroundings.shell import ShellCommand
from tests.hostile.payloads import CANARY, HARMLESS, HOSTILE, PAYLOADS
from workers.job_params import AnyKind, WorkReader
from workers.kinds.shell import Shell, ShellParams

X: Final = "${{ run.x }}"
BOTH: Final = ("sh", "bash")
# Each writes its value between two marks; the name says where the template stands.
ALLOWED: Final[dict[str, str | list[str]]] = {
    "bare": "printf '<%s>' X",
    "bare, inside a word": "printf '%s' '<'X'>'",
    "bare, twice in a word": "printf '%s' X'<>'X",
    "double quotes": 'printf "%s" "<X>"',
    "double quotes beside expansions": 'v=; printf "%s" "<$v${v}X$(printf "")>"',
    "single quotes": "printf '%s' '<X>'",
    "all quotes in one word": "printf '%s' '<'\"\"X''\"\"'>'",
    "here-document": "cat <<EOF\n<X>\nEOF",
    "here-document with tabs stripped": "cat <<-EOF\n\t<X>\n\tEOF",
    "substitution in a here-document": "cat <<EOF\n<$(printf '%s>' X)\nEOF",
    "comment": "# X\nprintf '<>'",
    "comment after a command": "printf '<>' # 'X' \"X\" `X` $((X))",
    "command substitution": "printf '%s' $(printf '' X)'<'X'>'",
    "command substitution in double quotes": 'printf "%s" "$(printf "<%s>" X)"',
    "command substitution, all quoted": 'printf "%s" "$(printf "%s" "<X>")"',
    "assignment": "v=X; printf '<%s>' \"$v\"",
    "assignment in double quotes": 'v="<X>"; printf "%s" "$v"',
    "assignment for one command": 'V=X sh -c \'printf "<%s>" "$V"\'',
    "export": 'export V=X; sh -c \'printf "<%s>" "$V"\'',
    "loop over words": "for v in X; do printf '<%s>' \"$v\"; done",
    "subject of case": "case X in *) printf '<%s>' X;; esac",
    "pattern of case": "case X in X) printf '<%s>' X;; esac",
    "condition": "if [ X = X ]; then printf '<%s>' X; fi",
    "condition of a loop": "while [ x'X' != xX ]; do :; done; printf '<%s>' X",
    "function's body": "f() { printf '<%s>' X; }; f",
    "function's argument": "f() { printf '<%s>' \"$1\"; }; f X",
    "subshell": "(printf '<%s>' X)",
    "pipeline": "printf '<%s>' X | cat",
    "after and, or": "true && printf '<%s>' X || printf 'no'",
    "argument of sh -c": 'sh -c \'printf "<%s>" "$1"\' sh X',
    "argument of a script on standard input": "sh -s -- X <<'EOF'\nprintf '<%s>' \"$1\"\nEOF",
    "argument of python -c": "python3 -c 'import os,sys; os.write(1, b\"<%s>\" % os.fsencode(sys.argv[1]))' X",  # noqa: E501
    "argument of a started program": "env -i printf '<%s>' X",
    "variable of awk's environment": 'V=X awk \'BEGIN {printf "<%s>", ENVIRON["V"]}\'',
    "double quotes beside blanks": 'v=; printf "%s%s" "<$v X" "$v "">" | sed "s/^< /</;s/ >$/>/"',
    "two values in one text": 'printf "%s" "<X" ">"; : "X X"',
    "here-document that begins with blanks": "cat <<EOF | sed '1s/^  //'\n  <X>\nEOF",
    "here-document that begins with a backslash": "cat <<EOF | tail -c +2\n\\\\<X>\nEOF",
    "here-document with dollar signs": "cat <<EOF | tail -c +3\n\\$x<X>\nEOF",
    "beside a redirection": "printf '<%s>' 2>/dev/null X",
    "of a script's own option": 'echo \'printf "<%s>" "$2"\' >s; sh s -c X',
    "an option of a started program": "timeout 10 env -u NONE printf '<%s>' X",
    "own word of a starter": 'timeout 10 sh -c \'printf "<%s>" "$1"\' sh X',
    "of a program by a path": "$HOME/usr/bin/printf '<%s>' X",
    "behind dashes": "perl -e 'print \"<$ARGV[0]>\"' -- X",
    "a list's argument": ["printf", "<%s>", "X"],
    "a list's argument after code": ["sh", "-c", "printf '<%s>' \"$1\"", "sh", "X"],
}
BASH_ONLY: Final = {
    "array": "v=(X); printf '<%s>' \"${v[0]}\"",
    "here-string": "cat <<<'<'X'>'",
    "process substitution": "cat <(printf '<%s>' X)",
    "[[ … ]]": "[[ X == X ]] && printf '<%s>' X",
    "braces": "printf '%s' '<'{X,}'>' | head -c -2",
}
# What no quoting can make data. Each with a word of the reason.
REFUSED: Final[dict[str, tuple[str | list[str], str]]] = {
    "here-document with a quoted delimiter": ("cat <<'EOF'\nX\nEOF", "delimiter"),
    "here-document, delimiter in double quotes": ('cat <<"EOF"\nX\nEOF', "delimiter"),
    "here-document, delimiter with a backslash": ("cat <<\\EOF\nX\nEOF", "delimiter"),
    "arithmetic": ("echo $((X + 1))", "arithmetic"),
    "arithmetic in double quotes": ('echo "$((X))"', "arithmetic"),
    "old arithmetic": ("echo $[X]", "arithmetic"),
    "arithmetic command": ("((X))", "arithmetic"),
    "arithmetic loop": ("for ((i=0; i<X; i++)); do :; done", "arithmetic"),
    "arithmetic of a substitution": ("echo $(( $(echo X) ))", "arithmetic"),
    "backquotes": ("echo `echo X`", "backquotes"),
    "backquotes in double quotes": ('echo "`echo X`"', "backquotes"),
    "default of a variable": ('echo "${v:-X}"', "inside of"),
    "pattern of a variable": ("echo ${v#X}", "inside of"),
    "index of a variable": ("echo ${v[X]}", "index"),
    "index of an assignment": ("v[X]=1", "index"),
    "ANSI-C quotes": ("echo $'X'", "nothing is expanded"),
    "after a backslash": ("echo \\X", "cannot be told"),
    "after a backslash in double quotes": ('echo "\\X"', "cannot be told"),
    "name of the command": ("X arg", "names the program"),
    "name of the command in quotes": ('"X" arg', "names the program"),
    "name after an assignment": ("A=b X", "names the program"),
    "name after negations": ("! ! X", "start it"),
    "beside what cannot be read": ("echo X; fi (", "cannot be read at 1:"),
    "name of a variable": ("X=1", "names the program"),
    "eval": ("eval X", "`eval`"),
    "eval in quotes": ("eval 'echo X'", "`eval`"),
    "eval of a substitution": ('eval "$(echo X)"', "`eval`"),
    "sh -c in single quotes": ("sh -c 'echo X'", "`sh`"),
    "sh -c in double quotes": ('sh -c "echo X"', "`sh`"),
    "sh -ec": ("/bin/sh -ec X", "`sh`"),
    "bash with options": ("bash --norc -o pipefail -c 'X'", "`bash`"),
    "a script's name": ("sh X", "`sh`"),
    "python -c": ("python3 -c 'print(\"X\")'", "`python3`"),
    "python -m": ("python3.11 -m X", "`python3.11`"),
    "perl -ne": ("perl -ne 'print X'", "`perl`"),
    "awk": ("awk '/X/ {print}' file", "`awk`"),
    "awk -f": ("awk -f X", "`awk`"),
    "sed": ("sed 's/a/X/' file", "`sed`"),
    "sed -e": ("sed -n -e 's/a/X/e' file", "`sed`"),
    "sed, a second expression": ("sed -e p -e X file", "`sed`"),
    "jq": ("jq '.a == \"X\"' file", "`jq`"),
    "sed, a file": ("sed p X", "`sed`"),
    "a script on standard input": ("sh -s X <f", "`sh`"),
    "psql": ('psql -h db -c "SELECT X"', "`psql`"),
    "sqlite3": ("sqlite3 f.db \"SELECT 'X'\"", "`sqlite3`"),
    "ssh": ("ssh host echo X", "`ssh`"),
    "trap": ("trap 'echo X' EXIT", "`trap`"),
    "alias": ("alias a=X", "`alias`"),
    "source": (". X", "`.`"),
    "exec": ("exec X", "start it"),
    "env starts a program": ("env -i A=b X", "start it"),
    "env sh -c": ("env A=b sh -c 'echo X'", "`sh`"),
    "sudo -u sh -c": ("sudo -u ann sh -c 'echo X'", "`sh`"),
    "timeout sh -c": ("timeout 5 sh -c 'echo X'", "`sh`"),
    "xargs sh -c": ("ls | xargs -I{} sh -c 'echo {} X'", "`sh`"),
    "find -exec sh -c": ("find . -exec sh -c 'echo X' \\;", "`sh`"),
    "find -exec": ("find . -exec X \\;", "names the program"),
    "docker run sh -c": ('docker run image sh -c "echo X"', "`sh`"),
    "a shell's here-document": ("sh <<EOF\necho X\nEOF", "executes what it reads"),
    "a shell's here-document, with -s": ("bash -s <<EOF\necho X\nEOF", "executes what it reads"),
    "python's here-document": ("python3 - <<EOF\nprint(X)\nEOF", "executes what it reads"),
    "a database's here-document": ("psql db <<EOF\nSELECT X\nEOF", "executes what it reads"),
    "a shell's here-string": ("bash <<<X", "executes what it reads"),
    "piped into a shell": ("echo X | sh", "executes what it reads"),
    "piped into a shell, by steps": ("{ echo X; } | tee f | sudo bash", "executes what it reads"),
    "here-document piped into a shell": ("cat <<EOF | sh\nX\nEOF", "executes what it reads"),
    "piped into xargs sh": ("echo X | xargs -I{} sh -c '{}'", "executes what it reads"),
    "a shell's process substitution": ("bash <(echo X)", "`bash`"),
    "[[ -eq ]]": ("[[ X -eq 1 ]]", "-eq"),
    "[[ -v ]]": ("[[ -v X ]]", "-v"),
    "test -v": ("test -v X", "-v"),
    "printf's format": ("printf X", "format"),
    "printf's format, in quotes": ('printf -- "X\\n" a', "format"),
    "printf -v": ("printf -v X a", "-v"),
    "read": ("read X", "`read`"),
    "unset": ("unset X", "`unset`"),
    "let": ("let X", "`let`"),
    "declare -i": ("declare -i n=X", "declared"),
    "assignment to an integer": ("declare -i n; n=X", "declared"),
    "declare a name": ("declare X", "names"),
    "export a name": ("export X", "names"),
    "PATH": ("PATH=X make", "PATH"),
    "PS4": ("export PS4=X; set -x; true", "PS4"),
    "LD_PRELOAD of env": ("env LD_PRELOAD=X make", "LD_PRELOAD"),
    "code behind a redirection": ("python3 >o.txt -c 'print(\"X\")'", "`python3`"),
    "code behind an error's redirection": ("sh -c 2>/dev/null 'echo X'", "`sh`"),
    "eval behind a redirection": ('eval 2>&1 "echo X"', "`eval`"),
    "code behind a here-document": ("python3 <<EOF -c X\na\nEOF", "`python3`"),
    "input from a substitution": ("bash < <(echo X)", "executes what it reads"),
    "output to a substitution": ("echo X > >(sh)", "executes what it reads"),
    "all output to a substitution": ("exec > >(sh); echo X", "`exec`"),
    "a shell's /dev/stdin": ("sh /dev/stdin <<EOF\nX\nEOF", "executes what it reads"),
    "source's /dev/stdin": (". /dev/stdin <<EOF\nX\nEOF", "executes what it reads"),
    "sed's program from a pipe": ("echo X | sed -f - a", "executes what it reads"),
    "an editor's commands": ("ed -s a <<EOF\nX\nEOF", "executes what it reads"),
    "piped into what is not known": ("echo X | ${SHELL:-sh}", "executes what it reads"),
    "make's variable": ("make VERSION=X", "`make`"),
    "make's target": ("make -- X", "`make`"),
    "perl's files": ("perl -ne print -- X", "`perl`"),
    "perl's options": ("perl -e 'print @ARGV' X", "`perl`"),
    "node's options": ("node -e code X", "`node`"),
    "node -pe": ('node -pe "1+X"', "`node`"),
    "a program that is not known": ('$PY -c "print(X)"', "not known"),
    "a program with a default": ('${PYTHON:-python3} -c "print(X)"', "not known"),
    "a shell's + option": ("sh +e -c 'echo X'", "`sh`"),
    "a shell's --rcfile": ("bash --rcfile f -c 'echo X'", "`bash`"),
    "a shell's unknown option": ("sh -$(echo c) X", "`sh`"),
    "an unknown starter": ("strangewrap -v sh -c 'echo X'", "`sh`"),
    "fakeroot": ("fakeroot sh -c 'echo X'", "`sh`"),
    "uv run": ("uv run python -c 'print(\"X\")'", "`python`"),
    "git -c": ("git -c core.fsmonitor=X status", "`git"),
    "tar's program": ("tar cf a -I X b", "`tar"),
    "tar's command": ("tar xf a --to-command=X", "`tar"),
    "env -S": ('env -S "A=X ls"', "`env`"),
    "two templates of test": ("test X X", "`test"),
    "tmux": ('tmux new -d "echo X"', "`tmux`"),
    "a comment that is none": ("eval a\\\n#bX", "cannot be read"),
    "a word over two lines": ('sh -c "cd . && "\\\n"echo X"', "cannot be read"),
    "after a dollar sign": ("cat <<EOF\n$X\nEOF", "dollar"),
    "delimiter quoted in part": ("cat <<E'O'F\nX\nEOF", "cannot be read"),
    "name of a function": ("X() { :; }", "cannot be read at 1:"),
    "delimiter of a here-document": ("cat <<X\nX\n", "cannot be"),
    "a list's program": (["X", "a"], "names the program"),
    "a list's code": (["bash", "-c", "echo X"], "`bash`"),
    "a list's started code": (["env", "sh", "-c", "echo X"], "`sh`"),
}


def written(command: str | list[str]) -> Json:
    if isinstance(command, list):
        return [word.replace("X", X) for word in command]
    return command.replace("X", X)


def filled(command: str | list[str], value: object) -> tuple[list[str], dict[str, str]]:
    """The program, its arguments, and its variables, as a worker would start it."""
    kind: AnyKind = Shell()  # type: ignore[assignment]
    work = msgspec.json.encode({"params": {"command": written(command)}, "env": {}})
    document = msgspec.json.encode({"run": {"x": value}, "jobs": {}})
    read = WorkReader(kind).read(work, lambda: document)
    assert isinstance(read.params, ShellParams)
    made = read.params.command
    return ([made] if isinstance(made, str) else made), dict(read.env)


def executed(
    shell: str, command: str | list[str], value: object, directory: Path
) -> subprocess.CompletedProcess[bytes]:
    words, variables = filled(command, value)
    program = [shell, "-c", *words] if isinstance(command, str) else words
    env = {"PATH": os.environ["PATH"], "HOME": "", **variables}
    return subprocess.run(
        program, cwd=directory, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )


@pytest.mark.parametrize("shell", BOTH)
@pytest.mark.parametrize("position", [*ALLOWED, *BASH_ONLY])
def test_where_it_is_allowed_every_value_arrives_byte_for_byte(
    position: str, shell: str, tmp_path: Path
) -> None:
    command = {**ALLOWED, **BASH_ONLY}[position]
    assert list(ShellCommand().problems(written(command), {})) == []
    if position in BASH_ONLY and shell != "bash":
        pytest.skip("sh has no such syntax")
    for value in PAYLOADS:
        ended = executed(shell, command, value, tmp_path)
        shown = (position, value, ended)
        assert not (tmp_path / CANARY).exists(), shown
        assert ended.returncode == 0, shown
        expected = f"<{value}>" if "twice" not in position else f"{value}<>{value}"
        if position.startswith("comment"):
            expected = "<>"
        ending = "\n" if position.startswith("here-") or "in a here-" in position else ""
        assert ended.stdout.decode() == expected + ending, shown


@pytest.mark.parametrize("position", REFUSED)
def test_elsewhere_it_is_refused_with_its_place_and_what_to_write(position: str) -> None:
    command, word = REFUSED[position]
    problems = list(ShellCommand().problems(written(command), {}))
    assert problems
    for problem in problems:
        assert word in problem.message
        assert f"{X} at line " in problem.message
        assert problem.hint
    with pytest.raises(JobFailed, match="would become code"):
        filled(command, "v")  # Also where an older version has let it through.


def test_the_matrix_has_its_size() -> None:
    assert len(ALLOWED) + len(BASH_ONLY) + len(REFUSED) >= 25
    assert len(PAYLOADS) >= 30
    assert len(HOSTILE) >= len(HARMLESS)


@pytest.mark.parametrize(
    ("value", "shown"), [(5, "5"), (True, "true"), (None, "null"), ([1, "a b"], '[1,"a b"]')]
)
def test_what_is_no_text_arrives_as_json(value: object, shown: str, tmp_path: Path) -> None:
    assert executed("sh", "printf '<%s>' X", value, tmp_path).stdout.decode() == f"<{shown}>"
    assert executed("sh", ["printf", "<%s>", "X"], value, tmp_path).stdout.decode() == f"<{shown}>"
