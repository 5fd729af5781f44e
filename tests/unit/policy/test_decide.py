"""The command policy, as tables. Ids are those of the security design; the other half is ours."""

from __future__ import annotations

from random import Random
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushpals.policy.actions import ExecAction, LandAction, Level
from pushpals.policy.analysis import Facts
from pushpals.policy.decide import Decision, decide, explain
from pushpals.policy.presets import PresetName
from pushpals.policy.reasons import REASONS
from pushpals.policy.rules import Rule, builtin_policy, load_policy, load_repository_policy

Verdict = Literal["allow", "ask", "deny"]
Input = str | list[str]
RANK = {"allow": 0, "ask": 1, "deny": 2}


def action(given: Input, cwd: str = "/repo") -> ExecAction:
    return (
        ExecAction(script=given, cwd=cwd)
        if isinstance(given, str)
        else ExecAction(argv=tuple(given), cwd=cwd)
    )


def judge(given: Input, preset: PresetName = "standard", level: Level = "full") -> Decision:
    return decide(builtin_policy(preset), action(given), level)


def sh(line: str) -> list[str]:
    return line.split()


# id, input, strict, standard, a reason in the standard answer
TABLE: list[tuple[str, Input, Verdict, Verdict, str]] = [
    ("A01", sh("ls -la"), "allow", "allow", "readonly"),
    ("A02", "ls -la | head -5 2>/dev/null", "allow", "allow", "readonly"),
    ("A03", "ls && rm -rf build", "ask", "allow", "exec.plain"),
    ("A04", "rm -fr build", "ask", "allow", "exec.plain"),
    ("A05", "true && " * 199 + "sudo id", "deny", "deny", "priv"),
    ("A06", "true && " * 200 + "true", "deny", "deny", "parse.too-many"),
    ("A06b", "echo " + "(" * 100 + "a", "deny", "deny", "parse.error"),
    ("A06c", "( " * 70 + "ls" + " )" * 70, "deny", "deny", "parse.depth"),
    ("A06d", "echo " + "a" * 17_000, "deny", "deny", "parse.too-long"),
    ("A07", "ls;; curl x", "deny", "deny", "parse.error"),
    ("A07b", "ls ;; curl x", "deny", "deny", "parse.error"),
    ("A08", "ls &&", "deny", "deny", "parse.error"),
    ("A08b", "echo 'unfinished", "deny", "deny", "parse.error"),
    ("A08c", "done; ls", "deny", "deny", "parse.error"),
    ("A09", "ls\r\nid", "deny", "deny", "parse.cr"),
    ("A10", "ls\0id", "deny", "deny", "parse.nul"),
    ("A10b", ["ls", "a\0b"], "deny", "deny", "parse.nul"),
    ("A10c", "su\\\ndo id", "deny", "deny", "parse.continuation"),
    ("A10d", "ls \\\n  -l", "allow", "allow", "readonly"),
    ("A11", "echo $(id)", "ask", "allow", "exec.shell"),
    ("A11b", "echo $(sudo id)", "deny", "deny", "priv"),
    ("A11c", "echo `sudo id`", "deny", "deny", "priv"),
    ("A11d", 'echo "x $(echo "$(sudo id)")"', "deny", "deny", "priv"),
    ("A12", "ls <(sudo id)", "deny", "deny", "priv"),
    ("A12b", "cat <<E\n$(sudo id)\nE", "deny", "deny", "priv"),
    ("A12c", "cat <<'E'\n$(sudo id)\nE", "ask", "allow", "exec.shell"),
    ("A13", "echo '$(id)'", "allow", "allow", "readonly"),
    ("A14", 'echo "a; sudo id"', "allow", "allow", "readonly"),
    ("A15", "ls > ~/.bashrc", "ask", "allow", "exec.shell"),
    ("A16", "ls *.py", "ask", "allow", "exec.shell"),
    ("A16b", "ls > /dev/null 2>&1", "allow", "allow", "readonly"),
    ("A17", "export PATH=.:$PATH; ls", "deny", "deny", "env"),
    ("A17b", "typeset -x PATH=.; ls", "deny", "deny", "env"),
    ("A17c", "declare LD_PRELOAD=./x; ls", "deny", "deny", "env"),
    ("A17d", "PATH=.; ls", "deny", "deny", "env"),
    ("A17e", "read PATH < f", "deny", "deny", "env"),
    ("A17f", "printf -v PATH x", "allow", "allow", "readonly"),
    ("A17f2", "printf -v PATH x; ls *", "deny", "deny", "env"),
    ("A17g", "for PATH in .; do ls; done", "deny", "deny", "env"),
    ("A17h", ": ${IFS:=x}", "deny", "deny", "env"),
    ("A17i", "PATH+=:. ls", "deny", "deny", "env"),
    ("A18", ["env", "PATH=.", "ls"], "deny", "deny", "env"),
    ("A18b", ["env", "-u", "X", "GIT_DIR=x", "git", "status"], "deny", "deny", "env"),
    ("A19", "GIT_EXTERNAL_DIFF=x git diff", "deny", "deny", "env"),
    ("A20", "GIT_CONFIG_KEY_0=alias.x GIT_CONFIG_VALUE_0=!id git x", "deny", "deny", "env"),
    ("A21", "LD_PRELOAD=./x.so ls", "deny", "deny", "env"),
    ("A21b", "BASH_ENV=./b bash -c true", "deny", "deny", "env"),
    ("A21c", "NODE_OPTIONS=--require=./x node a.js", "deny", "deny", "env"),
    ("A22", "CI=1 pytest -q", "ask", "allow", "exec.interp"),
    ("A22b", "x=1; echo $x", "ask", "allow", "exec.shell"),
    ("A23", sh("git --exec-path=. zz"), "deny", "deny", "git-opts"),
    ("A23b", sh("git --git-dir=/x status"), "deny", "deny", "git-opts"),
    ("A23c", sh("git -c core.fsmonitor=x status"), "deny", "deny", "git-opts"),
    ("A23d", sh("git --no-pager -c alias.x=!id x"), "deny", "deny", "git-opts"),
    ("A23e", sh("git --work-tree /x status"), "deny", "deny", "git-opts"),
    ("A24", sh("git -C .. status"), "deny", "deny", "git-opts"),
    ("A24b", sh("git -C sub status"), "ask", "allow", "exec.plain"),
    ("A24c", "cd sub && git status", "ask", "allow", "exec.plain"),
    ("A24d", "cd sub && ls", "allow", "allow", "readonly"),
    ("A25", sh("git push origin main"), "deny", "deny", "git-out"),
    ("A25b", sh("git -C sub push"), "deny", "deny", "git-out"),
    ("A25c", sh("/usr/lib/git-core/git-push x"), "deny", "deny", "git-out"),
    ("A25d", sh("git config --sys core.x y"), "deny", "deny", "git-out"),
    ("A26", sh("git grep -Oid pat"), "ask", "allow", "exec.opaque"),
    ("A26b", sh("git grep --open-files-in-pager=id pat"), "ask", "allow", "exec.opaque"),
    ("A26c", sh("git grep --open=id pat"), "ask", "allow", "exec.opaque"),
    ("A27", sh("git frobnicate"), "ask", "allow", "exec.opaque"),
    ("A27b", sh("git bisect run sudo id"), "deny", "deny", "priv"),
    ("A27c", ["git", "rebase", "--exec", "sudo id", "x"], "deny", "deny", "priv"),
    ("A28", sh("git ls-remote --upload-pack=id ."), "ask", "allow", "exec.opaque"),
    ("A28b", sh("git clone -c protocol.ext.allow=always ext::id x"), "ask", "allow", "exec.opaque"),
    ("A28c", sh("git clone https://example.org/x y"), "ask", "ask", "net"),
    ("A28d", sh("git clone git@example.org:x/y"), "ask", "ask", "net"),
    ("A29", sh("git commit -m push"), "ask", "allow", "exec.plain"),
    ("A30", sh("git status"), "allow", "allow", "readonly"),
    ("A30b", sh("git diff --stat HEAD~1 -- a.py"), "allow", "allow", "readonly"),
    ("A30c", sh("git log --oneline -5"), "allow", "allow", "readonly"),
    ("A30d", sh("git branch --show-current"), "allow", "allow", "readonly"),
    ("A31", sh("git diff --output=x"), "ask", "allow", "exec.plain"),
    ("A31b", sh("git diff --outp=x"), "ask", "allow", "exec.plain"),
    ("A31c", sh("git log --ext-diff"), "ask", "allow", "exec.opaque"),
    ("A31d", sh("git diff --no-index a b"), "ask", "allow", "exec.plain"),
    ("A31e", sh("git log --abbrev --output=x"), "ask", "allow", "exec.plain"),
    ("A31f", sh("git branch x"), "ask", "allow", "exec.plain"),
    ("A32", sh("sort -o b a"), "ask", "allow", "exec.plain"),
    ("A32b", sh("sort --compress-program=./x a"), "ask", "allow", "exec.plain"),
    ("A32c", sh("sort -no b a"), "ask", "allow", "exec.plain"),
    ("A32d", sh("sort -rn -k2 a"), "allow", "allow", "readonly"),
    ("A33", sh("uniq a b"), "ask", "allow", "exec.plain"),
    ("A33b", sh("uniq -c a"), "allow", "allow", "readonly"),
    ("A34", ["sed", "-n", "1e id", "f"], "ask", "allow", "exec.plain"),
    ("A34b", sh("sed s/a/id/e f"), "ask", "allow", "exec.plain"),
    ("A34c", ["sed", "-n", "w x", "f"], "ask", "allow", "exec.plain"),
    ("A34d", sh("sed -i s/a/b/ f"), "ask", "allow", "exec.plain"),
    ("A34e", sh("sed -n 1,5p f"), "allow", "allow", "readonly"),
    ("A34f", sh("sed -n 5p -i f"), "ask", "allow", "exec.plain"),
    ("A35", sh("rg --pre ./x pat"), "ask", "allow", "exec.plain"),
    ("A35b", sh("rg -z pat"), "ask", "allow", "exec.plain"),
    ("A35c", sh("rg --hostname-bin=x pat"), "ask", "allow", "exec.plain"),
    ("A35d", sh("rg -n --glob *.py pat"), "allow", "allow", "readonly"),
    ("A36", sh("find . -exec id ;"), "ask", "allow", "exec.plain"),
    ("A36b", sh("find . -execdir id ;"), "ask", "allow", "exec.plain"),
    ("A36c", sh("find . -ok id ;"), "ask", "allow", "exec.plain"),
    ("A36d", sh("find . -delete"), "ask", "allow", "exec.plain"),
    ("A36e", sh("find . -fprintf f x"), "ask", "allow", "exec.plain"),
    ("A36f", sh("find . -fls f"), "ask", "allow", "exec.plain"),
    ("A36g", sh("find . -exec sudo id ;"), "deny", "deny", "priv"),
    ("A36h", sh("find . -name x -type f -print"), "allow", "allow", "readonly"),
    ("A37", sh("file -C -m x"), "ask", "allow", "exec.plain"),
    ("A37b", sh("diff -l a b"), "ask", "allow", "exec.plain"),
    ("A38", ["env", "-S", "id -u"], "ask", "allow", "exec.opaque"),
    ("A38a", sh("env FOO=1 ls"), "ask", "allow", "exec.opaque"),
    ("A38b", sh("timeout --foreground=x 5 ls"), "ask", "allow", "exec.opaque"),
    ("A38c", sh("timeout 5 sudo id"), "deny", "deny", "priv"),
    ("A38d", sh("env CI=1 git push"), "deny", "deny", "git-out"),
    ("A38e", sh("nice -n 5 env CI=1 mount x"), "deny", "deny", "priv"),
    ("A38f", ["env", "-S", "sudo id"], "deny", "deny", "priv"),
    ("A38g", sh("env FOO=1 sudo id"), "deny", "deny", "priv"),
    ("A38h", sh("timeout --foreground=x 5 sudo id"), "deny", "deny", "priv"),
    ("A38i", sh("timeout 5 ls"), "allow", "allow", "readonly"),
    ("A38j", sh("xargs sudo rm"), "deny", "deny", "priv"),
    ("A38k", sh("xargs -0 -n 1 rm"), "ask", "allow", "exec.opaque"),
    ("A38l", "find . | xargs cat", "ask", "allow", "exec.opaque"),
    ("A38m", sh("busybox sudo id"), "deny", "deny", "priv"),
    ("A38n", ["busybox", "sh", "-c", "sudo id"], "deny", "deny", "priv"),
    ("A38o", sh("busybox ls"), "ask", "allow", "exec.opaque"),
    ("A38p", ["bash", "-c", "sudo id"], "deny", "deny", "priv"),
    ("A38q", ["bash", "-lc", "ls; sudo id"], "deny", "deny", "priv"),
    ("A38r", ["sh", "-c", "ls ;; id"], "deny", "deny", "parse.error"),
    ("A38s", ["bash", "-c", "ls"], "ask", "allow", "exec.shell"),
    ("A38t", sh("bash x.sh"), "ask", "allow", "exec.interp"),
    ("A38u", sh("strace -o out sudo id"), "deny", "deny", "priv"),
    ("A38v", sh("nohup setsid stdbuf -oL time sudo id"), "deny", "deny", "priv"),
    ("A38w", sh("nice nice nice nice nice nice nice nice nice nice sudo id"), "deny", "deny", "parse.depth"),
    ("A38x", sh("flock f sudo id"), "deny", "deny", "priv"),
    ("A38y", ["flock", "f", "-c", "sudo id"], "deny", "deny", "priv"),
    ("A38z", sh("uv run sudo id"), "deny", "deny", "priv"),
    ("A39", "command sudo id", "deny", "deny", "priv"),
    ("A39b", "builtin eval 'sudo id'", "deny", "deny", "priv"),
    ("A39c", "exec sudo id", "deny", "deny", "priv"),
    ("A39d", "eval sudo id", "deny", "deny", "priv"),
    ("A39e", "eval 'ls; sudo id'", "deny", "deny", "priv"),
    ("A39f", "source ./x.sh", "ask", "allow", "exec.interp"),
    ("A39g", ". ./x.sh", "ask", "allow", "exec.shell"),
    ("A39h", "trap 'sudo id' EXIT", "deny", "deny", "priv"),
    ("A39i", "f() { sudo id; }; f", "deny", "deny", "priv"),
    ("A39j", "time sudo id", "deny", "deny", "priv"),
    ("A39k", "! sudo id", "deny", "deny", "priv"),
    ("A39l", "coproc sudo id", "deny", "deny", "priv"),
    ("A39m", "s'u'do id", "deny", "deny", "priv"),
    ("A39n", "\\sudo id", "deny", "deny", "priv"),
    ("A39o", "$'\\x73udo' id", "deny", "deny", "priv"),
    ("A39p", "x=sudo; $x id", "ask", "allow", "exec.opaque"),
    ("A39q", "if true; then while true; do sudo id; done; fi", "deny", "deny", "priv"),
    ("A39r", "case x in a) sudo id;; esac", "deny", "deny", "priv"),
    ("A39s", "ls & sudo id", "deny", "deny", "priv"),
    ("A39t", "(sudo id)", "deny", "deny", "priv"),
    ("A39u", "ls\nsudo id", "deny", "deny", "priv"),
    ("A39v", "nohup >log sudo id", "deny", "deny", "priv"),
    ("A39w", "setsid 2>&1 sudo id", "deny", "deny", "priv"),
    ("A39x", "nice <<E sudo id\nE", "deny", "deny", "priv"),
    ("A39y", "cat <<E && sudo id\nE", "deny", "deny", "priv"),
    ("A39z", "true | nohup >log sudo id", "deny", "deny", "priv"),
    ("A39A", "! ! sudo id", "deny", "deny", "priv"),
    ("A39B", "time A=1 sudo id", "deny", "deny", "priv"),
    ("A39C", "$x sudo id", "deny", "deny", "priv"),
    ("A39D", "nice $x sudo id", "deny", "deny", "priv"),
    ("A39E", "eval $x sudo id", "deny", "deny", "priv"),
    ("A39F", "${x:-sudo} id", "deny", "deny", "priv"),
    ("A39G", "{ ls; } > a b", "deny", "deny", "parse.error"),
    ("A39H", "ls 2>/dev/null -la", "allow", "allow", "readonly"),
    ("A40", ["/proc/self/root/usr/bin/id"], "deny", "deny", "proc-path"),
    ("A40b", sh("cat //proc/./1//root/etc/passwd"), "deny", "deny", "proc-path"),
    ("A40c", sh("cat ../proc/self/cwd/x"), "deny", "deny", "proc-path"),
    ("A40d", "cat /proc/se*/ro?t/etc/passwd", "deny", "deny", "proc-path"),
    ("A40e", sh("dd if=/proc/thread-self/root/x"), "deny", "deny", "proc-path"),
    ("A40f", sh("/lib64/ld-linux-x86-64.so.2 /bin/ls"), "deny", "deny", "loader"),
    ("A41", ["/usr/bin/sudo", "id"], "deny", "deny", "priv"),
    ("A41b", sh("/tmp/copied id"), "ask", "allow", "exec.opaque"),
    ("A42", sh("./ls"), "ask", "allow", "exec.interp"),
    ("A42b", sh("/repo/bin/ls"), "ask", "allow", "exec.interp"),
    ("A43", ["ѕudo", "id"], "deny", "deny", "argv0"),
    ("A43b", ["ls\u00a0-la"], "deny", "deny", "argv0"),
    ("A43c", [""], "deny", "deny", "argv0"),
    ("A43d", [], "deny", "deny", "parse.empty"),
    ("A43e", "# nothing", "deny", "deny", "parse.empty"),
    ("A44", "echo a\u202eb", "ask", "ask", "display"),
    ("A44b", "echo a\u200bb", "ask", "ask", "display"),
    ("A44c", ["echo", "a\x1b[2Kb"], "ask", "ask", "display"),
    ("A44d", ["echo", "p\u0430ypal"], "ask", "ask", "display"),
    ("A45", sh("echo größe"), "allow", "allow", "readonly"),
    ("A46", sh("curl http://169.254.169.254/"), "deny", "deny", "net.denied-address"),
    ("A46b", sh("curl http://127.0.0.1:8000"), "deny", "deny", "net.denied-address"),
    ("A46c", sh("curl http://[::1]/"), "deny", "deny", "net.denied-address"),
    ("A46d", sh("curl http://2130706433/"), "deny", "deny", "net.denied-address"),
    ("A46e", sh("curl http://0x7f.1/"), "deny", "deny", "net.denied-address"),
    ("A46f", sh("curl localhost:8000"), "deny", "deny", "net.denied-address"),
    ("A46g", sh("curl http://user@127.1/"), "deny", "deny", "net.denied-address"),
    ("A46h", sh("curl http://０x7f.0.0.1/"), "deny", "deny", "net.denied-address"),
    ("A46i", sh("wget http://LOCALHOST./x"), "deny", "deny", "net.denied-address"),
    ("A46j", sh("curl http://[::ffff:127.0.0.1]/"), "deny", "deny", "net.denied-address"),
    ("A46k", sh("curl --proxy http://10.0.0.1:3128 https://a.org"), "deny", "deny", "net.denied-address"),
    ("A46l", sh("curl http://%31%32%37.0.0.1/"), "deny", "deny", "net.denied-address"),
    ("A46m", sh("curl http://metadata.google.internal/"), "deny", "deny", "net.denied-address"),
    ("A46n", "curl http://127.0.0.1/ > x", "deny", "deny", "net.denied-address"),
    ("A46o", sh("python fetch.py http://169.254.169.254/"), "deny", "deny", "net.denied-address"),
    ("A46p", sh("pytest --base-url http://127.0.0.1:8000"), "ask", "allow", "exec.interp"),
    ("A46q", sh("git clone http://127.0.0.1/x"), "deny", "deny", "net.denied-address"),
    ("A46r", sh("curl ftp://0177.0.0.1/"), "deny", "deny", "net.denied-address"),
    ("A47", sh("curl https://example.org/"), "ask", "ask", "net"),
    ("A47b", sh("curl example.org"), "ask", "ask", "net"),
    ("A47c", sh("timeout 5 wget -q https://example.org/x"), "ask", "ask", "net"),
    ("A47d", sh("scp a me@example.org:b"), "ask", "ask", "net"),
    ("A47e", "curl $URL", "ask", "ask", "net"),
    ("A48", sh("docker run x"), "deny", "deny", "containers"),
    ("A48b", sh("nsenter -t 1 -a"), "deny", "deny", "priv"),
    ("A48c", sh("systemctl stop x"), "deny", "deny", "priv"),
    ("A48d", sh("crontab -"), "deny", "deny", "priv"),
    ("A49", sh("pip install x"), "ask", "ask", "install"),
    ("A49b", sh("python3.11 -m pip install x"), "ask", "ask", "install"),
    ("A49c", sh("npm ci"), "ask", "ask", "install"),
    ("A49d", "cd sub && npm install", "ask", "ask", "install"),
    ("A49e", sh("uv pip install x"), "ask", "ask", "install"),
    ("A49f", sh("env CI=1 npx cowsay"), "ask", "ask", "install"),
    ("A49g", sh("pip --index-url x install y"), "ask", "ask", "install"),
    ("A49h", sh("npm test"), "ask", "allow", "exec.interp"),
    ("A50", ":(){ :|:& };:", "ask", "allow", "exec.shell"),
    ("A51", sh("python -c pass"), "ask", "allow", "exec.interp"),
    ("A51b", sh("make test"), "ask", "allow", "exec.interp"),
    ("A52", "exec 3<>/dev/tcp/h/80", "deny", "deny", "proc-path"),
    ("A52b", "cat < /dev/tcp/h/80", "deny", "deny", "proc-path"),
    ("A52c", "echo x > /dev/udp/h/53", "deny", "deny", "proc-path"),
    ("A53", ["echo", "a" * 70_000], "deny", "deny", "action.too-large"),
    ("A53b", ["echo", "a\udc80"], "deny", "deny", "parse.encoding"),
    ("A55", ["ls", *(["x"] * 3000), "|", "sudo"], "allow", "allow", "readonly"),
]  # fmt: skip
IDS = [row[0] for row in TABLE]


@pytest.mark.parametrize(("name", "given", "strict", "standard", "reason"), TABLE, ids=IDS)
def test_table_a(name: str, given: Input, strict: Verdict, standard: Verdict, reason: str) -> None:
    found = judge(given, "standard")

    assert (found.decision, judge(given, "strict").decision) == (standard, strict)
    assert reason in found.reasons
    assert set(found.reasons) <= set(REASONS)


@pytest.mark.parametrize(("name", "given", "strict", "standard", "reason"), TABLE, ids=IDS)
def test_a58_standard_in_a_partial_sandbox_is_strict(
    name: str, given: Input, strict: Verdict, standard: Verdict, reason: str
) -> None:
    assert judge(given, "standard", "partial").decision == strict


@pytest.mark.parametrize(("name", "given", "strict", "standard", "reason"), TABLE, ids=IDS)
def test_locked_runs_the_read_only_list_and_nothing_else(
    name: str, given: Input, strict: Verdict, standard: Verdict, reason: str
) -> None:
    found = judge(given, "locked")

    assert found.decision == ("allow" if strict == "allow" else "deny")


@pytest.mark.parametrize(("name", "given", "strict", "standard", "reason"), TABLE, ids=IDS)
def test_without_a_sandbox_everything_asks_or_is_denied(
    name: str, given: Input, strict: Verdict, standard: Verdict, reason: str
) -> None:
    found = judge(given, "standard", "none")

    assert found.decision == ("deny" if standard == "deny" else "ask")
    assert "host.unsandboxed" in found.capabilities


@pytest.mark.parametrize("name", ["A54", "A54b", "A54c", "A54d"])
def test_a54_a_working_directory_outside_is_denied(name: str) -> None:
    cwd = {"A54": "/repo/../etc", "A54b": "/etc", "A54c": "a/../..", "A54d": ""}[name]
    found = decide(builtin_policy("standard"), action(["ls"], cwd))

    assert (found.decision, found.reasons) == ("deny", ("cwd.outside",))


def test_a54_a_working_directory_that_is_a_link_is_denied() -> None:
    policy = builtin_policy("standard")
    there = decide(policy, action(["ls"], "/repo/link"), facts=Facts(cwd_real="/etc"))
    here = decide(policy, action(["ls"], "sub"), facts=Facts(cwd_real="/repo/sub"))

    assert (there.decision, there.reasons) == ("deny", ("cwd.symlink",))
    assert here.decision == "allow"


def test_a42_a_name_that_leads_into_the_tree_is_denied() -> None:
    found = decide(builtin_policy("standard"), action(["ls"]), facts=Facts(resolved={"ls": "/repo/bin/ls"}))

    assert (found.decision, found.reasons) == ("deny", ("argv0",))


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (["sudo", "id"], {"id": "ok", "exe": ["sudo"]}),
        (["curl", "https://example.org/"], {"id": "ok", "needs": ["net:*"]}),
    ],
    ids=["sudo", "net"],
)
@pytest.mark.parametrize("preset", ["strict", "standard"])
def test_a56_a_repository_cannot_allow_itself_anything(
    preset: PresetName, given: list[str], rule: dict[str, object]
) -> None:
    policy = load_repository_policy(builtin_policy(preset), {"allow": [rule]})
    found = decide(policy, action(given))

    assert found.decision == "deny"
    assert "policy.widening-ignored" in found.reasons
    assert [widening.what for widening in policy.widenings] == ["allow.ok"]


@pytest.mark.parametrize("preset", ["locked", "strict", "standard"])
def test_an_argument_list_and_the_same_plain_script_are_judged_alike(preset: PresetName) -> None:
    for row in TABLE:
        if (
            isinstance(row[1], list)
            and row[1]
            and all(word.isalnum() or set(word) <= set("abc./-") for word in row[1])
        ):
            as_script = judge(" ".join(row[1]), preset)
            assert as_script.decision == judge(row[1], preset).decision, row


def test_capabilities_say_what_a_yes_would_give() -> None:
    assert judge(["ls"]).capabilities == ("fs.read", "exec.plain")
    assert judge(["pytest"]).capabilities == ("fs.read", "fs.write", "exec.interp")
    assert "net:example.org:443" in judge(["curl", "https://example.org/x"]).capabilities
    assert "net:example.org:22" in judge(["git", "clone", "git@example.org:x/y"]).capabilities
    assert "net:*" in judge("curl $URL").capabilities
    assert "pkg.install" in judge(["npm", "ci"]).capabilities


def test_a_grant_answers_the_question_about_that_host_only() -> None:
    policy = builtin_policy("standard")
    grants = ["net:example.org:443"]

    assert decide(policy, action(["curl", "https://example.org/x"]), grants=grants).decision == "allow"
    assert decide(policy, action(["curl", "https://example.com/x"]), grants=grants).decision == "ask"
    assert decide(policy, action(["curl", "http://example.org/x"]), grants=grants).decision == "ask"
    assert (
        decide(policy, action(["curl", "http://127.0.0.1/"]), grants=["net:127.0.0.1:80"]).decision == "deny"
    )


def test_a_capability_the_job_was_not_given_is_asked() -> None:
    held = ["fs.read", "fs.write", "exec.plain"]
    policy = builtin_policy("standard")

    assert decide(policy, action(["rm", "x"]), held=held).decision == "allow"
    missing = decide(policy, action(["pytest"]), held=held)
    assert (missing.decision, missing.reasons[0]) == ("ask", "capability.missing")


def test_a_landing_is_always_asked() -> None:
    landing = LandAction(repository="r", target="refs/heads/main", base="a", head="b", tree="c")

    for preset in ("locked", "strict", "standard"):
        found = decide(builtin_policy(preset), landing)
        assert (found.decision, found.reasons, found.capabilities) == ("ask", ("land",), ("land:main",))


def test_the_plain_form_is_handed_out_and_only_for_plain_scripts() -> None:
    plain = judge("ls -l && cat 'a b' | head").plain

    assert plain is not None
    assert [(one.connector, [step.argv for step in one.steps]) for one in plain] == [
        ("", [("ls", "-l")]),
        ("&&", [("cat", "a b"), ("head",)]),
    ]
    assert judge("ls *").plain is None


def test_an_allow_rule_answers_the_preset_and_never_another_rule() -> None:
    rule = {"id": "tests", "exe": ["pytest", "curl"], "match": ["pytest"], "not_match": ["ls"]}
    policy = load_policy({"preset": "strict", "allow": [rule]})

    assert decide(policy, action(["pytest", "-q"])).reasons == ("rule.allowed", "exec.interp")
    assert decide(policy, action(["env", "X=1", "pytest"])).decision == "ask"
    assert decide(policy, action("pytest && rm x")).decision == "ask"
    assert decide(policy, action("pytest $(id)")).decision == "ask"
    assert decide(policy, action(["curl", "https://example.org"])).decision == "ask"


def test_explain_names_the_rule_and_the_part() -> None:
    found = explain(builtin_policy("standard"), action("ls && timeout 5 sudo id"))

    assert found.decision.matched[0].argv == ("sudo", "id")
    assert [(part.argv[0], part.rules) for part in found.parts] == [
        ("ls", ()),
        ("timeout", ()),
        ("sudo", ("priv",)),
    ]
    assert found.sentences == (f"priv: {REASONS['priv']}",)


words = st.sampled_from(
    [
        *sh("ls sudo git push -c env CI=1 PATH=x timeout 5 && || ; | > /dev/null $(id) `id` 'a b' \" ' ( )"),
        *sh("http://127.0.0.1 \\ xargs bash -c <<E E find -exec ;; if fi curl"),
        "\n",
        "'sudo id'",
    ]
)
scripts = st.lists(words, max_size=14).map(" ".join) | st.text(max_size=60)


@given(scripts)
def test_no_script_is_too_strange_to_be_judged(script: str) -> None:
    assert judge(script).decision in RANK
    assert RANK[judge(script).decision] <= RANK[judge(script, "strict").decision]
    assert RANK[judge(script, "strict").decision] <= RANK[judge(script, "locked").decision]


@given(st.lists(words | st.text(max_size=12), max_size=10))
def test_no_argument_list_is_too_strange_to_be_judged(argv: list[str]) -> None:
    assert judge(argv).decision in RANK


globs = st.sampled_from(sh("* ls sudo git curl bash c* net:* exec PATH X /proc/** **"))
conditions = st.fixed_dictionaries(
    {},
    optional={
        "exe": st.lists(globs, min_size=1, max_size=2),
        "needs": st.lists(globs, min_size=1, max_size=2),
        "env": st.lists(globs, min_size=1, max_size=2),
        "path": st.lists(globs, min_size=1, max_size=2),
        "git": st.lists(st.sampled_from(["status", "push", "config --global"]), min_size=1),
        "when": st.lists(st.sampled_from(["bidi", "control-chars"]), min_size=1),
    },
).filter(bool)


def rule_of(fields: dict[str, list[str]]) -> Rule:
    return Rule(id="extra", **{key: tuple(value) for key, value in fields.items()})  # type: ignore[arg-type]


@given(
    scripts, conditions, st.sampled_from(["deny", "ask"]), st.sampled_from(["locked", "strict", "standard"])
)
def test_adding_a_rule_never_widens(
    script: str, fields: dict[str, list[str]], kind: str, preset: PresetName
) -> None:
    base = builtin_policy(preset)
    tighter = msgspec.structs.replace(base, **{kind: (*getattr(base, kind), rule_of(fields))})

    for level in ("full", "partial", "none"):
        before = decide(base, action(script), level).decision
        assert RANK[decide(tighter, action(script), level).decision] >= RANK[before]


@given(scripts, conditions)
def test_a_repository_allow_never_widens(script: str, fields: dict[str, list[str]]) -> None:
    base = builtin_policy("strict")
    wider = load_repository_policy(
        base, {"allow": [{"id": "extra", **fields}], "preset": "standard", "without": ["net"]}
    )

    assert RANK[decide(wider, action(script)).decision] >= RANK[decide(base, action(script)).decision]


@given(scripts, st.randoms(use_true_random=False))
def test_the_order_of_rules_never_matters(script: str, random: Random) -> None:
    base = builtin_policy("standard")
    deny, ask = list(base.deny), list(base.ask)
    random.shuffle(deny)
    random.shuffle(ask)
    shuffled = msgspec.structs.replace(base, deny=tuple(deny), ask=tuple(ask))

    one, other = decide(base, action(script)), decide(shuffled, action(script))
    assert (one.decision, set(one.reasons)) == (other.decision, set(other.reasons))


@given(
    st.lists(
        st.sampled_from(["ls", "rm x", "sudo id", "curl https://example.org", "git push"]),
        min_size=1,
        max_size=5,
    )
)
def test_a_compound_is_as_strict_as_its_strictest_part(parts: list[str]) -> None:
    strictest = max((judge(part).decision for part in parts), key=RANK.__getitem__)

    assert judge(" && ".join(parts)).decision == strictest
    assert judge(" && ".join(reversed(parts))).decision == strictest
