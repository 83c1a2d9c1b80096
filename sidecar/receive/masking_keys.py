"""Where the keys of pseudonyms come from: the configuration, a file, or a file made beside the buffer.

Owns reading and making that file. It must not know how keys are used; it never shows one.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from sidecar.buffer.opening import write_private
from sidecar.config import Secret
from sidecar.errors import StartError
from sidecar.mask.hmac_keys import HmacKeys, parse_hmac_keys

FILE_BYTES_MAX = 64 * 1024
SUFFIX = ".masking-key"
_JOINS_HERE = "set masking.hmac_key or masking.hmac_key_file to the same key everywhere, so that one person has one pseudonym on all machines"


@dataclass(frozen=True, slots=True)
class MaskingKeys:
    """The keys, and what the operator should know about them, if anything."""

    keys: HmacKeys
    warning: str | None = None


def masking_keys(hmac_key: Secret, hmac_key_file: str, buffer_path: str) -> MaskingKeys:
    """The keys of ``masking.hmac_key``, else of ``masking.hmac_key_file``, else of the file beside the buffer, which is made when it is missing.

    Call it while the buffer's lock is held: two processes must not both make the file. Raises StartError when a file can't be
    read or written, ConfigError when it does not hold keys.
    """
    if hmac_key:
        return MaskingKeys(parse_hmac_keys(hmac_key.reveal(), "masking.hmac_key"))
    if hmac_key_file:
        return MaskingKeys(parse_hmac_keys(_read(Path(hmac_key_file)), f"masking.hmac_key_file {hmac_key_file}"))
    if buffer_path == ":memory:":
        warning = f"pseudonyms use a key that ends with this process, and join only until then; {_JOINS_HERE}"
        return MaskingKeys(parse_hmac_keys(secrets.token_hex(32), "masking key"), warning)
    path = Path(buffer_path + SUFFIX)
    if not path.exists():
        try:
            write_private(path, f"k1:{secrets.token_hex(32)}\n")
        except OSError as error:
            raise StartError(
                f"the masking key {path} can't be written ({error.strerror}); set masking.hmac_key or make the directory writable"
            ) from None
    warning = f"pseudonyms use the key in {path} and join only inside this buffer; {_JOINS_HERE}"
    return MaskingKeys(parse_hmac_keys(_read(path), str(path)), warning)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise StartError(f"the masking key file {path} can't be read ({error.strerror}); check its path and permissions") from None
    if len(content) > FILE_BYTES_MAX:
        raise StartError(f"the masking key file {path} is over {FILE_BYTES_MAX} bytes; is it a key?")
    return content.decode("utf-8", "surrogateescape")
