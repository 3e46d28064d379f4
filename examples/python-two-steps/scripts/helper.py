#!/usr/bin/env python3
"""The two ends of the rename in stdnum/util.py, around the callers' own change.

    helper.py expand      is_digits is the function, isdigits an alias of it
    helper.py contract    the alias goes, and so does its name in the helper's tests; fails while a caller is left

Run in the workspace's root; a second run changes nothing.
"""

import pathlib
import re
import sys

UTIL = pathlib.Path("stdnum/util.py")
TESTS = pathlib.Path("tests/test_util.doctest")
ALIAS = "\n\nisdigits = is_digits  # the former name, until its callers have moved\n"


def expand() -> None:
    text = UTIL.read_text(encoding="utf-8")
    if "def is_digits(" in text:
        return
    found = re.search(r"^def isdigits\(.*?(?=\n\n\ndef )", text, flags=re.MULTILINE | re.DOTALL)
    if not found:
        sys.exit("stdnum/util.py has no isdigits")
    body = found.group(0).replace("def isdigits(", "def is_digits(", 1)
    UTIL.write_text(text[: found.start()] + body + "\n" + ALIAS + text[found.end() + 1 :], encoding="utf-8")


def contract() -> None:
    callers = [
        str(path)
        for path in sorted(pathlib.Path("stdnum").rglob("*.py"))
        if path != UTIL and re.search(r"\bisdigits\b", path.read_text(encoding="utf-8"))
    ]
    if callers:
        sys.exit("isdigits still has callers: " + ", ".join(callers))
    text = UTIL.read_text(encoding="utf-8")
    UTIL.write_text(text.replace(ALIAS, "", 1), encoding="utf-8")
    text = TESTS.read_text(encoding="utf-8")
    TESTS.write_text(re.sub(r"\bisdigits\b", "is_digits", text), encoding="utf-8")


if __name__ == "__main__":
    {"expand": expand, "contract": contract}[sys.argv[1]]()
