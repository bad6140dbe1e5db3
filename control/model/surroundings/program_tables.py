"""Owns what is known of programs that execute words of their command line, or their input."""

import re
from typing import Final, NamedTuple


class Language(NamedTuple):
    """How an interpreter takes its program. Letters are those of short options."""

    code: str = ""  # Options whose argument is program text, or names a file of it.
    long_code: tuple[str, ...] = ()
    data: str = ""  # Options whose argument is data.
    reads_data: bool = False  # Its standard input is what it works on, not its program.
    all_code: bool = False  # Every plain word is code, not only the first.
    permutes: bool = False  # Options may come after plain words, until `--`.


SHELL: Final = Language(data="oO")
_PYTHON: Final = Language(code="cm", data="WX")
_JS: Final = Language(code="epr", long_code=("--eval", "--print", "--require", "--import"))
_SQL: Final = Language(
    code="cef",
    long_code=("--command", "--execute", "--cmd", "--file", "--init-command"),
    data="hpUdvPuD",
    all_code=True,
)
LANGUAGES: Final[dict[str, Language]] = {
    **dict.fromkeys(
        ("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "fish", "rbash", "csh", "tcsh"), SHELL
    ),
    **dict.fromkeys(("python", "pypy"), _PYTHON),
    **dict.fromkeys(("node", "nodejs"), _JS),
    **dict.fromkeys(("psql", "mysql", "mariadb", "sqlite3", "duckdb"), _SQL),
    **dict.fromkeys(
        ("awk", "gawk", "mawk", "nawk"),
        Language("ef", ("--source", "--file"), data="vF", reads_data=True),
    ),
    **dict.fromkeys(
        ("sed", "gsed"),
        Language("ef", ("--expression", "--file"), data="l", reads_data=True, permutes=True),
    ),
    "jq": Language("fL", ("--from-file",), reads_data=True, permutes=True),
    "perl": Language("eEfmM"),
    "ruby": Language("er"),
    "php": Language("rfBREd", ("--run",)),
    **dict.fromkeys(("lua", "luajit"), Language("el")),
    **dict.fromkeys(("R", "Rscript", "julia"), Language("eEfL", ("--eval", "--print"))),
    **dict.fromkeys(("tclsh", "expect"), Language("cf")),
    **dict.fromkeys(("bc", "dc"), Language("ef", ("--expression", "--file"))),
}
VERSIONED: Final = re.compile(r"(python|pypy|perl|ruby|lua|php|node)[0-9][0-9.]*")
# Long options that take so many arguments, all of them data.
LONG_DATA: Final = {"--arg": 2, "--argjson": 2, "--rawfile": 2, "--slurpfile": 2}

# Builtins and programs that execute any of their arguments.
EVALUATE: Final = {
    "eval": "`eval` executes its arguments",
    ".": "`.` executes a file",
    "source": "`source` executes a file",
    "trap": "`trap` executes its argument",
    "alias": "`alias` makes commands of its arguments",
    "let": "`let` evaluates its arguments",
    "ssh": "`ssh` has a remote shell execute its arguments, and its options start programs",
    "su": "`su` hands its arguments to a shell",
    "watch": "`watch` hands its arguments to a shell",
    "parallel": "`parallel` hands its arguments to a shell",
    "unset": "`unset` evaluates names",
    "read": "`read` evaluates names",
    "mapfile": "`mapfile` evaluates names",
    "readarray": "`readarray` evaluates names",
    "getopts": "`getopts` evaluates names",
    "complete": "`complete` executes its arguments",
    "compgen": "`compgen` executes its arguments",
    "bind": "`bind` executes its arguments",
    "enable": "`enable` loads code",
}
# Programs that start the program that their words name,
STARTERS: Final = frozenset(
    (
        "!", "env", "sudo", "doas", "nohup", "nice", "ionice", "timeout", "time", "setsid",
        "stdbuf", "xargs", "command", "builtin", "exec", "coproc", "flock", "chroot", "runuser",
        "unshare", "nsenter", "strace", "ltrace", "taskset", "chrt", "systemd-run", "busybox",
        "unbuffer", "setpriv", "prlimit", "bwrap", "firejail", "script",
    )
)  # fmt: skip
# and those where words of their own, such as an image's name, come before it.
CARRIERS: Final = frozenset(("find", "fd", "docker", "podman", "nerdctl", "kubectl", "lxc"))
EXEC_OPTIONS: Final = frozenset(("-exec", "-execdir", "-ok", "-okdir", "-x", "-X"))

# What shells, loaders, and programs execute, or evaluate, when it stands in the environment.
_CODE_VARIABLES: Final = frozenset(
    (
        "PATH", "IFS", "ENV", "BASH_ENV", "PS0", "PS1", "PS2", "PS4", "PROMPT_COMMAND", "SHELLOPTS",
        "BASHOPTS", "SHELL", "RANDOM", "SRANDOM", "SECONDS", "OPTIND", "HISTCMD", "LINENO",
        "EDITOR", "VISUAL", "PAGER", "BROWSER", "MANPAGER", "LESSOPEN", "LESSCLOSE", "GIT_SSH",
        "GIT_SSH_COMMAND", "GIT_EDITOR", "GIT_PAGER", "GIT_ASKPASS", "GIT_EXTERNAL_DIFF",
        "GIT_PROXY_COMMAND", "GIT_EXEC_PATH", "GIT_TEMPLATE_DIR", "SSH_ASKPASS", "PYTHONPATH",
        "PYTHONHOME", "PYTHONSTARTUP", "PYTHONBREAKPOINT", "PYTHONWARNINGS", "PERL5LIB",
        "PERL5OPT", "PERL5DB", "PERLLIB", "RUBYLIB", "RUBYOPT", "NODE_OPTIONS", "NODE_PATH",
        "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "LUA_INIT", "LUA_PATH",
        "LUA_CPATH", "R_PROFILE", "R_PROFILE_USER", "TCLLIBPATH", "MAKEFLAGS", "MAKEFILES",
        "GNUMAKEFLAGS", "CC", "CXX", "GCONV_PATH", "OPENSSL_CONF", "TAR_OPTIONS", "RSYNC_RSH",
        "AWKPATH", "AWKLIBPATH",
    )
)  # fmt: skip
_CODE_PREFIXES: Final = ("BASH_FUNC_", "LD_", "DYLD_", "GIT_CONFIG")


def is_code_variable(name: str) -> bool:
    """Whether what stands in a variable of this name is executed or evaluated."""
    return name in _CODE_VARIABLES or name.startswith(_CODE_PREFIXES)
