"""``zllm delete``: members that are not in the archive any more."""

from __future__ import annotations

from collections.abc import Sequence

import zllm
from zllm.archive.archive import Archive
from zllm.archive.growing import Growing
from zllm.archive.member import Member
from zllm.archive.options import WriteOptions
from zllm.cli import adding, heirs, names, options, output, passphrases, reading
from zllm.errors import EXIT_OK

SUMMARY = "delete members from an archive"


def parser() -> options.Parser:
    """The command's parser."""
    result = options.Parser(
        "delete",
        "Deletes members of ARCHIVE, in its place, by one more generation: extract --generation still has them until\n"
        "zllm compact makes room.",
    )
    result.add_argument(
        "operands", nargs="*", metavar="ARCHIVE MEMBER",
        help="the archive, then what is deleted: names, folders, shell patterns",
    )  # fmt: skip
    options.archive_name(result)
    result.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="keep members that match")
    options.model(result, "the model, if a hard link's data has to be packed again")
    options.threads(result)
    passphrases.reading(result)
    options.device(result)
    options.verbosity(result, "name each member, and sum up at the end")
    return result


def run(argv: Sequence[str], console: output.Console) -> None:
    """Runs the command; raises what the program turns into an exit code."""
    command = parser()
    args = reading.parse(command, argv, console)
    if not args.operands:
        command.error("name the members to delete")
    wanted = reading.Wanted(args.operands, args.exclude)
    reader = options.read_options(args)
    with (
        adding.growing(args.archive, console, reader) as growing,
        adding.read(growing, reader) as archive,
    ):
        wanted.settle(archive)
        members = {member.name: member for member in archive}
        adding.check_whole(archive)
        gone = {name for name in members if wanted(name)}
        wanted.report_unseen(console, "delete")
        if console.status != EXIT_OK or not gone:
            return
        if console.verbose:
            for name in sorted(gone):
                console.print(output.printable(name))
        write(growing, archive, members, gone, options.coding_like(args, growing.layout.manifest))
    console.facts.update(deleted=len(gone), generation=growing.number)
    console.detail(f"{output.printable(args.archive)}: {output.count(len(gone))} deleted, generation {growing.number}")


def write(growing: Growing, archive: Archive, members: dict[str, Member], gone: set[str], how: WriteOptions) -> None:
    """Write the generation that deletes ``gone``, with the data of links that stay."""
    from zllm.tarface import opening

    links = heirs.of(members, gone)
    if not links:
        writer = opening.adding(growing, how)
        writer.deleted.update(map(names.to_bytes, gone))
        try:
            writer.close()
        except BaseException:
            writer.abort()
            raise
        growing.publish()
        return
    with zllm.open(fileobj=growing, mode="a", **vars(how), encoding="utf-8") as new:
        moved = heirs.add(archive, new, links.values())
        new.delete([*gone, *moved])
