#!/usr/bin/env python3
"""Makes the nkeys of a fleet and NATS's accounts.conf with what each may do.

    accounts.py FOLDER FLEET COORDINATOR WORKER...

Writes FOLDER/NAME.nkey (the seed: secret, mode 0600) for every name that has none yet, and
FOLDER/accounts.conf (public keys only) for exactly the names given: who is left out is refused
after NATS has read the file again (`nats-server --signal reload`, or `systemctl reload`). To give
a name a new key, delete its seed first. Needs Python 3 and openssl.
"""
import base64
import os
import re
import subprocess
import sys

SEED, USER = 18 << 3, 20 << 3  # The prefixes that make "S…" and "U…" of an nkey.


def crc16(data: bytes) -> bytes:
    """CRC-16/XMODEM, little endian: the check sum of an nkey."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc.to_bytes(2, "little")


def encode(data: bytes) -> str:
    return base64.b32encode(data + crc16(data)).decode().rstrip("=")


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout


def public_key(path: str) -> str:
    """The public key of the seed in a file, which is made when it is missing."""
    if not os.path.exists(path):
        raw = openssl("genpkey", "-algorithm", "ed25519", "-outform", "DER")[-32:]
        seed = encode(bytes([SEED | USER >> 5, (USER & 31) << 3]) + raw)
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(seed + "\n")
    with open(path) as file:
        seed = file.read().strip()
    raw = base64.b32decode(seed + "=" * (-len(seed) % 8))[2:-2]
    # The fixed head of an Ed25519 private key in DER (RFC 8410).
    der = bytes.fromhex("302e020100300506032b657004220420") + raw
    public = openssl("pkey", "-inform", "DER", "-pubout", "-outform", "DER", given=der)[-32:]
    return encode(bytes([USER]) + public)


def subjects(name: str, items: list[str]) -> str:
    return f"{name}: [\n" + "".join(f'          "{item}"\n' for item in items) + "        ]"


def user(key: str, comment: str, publish: list[str], subscribe: list[str]) -> str:
    return f"""\
      # {comment}
      {{ nkey: {key}, permissions: {{
        {subjects("publish", publish)}
        {subjects("subscribe", subscribe)}
      }} }}
"""


def coordinator(key: str, name: str, fleet: str) -> str:
    return user(
        key,
        f"{name}: the coordinator, all of its fleet",
        [f"lh.{fleet}.>", "$JS.API.>", "$JS.ACK.>", "$JS.FC.>"],
        [f"lh.{fleet}.>", "_INBOX.>", f"_INBOX_{name}.>"],
    )


def worker(key: str, name: str, fleet: str) -> str:
    stream = f"LH_{fleet}_WORKER"
    return user(
        key,
        f"{name}: a worker, its own subjects and its own consumer",
        [
            f"lh.{fleet}.presence.{name}",
            f"lh.{fleet}.report.*.{name}",
            f"$JS.API.CONSUMER.CREATE.{stream}.{name}.lh.{fleet}.worker.{name}",
            f"$JS.API.CONSUMER.INFO.{stream}.{name}",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}",
            f"$JS.ACK.{stream}.{name}.>",
        ],
        # Answers come to an inbox of its own: the default one would be every client's.
        [f"lh.{fleet}.everyone", f"_INBOX_{name}.>", f"_INBOX.{name}.>"],
    )


def main() -> None:
    if len(sys.argv) < 4 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    folder, fleet, *names = sys.argv[1:]
    for name in [fleet, *names]:
        # A dot or a star would widen a subject.
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            sys.exit(f"accounts.py: {name!r} may hold letters, digits, - and _ only")
    if len(set(names)) != len(names):
        sys.exit("accounts.py: a name is given twice")
    os.makedirs(folder, exist_ok=True)
    keys = {name: public_key(os.path.join(folder, f"{name}.nkey")) for name in names}
    users = coordinator(keys[names[0]], names[0], fleet)
    users += "".join(worker(keys[name], name, fleet) for name in names[1:])
    text = f"""\
# Made by accounts.py for the fleet {fleet!r}; public keys only.
accounts {{
  LONGHAUL {{
    jetstream: enabled
    users: [
{users}    ]
  }}
  SYS {{ users: [] }}
}}
system_account: SYS
"""
    path = os.path.join(folder, "accounts.conf")
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


if __name__ == "__main__":
    main()
