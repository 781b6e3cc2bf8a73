"""``python -m zllm`` is the program ``zllm``."""

import sys

from zllm.cli.main import main

sys.exit(main())
