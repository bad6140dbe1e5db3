"""Owns what is known of programs that execute words of their command line, or their input."""

import re
from typing import Final, NamedTuple

from control.model.surroundings.refusals import ARGUMENT, NAME


class Language(NamedTuple):
    """How an interpreter takes its program. Letters are those of short options."""

    code: str = ""  # Options whose argument is program text, or names a file of it.
    long_code: tuple[str, ...] = ()
    data: str = ""  # Options whose argument is data.
    inline: bool = False  # The first plain word is program text, and the input is data.
    all_code: bool = False  # Every plain word is code, not only the first.
    permutes: bool = False  # Options may come after plain words, until `--`.
    ends_options: bool = False  # None may come after the option with the program.
    opens_commands: str = ""  # With these options, later words are opened as commands.
    instead: str = ARGUMENT


SHELL: Final = Language(data="oO")
_PYTHON: Final = Language(
    "cm",
    data="WX",
    ends_options=True,
    instead="pass it as an argument, `python3 -c 'import sys; print(sys.argv[1])' TEMPLATE`",
)
_JS: Final = Language(
    "epr",
    ("--eval", "--print", "--require", "--import"),
    instead="pass it behind `--`, as in `node -e 'console.log(process.argv[1])' -- TEMPLATE`",
)
_SQL: Final = Language(
    "cef",
    ("--command", "--execute", "--cmd", "--file", "--init-command"),
    data="hpUdvPuD",
    all_code=True,
    instead="write a variable of the client, as in `psql -v value=TEMPLATE -f FILE` and :'value'",
)
_AWK: Final = Language(
    "ef",
    ("--source", "--file"),
    data="vF",
    inline=True,
    instead='set `env: {VALUE: "TEMPLATE"}` for the job, and write ENVIRON["VALUE"] in the program',
)
LANGUAGES: Final[dict[str, Language]] = {
    **dict.fromkeys(
        ("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "fish", "rbash", "csh", "tcsh"), SHELL
    ),
    **dict.fromkeys(("python", "pypy", "ipython"), _PYTHON),
    **dict.fromkeys(("node", "nodejs", "bun", "deno", "tsx"), _JS),
    **dict.fromkeys(("psql", "mysql", "mariadb", "sqlite3", "duckdb"), _SQL),
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), _AWK),
    **dict.fromkeys(
        ("sed", "gsed"),
        Language(
            "ef",
            ("--expression", "--file"),
            data="l",
            inline=True,
            permutes=True,
            instead="use a program that takes data, such as awk with ENVIRON",
        ),
    ),
    "jq": Language(
        "fL",
        ("--from-file",),
        inline=True,
        permutes=True,
        instead="pass it by name, as in `jq --arg value TEMPLATE '… $value …'`",
    ),
    "perl": Language("eEfmM", opens_commands="np"),
    "ruby": Language("er"),
    "php": Language("rfBREd", ("--run",)),
    **dict.fromkeys(("lua", "luajit"), Language("el")),
    **dict.fromkeys(("R", "Rscript", "julia"), Language("eEfL", ("--eval", "--print"))),
    **dict.fromkeys(("tclsh", "expect"), Language("cf")),
    **dict.fromkeys(("pwsh", "powershell"), Language("c")),
    **dict.fromkeys(("bc", "dc"), Language("ef", ("--expression", "--file"))),
}
VERSIONED: Final = re.compile(r"(python|pypy|perl|ruby|lua|php|node)[0-9][0-9.]*")
# Long options that take so many arguments, all of them data.
LONG_DATA: Final = {
    "--arg": 2, "--argjson": 2, "--rawfile": 2, "--slurpfile": 2, "--rcfile": 1, "--init-file": 1,
}  # fmt: skip
STDIN: Final = frozenset(("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"))

_SSH: Final = (
    "send it to what runs there, as in `printf '%s\\n' TEMPLATE | ssh host 'read -r value; "
    'echo "$value"\'`'
)
_MAKE: Final = (
    "choose among targets, `case TEMPLATE in a) make a;; b) make b;; esac`; for a value set "
    '`env: {VALUE: "TEMPLATE"}` for the job, and write "$$VALUE" in the recipe'
)
_READS_NAMES: Final = "`{0}` evaluates names"
# Builtins and programs that execute any of their arguments: why, and what to write instead.
EVALUATE: Final[dict[str, tuple[str, str]]] = {
    "eval": (
        "`eval` executes its arguments",
        "let the code read a variable: eval 'echo \"$value\"'",
    ),
    ".": ("`.` executes a file", NAME),
    "source": ("`source` executes a file", NAME),
    "trap": ("`trap` executes its argument", "let the code read a variable, in single quotes"),
    "alias": ("`alias` makes commands of its arguments", "write a function that takes arguments"),
    "let": ("`let` evaluates its arguments", "compute with expr: $(expr TEMPLATE + 1)"),
    "ssh": ("`ssh` has a remote shell execute its arguments, and its options start programs", _SSH),
    "su": ("`su` hands its arguments to a shell", ARGUMENT),
    "watch": ("`watch` hands its arguments to a shell", ARGUMENT),
    "parallel": ("`parallel` hands its arguments to a shell", ARGUMENT),
    "tmux": ("`tmux` hands its arguments to a shell", ARGUMENT),
    "screen": ("`screen` executes its arguments", ARGUMENT),
    **dict.fromkeys(
        ("make", "gmake"),
        ("`make` expands what its arguments hold, also $(shell …)", _MAKE),
    ),
    **dict.fromkeys(
        ("vim", "vi", "nvim", "ex", "gdb"), ("it executes commands among its arguments", ARGUMENT)
    ),
    **{
        name: (_READS_NAMES.format(name), NAME)
        for name in ("unset", "read", "mapfile", "readarray", "getopts")
    },
    **dict.fromkeys(("complete", "compgen", "bind", "enable"), ("it executes arguments", ARGUMENT)),
}
# Options whose argument a program executes, though its other arguments are data.
CODE_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "tar": ("-I", "--to-command", "--use-compress-program", "--checkpoint-action", "-F",
            "--info-script", "--new-volume-script", "--rsh-command"),
    "git": ("-c", "--exec", "-x", "--upload-pack", "--receive-pack", "--config-env", "-u"),
    "rsync": ("-e", "--rsh", "--rsync-path"),
    "scp": ("-o", "-S"),
    "sftp": ("-o", "-S", "-b"),
    "zip": ("-TT", "--unzip-command"),
    "sort": ("--compress-program",),
    "split": ("--filter",),
    "npm": ("-c", "--call"),
    "npx": ("-c", "--call"),
    "ansible": ("-a", "--args"),
    "test": ("-v", "-R"),
    "[": ("-v", "-R"),
    "printf": ("-v",),
}  # fmt: skip
# Programs that execute what they read.
READERS: Final = frozenset(
    ("ed", "ex", "vi", "vim", "at", "batch", "crontab", "sftp", "ftp", "lftp", "gdb", "m4", "su",
     "parallel", "telnet", "eval", ".", "source")
)  # fmt: skip
# Programs that start the one that their words name: the letters of options that take an argument,
# and how many plain words of their own come before it.
STARTERS: Final[dict[str, tuple[str, int]]] = {
    "!": ("", 0), "env": ("uC", 0), "sudo": ("ughpCTDR", 0), "doas": ("uC", 0), "nohup": ("", 0),
    "nice": ("n", 0), "ionice": ("cnp", 0), "timeout": ("ks", 1), "time": ("fo", 0),
    "setsid": ("", 0), "stdbuf": ("ioe", 0), "xargs": ("PnILdsaE", 0), "command": ("", 0),
    "builtin": ("", 0), "exec": ("a", 0), "coproc": ("", 0), "flock": ("wE", 1),
    "chroot": ("", 1), "runuser": ("ugG", 0), "unshare": ("RwSG", 0), "nsenter": ("tSG", 0),
    "strace": ("opesaEu", 0), "ltrace": ("opesau", 0), "taskset": ("p", 1), "chrt": ("p", 1),
    "systemd-run": ("pu", 0), "busybox": ("", 0), "unbuffer": ("", 0), "setpriv": ("", 0),
    "prlimit": ("p", 0), "bwrap": ("", 0), "firejail": ("", 0), "script": ("", 0),
    "fakeroot": ("lf", 0), "valgrind": ("", 0), "gosu": ("", 1), "su-exec": ("", 1),
    "tini": ("", 0), "dumb-init": ("", 0), "ssh-agent": ("", 0), "dbus-run-session": ("", 0),
    "sshpass": ("pf", 0), "caffeinate": ("", 0),
}  # fmt: skip
# As those, but words of a form of their own, such as an image's name, come before it.
CARRIERS: Final = frozenset(
    ("find", "fd", "docker", "docker-compose", "podman", "nerdctl", "kubectl", "oc", "lxc", "uv",
     "poetry", "pipenv", "conda", "bundle", "perf", "xvfb-run", "hatch", "npx", "npm")
)  # fmt: skip
EXEC_OPTIONS: Final = frozenset(("-exec", "-execdir", "-ok", "-okdir", "-x", "-X"))

# What shells, loaders, and programs execute, or evaluate, when it stands in the environment.
_CODE_VARIABLES: Final = frozenset(
    (
        "PATH", "IFS", "BASH_ENV", "PS0", "PS1", "PS2", "PS4", "PROMPT_COMMAND", "SHELLOPTS",
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
_CODE_SUFFIXES: Final = (
    "_PAGER", "_EDITOR", "_COMMAND", "_PASSCOMMAND", "_SSH", "_RSH", "_ASKPASS", "_OPTIONS",
    "_OPTS", "FLAGS", "_WRAPPER", "_STARTUP_HOOKS", "_SCRIPT_SHELL", "PYTHONUSERBASE", "VIMINIT",
    "EXINIT", "PSQLRC", "ZDOTDIR", "CLASSPATH", "PERL5SHELL", "CONNECT_PROG",
)  # fmt: skip


def is_code_variable(name: str) -> bool:
    """Whether what stands in a variable of this name is executed or evaluated."""
    known = name in _CODE_VARIABLES or name.startswith(_CODE_PREFIXES)
    return known or name.endswith(_CODE_SUFFIXES)
