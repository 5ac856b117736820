"""``python -m k210.virtual``: see ``k210.virtual.command``."""

import sys

from k210.virtual.command import main

sys.exit(main(sys.argv[1:]))
