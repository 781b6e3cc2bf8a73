"""``zllm bench``: this program, zstd, and what else is installed, on your own data."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from zllm.cli import options, output, progress
from zllm.errors import EXIT_FAILURE, UsageError

SUMMARY = "compare with zstd and other compressors on your data"


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "bench",
        "Packs PATH with zllm, zstd and, where installed, xz, brotli, 7z PPMd, lpaq1, zpaq; unpacks and compares.\n"
        "Speeds are those of this run: compare them with each other only.",
    )
    result.add_argument("path", metavar="PATH", help="a folder or a file; needs about five times its size in $TMPDIR")
    result.add_argument("--json", action="store_true", help="as one JSON object")
    result.add_argument(
        "--rival", action="append", metavar="NAME", help="compare with this one only, by its name in the table"
    )
    result.add_argument(
        "--no-categories",
        dest="categories",
        action="store_false",
        help="do not measure each category of data by itself",
    )
    options.levels(result)
    options.threads(result)
    options.verbosity(result, "name what is being run")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    args = parser().parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    options.check_coding(args)
    if not args.path:
        raise UsageError("the name is empty: name a folder or a file")
    root = Path(args.path)
    mode = os.stat(root).st_mode  # an error says why it cannot be read
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UsageError(f"{args.path} is neither a folder nor a file: it is read more than once")
    from zllm import benchmark

    settings = benchmark.BenchOptions(
        level=args.level, model=args.model, llm=args.llm, threads=options.thread_count(args), rivals=args.rival,
        categories=args.categories, progress=console.detail if progress.wanted(console) or args.verbose else None,
    )  # fmt: skip
    report = benchmark.run(root, settings)
    print(report.to_json() if args.json else report.table())
    if not report.exact:
        console.error("a compressor did not give back what went in: see the table", EXIT_FAILURE)
