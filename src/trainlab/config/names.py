"""What runs and suites may be called."""

import re

NAME = re.compile(r"[a-z][a-z0-9_]*")
MAX_NAME = 64  # characters: names become file names
