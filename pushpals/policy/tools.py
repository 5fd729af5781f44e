"""What the policy knows about particular programs: launchers, interpreters, installers, network tools.

Tables only. A program that is in none of them is ``exec.plain``; being listed never allows anything.
"""

from __future__ import annotations

import re

import msgspec

from pushpals.policy.words import words_in

ENV_ALLOWED = words_in(
    "CI NO_COLOR FORCE_COLOR PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED PYTHONHASHSEED TZ LANG LC_ALL COLUMNS"
)
"""Variables whose assignment changes nothing about what runs. A policy may add a project's own."""

SYSTEM_DIRS = words_in(
    "/bin /sbin /usr/bin /usr/sbin /usr/local/bin /usr/local/sbin /usr/lib/git-core /usr/libexec/git-core"
)

SHELLS = words_in("sh bash dash ash ksh mksh rbash")
"""Their scripts are read by the same parser."""
FOREIGN_SHELLS = words_in("zsh fish csh tcsh rc nu pwsh xonsh elvish")

INTERPRETERS = re.compile(
    r"(?:python|pypy|pytest|ruby|perl|php|lua|node|nodejs)[0-9.]*|"
    r"(?:pytest-\d|py\.test|deno|bun|luajit|irb|tclsh|wish|awk|gawk|mawk|nawk|make|gmake|cmake|ctest|ninja|meson|"
    r"bazel|tox|nox|hatch|invoke|fab|just|rake|bundle|rspec|cargo|rustc|go|npm|npx|pnpm|yarn|bunx|jest|vitest|"
    r"mocha|tsx|ts-node|tsc|mvn|gradle|ant|java|jshell|scala|kotlin|dotnet|swift|mix|elixir|erl|ghci|runghc|"
    r"cabal|stack|Rscript|R|julia|octave|sbt|pre-commit|coverage|mypy|pylint|sphinx-build|mkdocs|jupyter|"
    r"ipython|nbval|behave|robot|playwright|cypress|eslint|prettier|webpack|vite|uv|poetry|pdm|pipenv|conda)"
)
"""Programs that run code from the tree: ``exec.interp``."""

OPAQUE = words_in(
    "vi vim nvim view ed ex emacs nano less more most man info tmux screen expect gdb lldb socat nc "
    "ncat netcat telnet ftp dc bc sqlite3 psql mysql xdg-open open dbus-send busctl crash tclsh pico "
    "mutt mail"
)
"""Programs with a way to run others that cannot be seen from outside: ``exec.opaque``."""


class Launcher(msgspec.Struct, frozen=True, kw_only=True):
    """A program that runs another one given on its command line."""

    short: str = ""
    short_value: str = ""
    long: frozenset[str] = frozenset()
    operands: int = 0
    """Words between the flags and the inner command."""
    operand: str = r".*"
    assignments: bool = False
    """Whether ``NAME=VALUE`` words may stand before the inner command."""
    digits: bool = False
    whole: bool = True
    """Whether the inner command is all there is. If not, the whole stays ``exec.opaque``."""


def _launcher(short: str = "", value: str = "", long: str = "", **rest: object) -> Launcher:
    return msgspec.convert(
        {"short": short, "short_value": value, "long": frozenset(long.split()), **rest}, Launcher
    )


LAUNCHERS: dict[str, Launcher] = {
    "env": _launcher("i0v", "u", "--ignore-environment --unset= --null --debug", assignments=True),
    "nice": _launcher("", "n", "--adjustment=", digits=True),
    "ionice": _launcher("t", "cn", "--ignore --class= --classdata="),
    "timeout": _launcher(
        "v", "ks", "--preserve-status --foreground --verbose --kill-after= --signal=",
        operands=1, operand=r"\d{1,9}(?:\.\d{1,9})?[smhd]?",
    ),
    "nohup": _launcher(),
    "stdbuf": _launcher("", "ioe", "--input= --output= --error="),
    "setsid": _launcher("cfw", "", "--ctty --fork --wait"),
    "time": _launcher("pvq", "", "--portability --verbose --quiet", assignments=True),
    "!": _launcher(whole=False),
    "command": _launcher("p"),
    "builtin": _launcher(),
    "exec": _launcher("cl", "a", whole=False),
    "coproc": _launcher(assignments=True, whole=False),
    "xargs": _launcher(
        "0rtxp", "nPLIdEsa",
        "--null --no-run-if-empty --verbose --exit --max-args= --max-procs= --max-lines= "
        "--replace= --delimiter= --max-chars= --arg-file=", whole=False,
    ),
    "busybox": _launcher(whole=False),
    "toybox": _launcher(whole=False),
    "flock": _launcher("suxFon", "wE", operands=1, whole=False),
    "taskset": _launcher("ac", "", operands=1, whole=False),
    "chrt": _launcher("bfiorRv", "TPD", operands=1, whole=False),
    "npx": _launcher("yqc", "p", "--yes --no --quiet --package=", whole=False),
    "bunx": _launcher(whole=False),
    "uvx": _launcher("q", "p", "--from= --with= --python=", whole=False),
}  # fmt: skip
"""Launchers whose flags are known. A flag that is not makes the whole ``exec.opaque``."""

GUESSED_LAUNCHERS = words_in(
    "strace ltrace gdb valgrind parallel sem watch script entr unbuffer chronic eatmydata fakeroot "
    "faketime proot rlwrap dbus-run-session xvfb-run hyperfine perf catchsegv cgexec numactl prlimit "
    "ssh rsh torsocks torify proxychains proxychains4 start-stop-daemon daemonize ssh-agent direnv "
    "dotenv setarch linux32 linux64 i386 x86_64 uname26 choom runcon newrole winpty caffeinate arch "
    "softlimit envdir chpst s6-setuidgid tini dumb-init gosu su-exec sg sshpass rust-gdb nodemon "
    "concurrently retry doppler op"
)
"""Programs that start others and whose flags are not modelled: the inner command is guessed for denials."""

RUNNERS: dict[str, str] = {"uv": "run", "poetry": "run", "pdm": "run", "hatch": "run", "pipenv": "run",
                           "conda": "run", "pipx": "run", "npm": "exec", "pnpm": "exec", "yarn": "exec",
                           "bundle": "exec", "coverage": "run"}  # fmt: skip
"""Tools with a sub-command that starts a program."""

_PIP = words_in("install sync update")
_NODE = words_in(
    "install i in ins inst insta instal add ci clean-install ic "
    "install-clean update up upgrade install-test it install-ci-test cit link dlx create init x "
    "import dedupe"
)
INSTALLERS: dict[str, frozenset[str]] = {
    "pip": _PIP,
    "pipx": words_in("install inject upgrade upgrade-all reinstall run runpip install-all"),
    "pipenv": words_in("install sync update upgrade lock"),
    "uv": words_in("install add sync update get ci lock tool"),
    "poetry": words_in("install add sync update lock self"),
    "pdm": words_in("install add sync update lock"),
    "conda": words_in("install create update upgrade"),
    "npm": _NODE - {"x", "create", "init"} | {"create"},
    "pnpm": _NODE,
    "yarn": _NODE | {"", "install"},
    "bun": _NODE - {"init"},
    "bundle": frozenset({"", "install", "add", "update", "cache", "lock"}),
    "cargo": words_in("install add update fetch get binstall generate-lockfile"),
    "gem": words_in("install add update fetch i"),
    "go": words_in("get install add download"),
    "composer": words_in("install update require create-project"),
    "apt": words_in("install add update upgrade full-upgrade dist-upgrade build-dep"),
    "apk": words_in("add update upgrade fetch"),
    "dpkg": words_in("-i --install"),
    "brew": words_in("install update upgrade tap"),
    "dnf": words_in("install update upgrade"),
    "corepack": words_in("enable prepare install use up"),
    "rustup": words_in("install add update toolchain component target"),
    "easy_install": frozenset({"*"}),
    "npx": frozenset({"*"}),
    "bunx": frozenset({"*"}),
    "uvx": frozenset({"*"}),
}
"""Sub-commands that fetch or install packages: ``pkg.install``. ``""`` is the tool alone, ``*`` anything."""

INSTALLER_NAMES: dict[str, str] = {
    "pip3": "pip", "mamba": "conda", "micromamba": "conda", "apt-get": "apt", "aptitude": "apt",
    "yum": "dnf",
    "microdnf": "dnf", "gem3": "gem", "pipx3": "pipx", "yarnpkg": "yarn", "zypper": "dnf",
}  # fmt: skip

NETWORK_TOOLS = words_in(
    "curl wget wget2 http https httpie xh aria2c axel lynx w3m links elinks ftp lftp tnftp ncftp sftp "
    "scp ssh rsh mosh rsync nc ncat netcat socat telnet nmap ping ping6 dig nslookup drill host whois "
    "traceroute tracepath mtr gh glab hub aws gcloud az twine flyctl heroku vercel netlify wrangler "
    "s3cmd rclone websocat grpcurl ab hey siege ssh-keyscan ssh-copy-id yt-dlp youtube-dl tftp "
    "smbclient ldapsearch swaks sendmail msmtp redis-cli mongosh"
)
NETWORK_PORTS: dict[str, int] = {"ssh": 22, "scp": 22, "sftp": 22, "rsync": 22, "mosh": 22, "curl": 80,
                                 "wget": 80, "http": 80, "https": 443, "ftp": 21, "telnet": 23,
                                 "dig": 53, "nslookup": 53, "host": 53, "whois": 43}  # fmt: skip
NO_NETWORK_FLAGS = frozenset({"--version", "-V", "--help", "-h", "--manual", "-version", "--man"})

GIT_NETWORK = words_in("clone fetch pull ls-remote fetch-pack archive remote-http remote-https")
GIT_OPAQUE_FLAGS = (
    "-O", "--open-files-in-pager", "--upload-pack", "-u", "--exec", "-x", "--ext-diff", "--textconv",
    "--paginate",
    "--receive-pack", "-c", "--config", "--template", "--to-command", "--sequence-editor", "--msg-filter",
    "--tool", "--extcmd", "--strategy", "--gpg-sign", "-S", "--web-browser", "--browser",
)  # fmt: skip
"""Flags of sub-commands that make git run something else."""
GIT_VALUE_GLOBALS = frozenset({"-C", "-c", "--config-env", "--git-dir", "--work-tree", "--namespace",
"--super-prefix",
                               "--attr-source", "--list-cmds"})  # fmt: skip
GIT_COMMANDS = words_in(
    "add am annotate apply archive bisect blame branch bundle cat-file check-attr check-ignore "
    "check-mailmap check-ref-format checkout checkout-index cherry cherry-pick citool clean clone "
    "column commit commit-graph commit-tree config count-objects credential credential-cache "
    "credential-store daemon describe diff diff-files diff-index diff-tree difftool fast-export "
    "fast-import fetch fetch-pack filter-branch fmt-merge-msg for-each-ref format-patch fsck gc "
    "get-tar-commit-id grep gui hash-object help hook http-backend http-fetch http-push imap-send "
    "index-pack init instaweb interpret-trailers log ls-files ls-remote ls-tree mailinfo mailsplit "
    "maintenance merge merge-base merge-file merge-index merge-tree mergetool mktag mktree mv "
    "name-rev notes pack-objects pack-refs patch-id prune pull push range-diff read-tree rebase "
    "receive-pack reflog remote repack replace request-pull rerere reset restore rev-list rev-parse "
    "revert rm send-email send-pack shell shortlog show show-branch show-index show-ref "
    "sparse-checkout stage stash status stripspace submodule svn switch symbolic-ref tag unpack-file "
    "unpack-objects update-index update-ref update-server-info upload-archive upload-pack var "
    "verify-commit verify-pack verify-tag version whatchanged worktree write-tree"
)
"""Git's own sub-commands; any other word is an alias or a program: ``exec.opaque``."""
GIT_RUNS = words_in("difftool mergetool hook citool gui instaweb filter-branch svn shell daemon bisect")
"""Sub-commands whose work is to run something else."""
