"""The command line of a hospital that joins a study: `trifed site join`."""

import argparse
from pathlib import Path
from typing import Any


def add_join(actions: Any) -> None:
    """`trifed site join`."""
    join = actions.add_parser(
        "join",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="join a study by the coordinator's invitation",
        description="""Check an invitation: that nothing in it was changed, that it is for the
site of the site file, and that the server runs the code that is installed here. Say in plain words
what the study is, what it asks, and what the policy beside the site file lets leave. Then write the
folder federation/ beside the site file, with a key of this hospital's own, and NAME.trifed-answer
for the coordinator, which holds the key's public half. The private half never leaves the folder.
Nothing is sent.

The coordinator tells the fingerprint by telephone: with --fingerprint an invitation by anybody else
is refused. The same again keeps the key.""",
        epilog="""examples:
  trifed site join site_a.trifed-invitation --site site.yaml
  trifed site join site_a.trifed-invitation --site site.yaml \\
      --fingerprint "93ab 10f2 77c4 0d1e 5a6b 8c9d e0f1 2a3b\"""",
    )
    join.add_argument("invitation", type=Path, metavar="INVITATION", help="the coordinator's file")
    join.add_argument("--site", type=Path, required=True, metavar="SITE.yaml", help="the site file")
    join.add_argument(
        "--fingerprint",
        type=told_fingerprint,
        metavar="HEX",
        help="the server key's, 32 digits, as the coordinator told it by telephone",
    )
    join.set_defaults(run=run_join)


def told_fingerprint(text: str) -> str:
    """A fingerprint, however its digits are grouped.

    Raises:
        ArgumentTypeError: If the text is something else.
    """
    from shared.fingerprints import parse_fingerprint

    try:
        return parse_fingerprint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_join(options: argparse.Namespace) -> int:
    """Join, and say to what, and what comes next."""
    from client.joining.join import join
    from client.joining.plain_words import asked_lines, leaves_lines, study_lines
    from shared.fingerprints import grouped

    found = join(options.invitation, options.site, told=options.fingerprint)
    study, settings, invitation = found.study, found.settings, found.invitation
    for line in (
        *study_lines(study, invitation.study_hash),
        *asked_lines(study, settings),
        *leaves_lines(study, settings, found.policy),
    ):
        print(line)
    print(f"{found.folder.path}: {'as before' if found.again else 'written'}; stays here")
    print(f"{found.answer_file}: written, for the coordinator; it holds no secret")
    print("Next:")
    if options.fingerprint:
        print("  1. the invitation is from the key that you were told")
    else:
        print("  1. ask the coordinator by telephone; the server's key must read")
        print(f"       {grouped(invitation.fingerprint)}")
    print(f"  2. send {found.answer_file.name}, and tell your key's fingerprint by telephone")
    print(f"       {grouped(found.key_fingerprint)}")
    print(f"  3. trifed site check {options.site} --study {found.folder.study_file} --network")
    if settings.synthetic:
        print("  4. these patients are made up, so nobody need approve the study")
    else:
        print("  4. whoever may decide it approves the study; without that nothing is answered:")
        print(f"       trifed site approve {options.site} {found.folder.study_file}")
    return 0
