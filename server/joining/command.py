"""The command line by which hospitals join: `trifed server init`, `invite` and the others."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.address import Address


def add_joining(actions: Any) -> None:
    """The actions of `trifed server` by which hospitals join."""
    add_init(actions)
    add_invite(actions)
    add_accept(actions)
    add_sites(actions)
    add_renew(actions)


def add_init(actions: Any) -> None:
    """`trifed server init`."""
    init = actions.add_parser(
        "init",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="make the folder of a study's server",
        description="""Make the folder of one study's server: the checked study file, server.yaml
with every setting explained, and keys/ for its owner alone: a certificate authority of this study's
own (10 years), by it the server's certificate (2 years), and a key that signs the invitations.

With --cert, --key and --ca the server takes a certificate of yours instead. It is refused unless a
hospital that knows only the CA would accept it for the address.""",
        epilog="""examples:
  trifed server init my.yaml --out server --address fl.example.org:443
  trifed server init my.yaml --out server --address 192.0.2.7:8443 --listen 127.0.0.1:9000
  trifed server init my.yaml --out server --address fl.example.org:443 \\
      --cert server.pem --key server.key --ca hospital-ca.pem""",
    )
    init.add_argument("study", type=Path, metavar="STUDY.yaml", help="the study file")
    init.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    init.add_argument(
        "--address",
        type=address,
        required=True,
        metavar="HOST:PORT",
        help="where hospitals reach the server",
    )
    init.add_argument(
        "--listen",
        type=address,
        metavar="HOST:PORT",
        help="where the server listens (default: 127.0.0.1 and the same port, behind a proxy)",
    )
    own = "your own certificate: {}, in PEM; the three go together"
    init.add_argument(
        "--cert",
        type=Path,
        metavar="FILE",
        help=own.format("the server's, followed by those between it and the CA"),
    )
    init.add_argument("--key", type=Path, metavar="FILE", help=own.format("its private key"))
    init.add_argument("--ca", type=Path, metavar="FILE", help=own.format("the CA's certificate"))
    init.set_defaults(run=run_init)


def add_invite(actions: Any) -> None:
    """`trifed server invite`."""
    invite = actions.add_parser(
        "invite",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="write an invitation for each hospital",
        description="""Write one file for each site of the study, NAME.trifed-invitation in
DIR/invitations: the study, the server's address and CA, and which release it takes, signed. It
holds no secret and may go by e-mail. Tell the fingerprint by telephone: by it a hospital knows
that the file is from you. The same again writes the same files.""",
        epilog="""examples:
  trifed server invite server             all sites of the study
  trifed server invite server site_b      one of them
  trifed server invite server --guest st_marys
                                          a hospital that the study does not name""",
    )
    add_folder(invite)
    invite.add_argument(
        "--guest",
        action="append",
        default=[],
        metavar="SITE",
        help="an external site that the study does not name: it tests the finished models, also "
        "when the study has long ended; may be repeated",
    )
    invite.add_argument("sites", nargs="*", metavar="SITE", help="these sites (default: all)")
    invite.set_defaults(run=run_invite)


def add_accept(actions: Any) -> None:
    """`trifed server accept`."""
    accept = actions.add_parser(
        "accept",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="accept a hospital's key",
        description="""Check the file that 'trifed site join' wrote at a hospital, and keep the
public key in it under the site's name: whoever holds its other half is that site. Compare the
fingerprint by telephone first; the hospital sees the same one.

A second, different key for a site is refused. With --replace it takes the place of the first, which
then no longer opens anything.""",
        epilog="""examples:
  trifed server accept server site_a.trifed-answer site_b.trifed-answer
  trifed server accept server site_a.trifed-answer --replace     site_a made a new key""",
    )
    add_folder(accept)
    accept.add_argument("answers", type=Path, nargs="+", metavar="ANSWER", help="hospitals' files")
    accept.add_argument(
        "--replace", action="store_true", help="in place of a key that was accepted before"
    )
    accept.set_defaults(run=run_accept)


def add_sites(actions: Any) -> None:
    """`trifed server sites`."""
    sites = actions.add_parser(
        "sites",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="who is invited, and who is accepted",
        description="""Print a row for each site of the study and each guest: whether its invitation
is written, and the fingerprint of its accepted key. An invitation is outdated once study, address,
certificate or release changed after it was written: invite that site again.""",
        epilog="example:\n  trifed server sites server",
    )
    add_folder(sites)
    sites.set_defaults(run=run_sites)


def add_renew(actions: Any) -> None:
    """`trifed server renew`."""
    renew = actions.add_parser(
        "renew",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="the server's next certificate",
        description="""Write the server's next certificate, for two years from now, by the CA that
hospitals got with their invitations: they need do nothing. Start the server again to use it.

Where the first certificate was one of your own, give the next with --cert and --key; it must be
from the same CA.""",
        epilog="""examples:
  trifed server renew server
  trifed server renew server --cert server.pem --key server.key""",
    )
    add_folder(renew)
    renew.add_argument("--cert", type=Path, metavar="FILE", help="your own next certificate, PEM")
    renew.add_argument("--key", type=Path, metavar="FILE", help="its private key, PEM")
    renew.set_defaults(run=run_renew)


def add_folder(parser: argparse.ArgumentParser) -> None:
    """The server's folder."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="what 'trifed server init' made")


def address(text: str) -> "Address":
    """HOST:PORT.

    Raises:
        ArgumentTypeError: If the text is something else.
    """
    from shared.address import parse_address

    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' {error}") from None


def run_init(options: argparse.Namespace) -> int:
    """Make the folder, and say what comes next."""
    from server.joining.certificates import OwnFiles
    from server.joining.new_server import make_server
    from shared.errors import ConfigError

    named = [file for file in (options.cert, options.key, options.ca) if file is not None]
    if len(named) not in (0, 3):
        raise ConfigError("--cert, --key and --ca go together: give all three, or none of them.")
    own = OwnFiles(*named) if named else None
    folder = make_server(
        options.study, options.out, options.address, listen=options.listen, own=own
    )
    print(f"{folder.path}: the server of study {folder.study.name}, for {len(folder.roles)} sites")
    print(f"{folder.keys}: private keys; keep a copy where only you can read it")
    if not folder.settings.listens_on.is_this_machine:
        print(
            f"warning: it will listen on {folder.settings.listen}, which other machines may reach. "
            "Only the server's own gate then keeps them from every hospital: better let a proxy "
            "alone reach it."
        )
    print("Next:")
    print(f"  1. read {folder.settings_file}")
    print(f"  2. trifed server invite {folder.path}")
    return 0


def run_invite(options: argparse.Namespace) -> int:
    """Write the invitations, and tell the fingerprint."""
    from server.joining.folder import open_folder
    from server.joining.invite import invite
    from shared.fingerprints import grouped
    from shared.invitation import key_fingerprint, server_key_of

    folder = open_folder(options.folder)
    for file in invite(folder, options.sites, guests=options.guest):
        print(f"{file}: written; it holds no secret")
    told = grouped(key_fingerprint(server_key_of(folder.signing_key())))
    print("Send each to its hospital, and tell this fingerprint by telephone, not by the same way:")
    print(f"  {told}")
    print("What the hospital sends back:")
    print(f"  trifed server accept {folder.path} NAME.trifed-answer")
    return 0


def run_accept(options: argparse.Namespace) -> int:
    """Accept each answer, or stop at the first that cannot be."""
    from server.joining.accept import accept
    from server.joining.folder import open_folder
    from shared.fingerprints import grouped
    from shared.join_answer import node_fingerprint

    folder = open_folder(options.folder)
    for file in options.answers:
        site = accept(folder, file, replace=options.replace)
        print(f"{site.name} ({site.role}): accepted")
        print(f"  key fingerprint {grouped(node_fingerprint(site.public_key))}")
    print("Compare each fingerprint by telephone with the one that the hospital saw.")
    absent = [name for name in folder.everybody if folder.accepted(name) is None]
    print(f"Not accepted yet: {', '.join(absent) or 'none; all sites have joined'}")
    return 0


def run_sites(options: argparse.Namespace) -> int:
    """Print the table."""
    from rich.console import Console

    from server.joining.folder import open_folder
    from server.joining.site_table import site_table

    Console().print(site_table(open_folder(options.folder)))
    return 0


def run_renew(options: argparse.Namespace) -> int:
    """Write the certificate, and say until when it is."""
    from server.joining.folder import open_folder
    from server.joining.renew import renew
    from shared.errors import ConfigError

    if (options.cert is None) != (options.key is None):
        raise ConfigError("--cert and --key go together: give both, or none.")
    folder = open_folder(options.folder)
    end = renew(folder, (options.cert, options.key) if options.cert else None)
    print(f"{folder.certificate_file}: written; it ends on {end:%Y-%m-%d}")
    print(f"To use it: trifed server stop {folder.path}, then start it again")
    return 0
