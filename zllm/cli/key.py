"""``zllm key``: keys for archives that the host which writes them cannot read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zllm.cli import options, output, suggestions
from zllm.errors import UsageError

SUMMARY = "make keys for encrypted archives"
_ACTIONS = ("new", "public")


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "key",
        "new FILE     write a new secret key to FILE, which only its owner can read, and print its public key\n"
        "public FILE  print the public key that belongs to a secret one\n"
        "Archives are made with --recipient and the public key, and read with --identity and the secret one.",
    )
    result.add_argument("action", metavar="new|public")
    result.add_argument("file", metavar="FILE", help="the file of the secret key")
    options.verbosity(result)
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    from zllm.archive import keyfiles

    command = parser()
    args = command.parse_args(argv)
    console.verbose, console.quiet = args.verbose, args.quiet
    if args.action == "new":
        secret = keyfiles.new_secret()
        public = keyfiles.public_of(secret)
        try:
            keyfiles.write_new(Path(args.file), secret, public)
        except FileExistsError:
            raise UsageError(f"{args.file} already exists: a key is never overwritten") from None
        print(public)
        console.note("whoever loses this file cannot read what is encrypted for it: keep a copy in a safe place")
    elif args.action == "public":
        for secret in keyfiles.secret_texts(args.file):
            print(keyfiles.public_of(secret, args.file))
    else:
        command.error(suggestions.unknown_word(args.action, _ACTIONS, "action"))
