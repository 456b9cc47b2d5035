"""What the installed command calls: also a Ctrl-C while the program is still being read ends it without a traceback."""

import sys
from typing import NoReturn


def magicgen_data() -> NoReturn:
    """``magicgen-data``."""
    try:
        from data_tools.cli import main
    except KeyboardInterrupt:
        sys.exit(130)
    main()
