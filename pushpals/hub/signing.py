"""Ed25519 (RFC 8032) in plain Python, for signing checkpoints of the audit trail.

A checkpoint is signed every half minute, so a few milliseconds each do not matter, and a shared secret
(HMAC) would let nobody verify an export who could not also forge it. Rejected: a compiled library as a
dependency for one signature; calling ``ssh-keygen``, which need not be there.

Not constant in time: whoever can measure this process closely is already the user who owns the key.
"""

from __future__ import annotations

import hashlib
from typing import Final

_P: Final = 2**255 - 19
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT: Final = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]
"""Extended coordinates: X, Y, Z and T = XY/Z."""

KEY_BYTES = 32
SIGNATURE_BYTES = 64


def public_key(seed: bytes) -> bytes:
    """The 32 bytes that verify what ``seed`` (32 random bytes) signs."""
    scalar, _ = _expand(seed)
    return _packed(_times(scalar, _BASE))


def sign(seed: bytes, message: bytes) -> bytes:
    """The one signature of ``message``: 64 bytes, the same each time."""
    scalar, prefix = _expand(seed)
    public = _packed(_times(scalar, _BASE))
    nonce = _number(prefix, message)
    point = _packed(_times(nonce, _BASE))
    response = (nonce + _number(point, public, message) * scalar) % _ORDER
    return point + response.to_bytes(32, "little")


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is that of the key's holder. False for anything that is not well formed."""
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    key, point = _unpacked(public), _unpacked(signature[:32])
    response = int.from_bytes(signature[32:], "little")
    if key is None or point is None or response >= _ORDER:
        return False
    challenge = _number(signature[:32], public, message)
    return _same(_times(response, _BASE), _plus(point, _times(challenge, key)))


def _expand(seed: bytes) -> tuple[int, bytes]:
    if len(seed) != KEY_BYTES:
        raise ValueError("a signing key is 32 bytes")
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | 1 << 254
    return scalar, digest[32:]


def _number(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % _ORDER


def _plus(a: _Point, b: _Point) -> _Point:
    low = (a[1] - a[0]) * (b[1] - b[0]) % _P
    high = (a[1] + a[0]) * (b[1] + b[0]) % _P
    t = 2 * a[3] * b[3] * _D % _P
    z = 2 * a[2] * b[2] % _P
    e, f, g, h = high - low, z - t, z + t, high + low
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(number: int, point: _Point) -> _Point:
    total: _Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = _plus(total, point)
        point = _plus(point, point)
        number >>= 1
    return total


def _same(a: _Point, b: _Point) -> bool:
    return (a[0] * b[2] - b[0] * a[2]) % _P == 0 and (a[1] * b[2] - b[1] * a[2]) % _P == 0


def _packed(point: _Point) -> bytes:
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _unpacked(data: bytes) -> _Point | None:
    y = int.from_bytes(data, "little")
    odd, y = y >> 255, y & (1 << 255) - 1
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and odd):
        return None
    if x & 1 != odd:
        x = _P - x
    return x, y, 1, x * y % _P


def _base() -> _Point:
    y = 4 * pow(5, _P - 2, _P) % _P
    point = _unpacked(y.to_bytes(32, "little"))
    assert point is not None
    return point


_BASE: Final = _base()
