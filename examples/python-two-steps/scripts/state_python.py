#!/usr/bin/env python3
"""Makes the packaging say what the code now needs: Python 3.8, and no Python 2.

Run in the workspace's root; a second run changes nothing.
"""

import pathlib
import re

setup = pathlib.Path("setup.py")
text = setup.read_text(encoding="utf-8")
text = re.sub(r"^ *'Programming Language :: Python :: (2|2\.7|3\.5|3\.6|3\.7)',\n", "", text, flags=re.MULTILINE)
if "python_requires" not in text:
    text = re.sub(r"^( *)packages=", r"\1python_requires='>=3.8',\n\1packages=", text, count=1, flags=re.MULTILINE)
setup.write_text(text, encoding="utf-8")

config = pathlib.Path("setup.cfg")
text = config.read_text(encoding="utf-8")
config.write_text(text.replace("[bdist_wheel]\nuniversal = 1\n\n", ""), encoding="utf-8")
