"""The command line of secure sums: `trifed site peers`."""

import argparse
from pathlib import Path
from typing import Any


def add_peers(actions: Any) -> None:
    """`trifed site peers`."""
    peers = actions.add_parser(
        "peers",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="this hospital's identity in secure sums, and those of the others",
        description="""With secure sums (secagg.required of the policy) a hospital's own sums are
known to nobody: it adds to them what vanishes in the sum over all hospitals alone. That holds if
the other hospitals' keys are theirs. Each is signed by its hospital's identity, which this one has
kept since it first saw it; another one under that name is refused. Here are the fingerprints, to be
compared by telephone. Nothing is sent.""",
        epilog="example:\n  trifed site peers site.yaml",
    )
    peers.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    peers.set_defaults(run=run_peers)


def run_peers(options: argparse.Namespace) -> int:
    """Show the fingerprints."""
    from client.secagg.shown import peer_lines
    from client.settings import load_site_settings

    load_site_settings(options.site_file)
    for line in peer_lines(options.site_file.resolve().parent):
        print(line)
    return 0
