"""``python -m zllm`` is the program ``zllm``."""

import sys

from zllm.cli.main import run_zllm

sys.exit(run_zllm())
