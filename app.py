"""``python app.py``: the same as ``magicgen app``."""

import sys

from magicgen.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "app")
    main()
