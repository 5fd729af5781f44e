"""The inside of a network grant: gives the only door out to the host, then becomes the command.

Runs in the sandbox (``python -I -S -c``) before the command: makes a listening socket in the sandbox's own
network namespace, hands it through an inherited socket to the host's proxy, waits until that serves, and is
replaced by the command. Nothing of it stays. A socket belongs to the namespace it was made in, whoever holds
it, so the host can accept there and the command can reach nothing else.
"""

from __future__ import annotations

import array
import os
import socket
import sys

PORT = 3128


def main() -> None:
    link = socket.socket(fileno=int(sys.argv[1]))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", PORT))
    listener.listen(64)
    rights = array.array("i", [listener.fileno()])
    link.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    if link.recv(1) != b"+":
        sys.exit("the network proxy did not start")
    link.close()
    listener.close()
    # Python adds a variable of its own where there is no locale; the command is to get none but its own.
    kept = {name: value for name, value in os.environ.items() if name == "PWD"}
    os.execve(sys.argv[2], sys.argv[2:], kept)


if __name__ == "__main__":
    main()
