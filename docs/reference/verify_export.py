"""Verify an export of the audit trail, with nothing but Python: ``python verify_export.py EXPORT [PUBLIC_KEY]``.

Checks that every event is the one its session's chain was made of, that the chain leads to what the signed
checkpoints noted, and that the checkpoints follow each other and carry the key's Ed25519 signature. Give the
public key that you got by another way than the export itself. Exit code 0: nothing is wrong. 1: it is named.
"""

import hashlib
import json
import sys

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, ROOT = -121665 * pow(121666, P - 2, P) % P, pow(2, (P - 1) // 4, P)


def add(a, b):
    low, high = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    t, z = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = high - low, z - t, z + t, high + low
    return e * f % P, g * h % P, f * g % P, e * h % P


def mul(n, a):
    total = (0, 1, 1, 0)
    while n:
        total = add(total, a) if n & 1 else total
        a, n = add(a, a), n >> 1
    return total


def point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y % 2**255
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * ROOT % P
    if (x * x - square) % P:
        raise ValueError("not a point")
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(key, text, signature):
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    h = int.from_bytes(hashlib.sha512(r + key + text).digest(), "little") % L
    a, b = mul(s, BASE), add(point(r), mul(h, point(key)))
    same = (a[0] * b[2] - b[0] * a[2]) % P == 0 == (a[1] * b[2] - b[1] * a[2]) % P
    return len(signature) == 64 and s < L and same


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def fail(damage, where):
    sys.exit(f"{damage}: {where}")


def main(path, key=None):
    heads, ends, events, number, prev = {}, {}, 0, 0, "0" * 64
    session, whole = None, hashlib.sha256()
    with open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    first = json.loads(lines[0])
    if first.get("format") != "pushpals.audit.v1":
        fail("unknown-format", "line 1")
    key = bytes.fromhex(key or first["public_key"] or "")
    for line in lines[:-1]:
        entry = json.loads(line)
        if "session" in entry:
            session, digest, seq = (
                entry,
                hashlib.sha256(
                    b"\0".join((b"pushpals.chain.v1", entry["session"].encode(), entry["epoch"].encode()))
                ).digest(),
                0,
            )
            heads[entry["session"]], ends[entry["session"]] = {0: digest.hex()}, entry
        elif "seq" in entry:
            if entry["seq"] != seq + 1:
                fail("missing", f"{session['session']} {seq + 1}")
            data, seq, events = entry["data"].encode(), entry["seq"], events + 1
            erased = not data and seq < session["first"]
            digest = (
                bytes.fromhex(entry["h"])
                if erased
                else hashlib.sha256(digest + len(data).to_bytes(8, "big") + data).digest()
            )
            if digest.hex() != entry["h"]:
                fail("edited", f"{session['session']} {seq}")
            heads[session["session"]][seq] = digest.hex()
        elif "checkpoint" in entry:
            try:
                note = json.loads(entry["checkpoint"])
            except ValueError:
                continue  # A line that a crash cut short; the next one does not count it.
            signature = bytes.fromhex(note.pop("sig"))
            text = b"pushpals.checkpoint.v1\0" + canonical(note)
            if note["prev"] != prev or note["n"] != number + 1 or not signed(key, text, signature):
                fail("bad-signature", f"checkpoint {note['n']}")
            prev, number = hashlib.sha256(entry["checkpoint"].encode()).hexdigest(), note["n"]
            for name, (cursor, noted) in note["heads"].items():
                if heads.get(name, {}).get(cursor) is None:
                    fail("truncated", f"{name} {cursor}")
                if heads[name][cursor] != noted:
                    fail("forked", f"{name} {cursor}")
        whole.update(line)
    for name, entry in ends.items():
        if heads[name].get(entry["last"]) != entry["head"] or max(heads[name]) != entry["last"]:
            fail("truncated", f"{name} {entry['last']}")
    if json.loads(lines[-1]).get("end") != whole.hexdigest():
        fail("truncated", "the last line is missing, or not about these lines")
    print(f"ok {events} events, {number} checkpoints")


if __name__ == "__main__":
    main(*sys.argv[1:3])
