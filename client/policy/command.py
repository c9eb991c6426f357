"""The command line of the policy: `trifed site policy write` and `show`."""

import argparse
from datetime import date
from pathlib import Path
from typing import Any


def add_policy(actions: Any) -> None:
    """`trifed site policy`."""
    policy = actions.add_parser(
        "policy",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="what may leave this hospital: write the policy, or show it",
        description="""policy.yaml beside the site file says what may leave this hospital, and how
its patients may be learnt from. It belongs to whoever decides that in the hospital. Without it
nothing runs, and a study that asks for more is refused before anything is computed.

  write    a commented policy with the values of a pack, to be read and changed
  show     the policy as a table, with the pack's values, and each exception from the pack""",
        epilog="""examples:
  trifed site policy write site.yaml
  trifed site policy write site.yaml --pack strict --valid-until 2027-06-30
  trifed site policy show site.yaml""",
    )
    ways = policy.add_subparsers(title="commands", required=True, metavar="COMMAND")
    write = ways.add_parser("write", help="write a policy, to be read and changed")
    write.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    write.add_argument(
        "--pack",
        choices=("strict", "standard", "simulation"),
        default="standard",
        help="whose values it has (default: standard); simulation is for made-up patients",
    )
    write.add_argument(
        "--valid-until",
        type=day,
        metavar="YYYY-MM-DD",
        help="the last day on which it is in force (default: a year from today)",
    )
    write.add_argument("--officer", default="", metavar="NAME", help="who answers for it")
    write.add_argument("--force", action="store_true", help="replace a policy that is there")
    write.set_defaults(run=run_policy_write)
    show = ways.add_parser("show", help="the policy as a table, and its exceptions")
    show.add_argument("site_file", type=Path, metavar="SITE.yaml", help="the site file")
    show.set_defaults(run=run_policy_show)


def day(text: str) -> date:
    """A day that is not past.

    Raises:
        ArgumentTypeError: If the text is something else.
    """
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no day; write YYYY-MM-DD") from None
    if found < date.today():
        raise argparse.ArgumentTypeError(f"{found} is past; the policy would allow nothing")
    return found


def run_policy_write(options: argparse.Namespace) -> int:
    """Write a policy beside the site file.

    Raises:
        ConfigError: If a policy stands there, or the site file does not, or is of real patients
            where the pack is for made-up ones.
    """
    from client.policy.load import policy_beside
    from client.policy.text import policy_text
    from client.policy.write import a_year_from, check_free, write_policy

    path = policy_beside(options.site_file)
    check_free(options.site_file, options.pack, force=options.force)
    until = options.valid_until or a_year_from(date.today())
    write_policy(path, policy_text(options.pack, valid_until=until, officer=options.officer))
    print(f"{path}: written with the pack {options.pack}")
    print("It belongs to whoever decides what leaves your hospital: let them read each line. Then:")
    print(f"  trifed site policy show {options.site_file}")
    return 0


def run_policy_show(options: argparse.Namespace) -> int:
    """Print the policy, its exceptions, and whether it is in force.

    Raises:
        PolicyError: If there is none that can be read.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from client.policy.keys import exceptions
    from client.policy.load import load_policy, policy_beside, policy_hash, read_policy
    from client.policy.text import table_rows
    from client.settings import load_site_settings
    from shared.errors import PolicyError

    policy = read_policy(options.site_file)
    table = Table(title=Text(str(policy_beside(options.site_file))))
    for column in ("key", "value", f"pack {policy.pack}"):
        table.add_column(column, overflow="fold")
    for row in table_rows(policy):
        table.add_row(*map(Text, row))
    Console().print(table)
    print(f"SHA-256, as the release ledger names it: {policy_hash(options.site_file)}")
    found = exceptions(policy)
    print("Exceptions, which are looser than the pack:" if found else "No exception from the pack.")
    for text in found:
        print(f"  {text}")
    try:
        load_policy(options.site_file, load_site_settings(options.site_file))
    except PolicyError as error:
        print(f"NOT IN FORCE: {error}")
        return 1
    return 0
