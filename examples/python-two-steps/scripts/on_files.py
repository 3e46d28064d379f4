#!/usr/bin/env python3
"""Runs a tool of the workspace's `.tools` folder on the subtask's files.

    on_files.py MODULE [OPTION]...   < subtask.json

The tool's exit code is passed on. No file to work on is a success that changes nothing.
"""

import json
import os
import subprocess
import sys


def main() -> int:
    module, *options = sys.argv[1:]
    files = [f for f in json.load(sys.stdin)["files"] if f.endswith(".py") and os.path.isfile(f)]
    if not files:
        return 0
    tools = os.path.abspath(".tools")
    return subprocess.run(
        [sys.executable, "-B", "-m", module, *options, *files],
        env={**os.environ, "PYTHONPATH": tools},
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
