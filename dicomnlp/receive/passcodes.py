"""Passcodes of user identities (PS3.7 D.3.3.7), kept as salted scrypt hashes (RFC 7914)."""

import hashlib
import hmac
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Final

MAXIMUM_PASSCODE_BYTES: Final = 1024
"""Longer ones are refused unhashed."""

_N, _R, _P = 16384, 8, 1
"""Cost of a hash: 16 MB and some hundredths of a second."""
_SALT_BYTES: Final = 16
_KNOWN_PASSCODES: Final = 256


def hash_passcode(passcode: bytes) -> str:
    """What to write into the configuration: ``scrypt:SALT:HASH``, both in hexadecimal digits."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"scrypt:{salt.hex()}:{_scrypt(passcode, salt).hex()}"


def _scrypt(passcode: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(passcode, salt=salt, n=_N, r=_R, p=_P, dklen=32)


class PasscodeCheck:
    """Tells whether a passcode belongs to a hash.

    One is hashed at a time, by the same thread (each thread would keep a hash's memory): whoever tries passcodes costs
    one core and 16 MB at the most. Those that were right before are known again without hashing, by a keyed digest, so
    that their senders don't wait.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, None] = {}
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="passcodes")

    def is_right(self, passcode: bytes, hashed: str) -> bool:
        """Whether `hashed` was made of `passcode`; False for one that is longer than any is allowed to be."""
        if len(passcode) > MAXIMUM_PASSCODE_BYTES:
            return False
        digest = hmac.digest(self._key, hashed.encode() + b"\0" + passcode, "sha256")
        if digest in self._right:
            return True
        return self._hashing.submit(self._compare, passcode, hashed, digest).result()

    def _compare(self, passcode: bytes, hashed: str, digest: bytes) -> bool:
        _, salt, expected = hashed.split(":")
        is_right = hmac.compare_digest(_scrypt(passcode, bytes.fromhex(salt)).hex(), expected)
        if is_right:
            if len(self._right) >= _KNOWN_PASSCODES:
                self._right.pop(next(iter(self._right)))
            self._right[digest] = None
        return is_right
