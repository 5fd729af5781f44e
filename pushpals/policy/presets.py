"""The built-in rules and the three presets, as data in the same form as a policy file.

``locked`` runs only the read-only list and denies the rest. ``strict`` runs the read-only list and asks
about the rest. ``standard`` runs whatever stays inside a full sandbox and asks about what leaves it. The
denials are the same in all three. Every rule carries examples, checked whenever a policy is loaded.
"""

from __future__ import annotations

from typing import Any, Literal

PresetName = Literal["locked", "strict", "standard"]
PRESETS: tuple[PresetName, ...] = ("locked", "strict", "standard")

DENY: list[dict[str, Any]] = [
    {
        "id": "priv",
        "exe": [
            "sudo", "sudoedit", "su", "doas", "pkexec", "runuser", "run0", "mount", "umount", "fusermount*", "unshare",
            "nsenter", "chroot", "pivot_root", "switch_root", "bwrap", "firejail", "setpriv", "capsh", "setcap",
            "insmod", "modprobe", "rmmod", "kexec", "sysctl", "systemctl", "systemd-run", "systemd-nspawn",
            "machinectl", "loginctl", "service", "crontab", "at", "batch", "reboot", "shutdown", "halt", "poweroff",
            "init", "telinit", "newgrp", "useradd", "usermod", "userdel", "passwd", "chpasswd", "visudo", "swapon",
            "losetup", "mknod", "iptables*", "nft", "ip6tables*",
        ],
        "match": ["sudo id", "timeout 5 sudo id", "ls && /usr/bin/mount x", ["sh", "-c", "su -"], "xargs sudo rm"],
        "not_match": ["echo sudo", "ls service", "man mount", "cat at"],
    },
    {
        "id": "containers",
        "exe": [
            "docker", "docker-compose", "dockerd", "podman", "podman-remote", "nerdctl", "ctr", "crictl", "runc", "crun",
            "buildah", "skopeo", "kubectl", "helm", "oc", "minikube", "k3s", "lxc*", "lxd", "incus", "vagrant",
            "virsh", "qemu-*",
        ],
        "match": ["docker run x", "env CI=1 kubectl get pods"],
        "not_match": ["cat docker-compose.yml", "ls docker"],
    },
    {
        "id": "git-out",
        "git": [
            "push", "send-pack", "http-push", "remote", "credential", "credential-store", "credential-cache", "daemon",
            "send-email", "imap-send", "instaweb", "http-backend", "receive-pack", "upload-pack", "config --global",
            "config --system", "submodule add", "submodule update", "filter-branch",
        ],
        "match": [
            "git push", "git -C sub push origin main", "env CI=1 git push", "git remote add x y",
            "git config --global user.name x", "git config --glob alias.x y", "/usr/lib/git-core/git-push",
            "git submodule update --init",
        ],
        "not_match": ["git status", "git commit -m push", "git config user.name x", "git log -- remote", "git stash push"],
    },
    {
        "id": "git-opts",
        "git_global": [
            "-c", "--config-env", "--exec-path", "--git-dir", "--work-tree", "--namespace", "--super-prefix", "--attr-source",
            "-C outside /repo",
        ],
        "match": [
            "git -c core.pager=x log", "git --exec-path=. zz", "git --git-dir=/x status", "git -C .. status",
            "git --git-dir /x status", "git -C /etc status",
        ],
        "not_match": ["git -C sub status", "git -C /repo/sub status", "git commit -c HEAD", "git --no-pager log"],
    },
    {
        "id": "loader",
        "exe": ["ld-linux*", "ld.so", "ld-musl*", "ld-*.so*", "ld.so.*"],
        "match": [["/lib64/ld-linux-x86-64.so.2", "/bin/ls"], "ld.so ./x"],
        "not_match": ["ld -o a b.o", "ls /lib64/ld-linux-x86-64.so.2"],
    },
    {
        "id": "proc-path",
        "path": ["/proc/**/root/**", "/proc/**/cwd/**", "/dev/tcp/**", "/dev/udp/**"],
        "match": [
            "/proc/self/root/usr/bin/id", "cat /proc/1/root/etc/passwd", "cat ../proc/self/cwd/x", "echo x > /dev/tcp/h/80",
            "cat //proc/./self//root/x", "dd if=/proc/self/task/1/root/x",
        ],
        "not_match": ["cat /proc/cpuinfo", "ls root/cwd", "echo hi > /dev/null"],
    },
    {
        "id": "env",
        "env": [
            "GIT_*", "LD_*", "DYLD_*", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONINSPECT", "PYTHONUSERBASE",
            "BASH_ENV", "BASH_FUNC_*", "BASHOPTS", "SHELLOPTS", "ENV", "PROMPT_COMMAND", "PS4", "NODE_OPTIONS", "NODE_PATH",
            "PERL5*", "PERLLIB", "RUBYOPT", "RUBYLIB", "LUA_INIT*", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS",
            "JDK_JAVA_OPTIONS", "*PAGER", "*EDITOR", "VISUAL", "BROWSER", "LESSOPEN", "LESSCLOSE", "SSH_*", "IFS", "PATH",
            "GCONV_PATH", "GLIBC_TUNABLES", "OPENSSL_CONF", "PUSHPALS_*",
        ],
        "match": [
            "GIT_EXTERNAL_DIFF=x git diff", "export PATH=.:$PATH; ls", "LD_PRELOAD=./x.so ls", "env PAGER=x git log",
            "PATH=.; ls", "read IFS", ["env", "BASH_ENV=./b", "bash", "-c", "true"],
        ],
        "not_match": ["CI=1 pytest", "x=1; echo $x", "echo $PATH", "echo PATH=x"],
    },
    {
        "id": "argv0",
        "when": ["non-ascii-executable", "executable-in-worktree-shadowing-PATH"],
        "match": [["ѕudo", "id"], ["ls\u200b"], [""], ["l\ns"]],
        "not_match": ["ls größe", "./ls"],
    },
]  # fmt: skip

ASK: list[dict[str, Any]] = [
    {
        "id": "net",
        "needs": ["net:*"],
        "match": ["curl https://example.org/", "git clone https://example.org/x", "ssh example.org", "gh pr list"],
        "not_match": ["git clone ../x y", "curl --version", "echo https://example.org/"],
    },
    {
        "id": "install",
        "needs": ["pkg.install"],
        "match": [
            "pip install x", "pip3 --quiet install x", "python -m pip install x", "npm ci", "npm i", "uv pip install x",
            "uv add x", "cargo install x", "go get x", "npx cowsay", "yarn", "apt-get install -y x", "poetry add x",
        ],
        "not_match": ["pip list", "npm test", "cargo build", "go test ./...", "uv run pytest", "python -m pytest"],
    },
    {
        "id": "display",
        "when": ["control-chars", "bidi", "zero-width", "mixed-script", "separator", "unassigned", "combining"],
        "match": ["echo a\u202eb", "echo a\u200bb", ["echo", "\x1b[2K"], "echo p\u0430ypal"],
        "not_match": ["echo größe", ["python", "-c", "a\n\tb"], "git commit -m '漢字'"],
    },
    {
        "id": "land",
        "needs": ["land:*"],
        "match": [{"land": "main"}],
        "not_match": ["git merge x"],
    },
]  # fmt: skip

PROTECTED: list[str] = [
    ".github/**", ".gitlab-ci.yml", ".ci/**", ".circleci/**", "**/Jenkinsfile", "**/Dockerfile*", "**/docker-compose*",
    "**/compose.y*ml", "azure-pipelines.yml", ".travis.yml", ".drone.yml", ".woodpecker/**", ".buildkite/**",
    "**/*.lock", "**/*-lock.*", "**/go.sum", "**/requirements*.txt", "**/pyproject.toml", "**/setup.py", "**/setup.cfg",
    "**/package.json", "**/.npmrc", "**/.yarnrc*", "**/pip.conf", "**/Makefile", "**/*.mk", "**/conftest.py",
    "**/sitecustomize.py", "**/tox.ini", "**/noxfile.py", ".pre-commit-config.yaml", "**/.gitattributes",
    "**/.gitmodules", "**/.envrc", "**/.vscode/**", "**/.idea/**", "**/.devcontainer/**", ".husky/**", "**/.mcp.json",
    "**/AGENTS.md", "**/CLAUDE.md", "**/GEMINI.md", "**/.cursor/**", "**/.cursorrules", "**/.claude/**", "**/.codex/**",
    "CODEOWNERS", "**/CODEOWNERS", "pushpals.toml", ".pushpals/**",
    "symlink:*", "mode:+x", "binary:*", "gitlink:*",
]  # fmt: skip
"""Paths, and kinds of change, that always need a person's yes to land."""
