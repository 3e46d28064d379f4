#!/usr/bin/env python3
"""Pipes records that the formatter wrote through both readers, which must show each message as the message.

A reader that looks for the text under a name the formatter does not write shows something else: the viewer passes
the line through as it came, the stream throws.
"""

import logging
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "services/formatter/src"))

from bunyan_formatter import BunyanFormatter  # noqa: E402

MESSAGES = ["the order was taken", "the card was refused", "no such account: 42"]
VIEWER = ROOT / "services/viewer/target/debug/bunyan"
STREAM = """
    const Pretty = require('./services/prettystream');
    const pretty = new Pretty({ useColor: false });
    pretty.pipe(process.stdout);
    for (const line of require('fs').readFileSync(0, 'utf8').trim().split('\\n')) pretty.write(line);
"""


def records() -> str:
    formatter = BunyanFormatter("shop", ROOT)
    lines = []
    for message in MESSAGES:
        record = logging.LogRecord("shop.till", logging.INFO, str(ROOT / "till.py"), 7, message, (), None)
        lines.append(formatter.format(record))
    return "\n".join(lines) + "\n"


def read_by(name: str, command: list[str], written: str) -> bool:
    done = subprocess.run(command, input=written, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    shown = [line for line in done.stdout.splitlines() if " INFO: " in line]
    good = done.returncode == 0 and len(shown) == len(MESSAGES) and all(
        f": {message}" in line.split(" (", 1)[0] for message, line in zip(MESSAGES, shown)
    )
    print(f"{name}: {'ok' if good else 'does not show the messages'}")
    if not good:
        print(f"exit code {done.returncode}\n{done.stdout}{done.stderr}", file=sys.stderr)
    return good


def main() -> int:
    written = records()
    good = [
        read_by("viewer", [str(VIEWER), "--no-color"], written),
        read_by("prettystream", ["node", "-e", STREAM], written),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
