"""The command line of the notary's file: `trifed server heads`."""

import argparse
from pathlib import Path
from typing import Any


def add_heads(actions: Any) -> None:
    """`trifed server heads`."""
    heads = actions.add_parser(
        "heads",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="the heads of the hospitals' release ledgers, which the server countersigned",
        description="""Beside each answer a hospital tells the number and hash of the last row of
its release ledger. The server signs them and keeps them in DIR/run/ledger-heads.txt. This checks
each signature and that no ledger goes back, and shows the last head of each site. A hospital that
lost its own copy gets its lines by --lines. Exit code 1 if a head was refused.""",
        epilog="""examples:
  trifed server heads server/
  trifed server heads server/ --lines --site site_a""",
    )
    heads.add_argument("folder", type=Path, metavar="DIR", help="the server's folder, or a run's")
    heads.add_argument("--lines", action="store_true", help="each countersigned head, as it is")
    heads.add_argument("--site", metavar="SITE", help="of this site alone")
    heads.set_defaults(run=run_heads)


def run_heads(options: argparse.Namespace) -> int:
    """Check the file, and show it.

    Raises:
        LedgerError: If a line was changed, or a ledger goes back in it.
        StateError: If there is no file.
    """
    from server.heads.notary import NAME, read_heads
    from shared.errors import LedgerError, StateError
    from shared.fingerprints import grouped
    from shared.invitation import key_fingerprint, server_key_of

    made = options.folder / "server.yaml"
    path = options.folder / ("run" if made.exists() else "") / NAME
    if not path.exists():
        raise StateError(f"{path}: there is none; no hospital has told a head yet")
    found = read_heads(path)
    if made.exists():
        from server.joining.folder import open_folder

        mine = server_key_of(open_folder(options.folder).signing_key())
        if any(line.key != mine for line in found.lines):
            raise LedgerError(f"{path}: holds heads that another key than this server's signed.")
    lines = [line for line in found.lines if options.site in (None, line.site)]
    if options.lines:
        print("\n".join(map(str, lines)))
        return 1 if found.alarms else 0
    for site in sorted({line.site for line in lines}):
        own = [line for line in lines if line.site == site]
        last, key = own[-1], grouped(key_fingerprint(own[-1].key))
        print(f"{site}: {len(own)} heads; the last is row {last.head}, at {last.at}")
        print(f"  run {last.run}, signed by the key {key}")
    for alarm in found.alarms:
        print(f"ALARM: {alarm}")
    print(f"{path}: every signature fits, and no ledger goes back in it")
    return 1 if found.alarms else 0
