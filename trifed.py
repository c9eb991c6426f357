"""The command line's front door: it reads the arguments and opens the room that does the work."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGES = ("shared", "client", "server", "simulation")

EXAMPLES = """examples:
  trifed simulate configs/demo.yaml --out runs/demo        the whole study on made-up patients
  trifed simulate my.yaml --sites a.yaml b.yaml --out r1   the same on your own folders
  trifed simulate configs/demo.yaml --out runs/demo --resume   go on after a crash
  trifed study track runs/demo --to tensorboard --follow   its rounds in TensorBoard
  trifed verify runs/demo                                  federated against pooled numbers
  trifed baselines runs/demo                               against each site alone, all pooled
  trifed stats delong t.csv --outcome her2 --scores a b    statistics of any table
  trifed bundle export runs/demo --out her2.bundle         the frozen models as one file
  trifed bundle onnx her2.bundle --out networks/           its networks, for other programs
  trifed evaluate her2.bundle --site site.yaml             on a hospital's own patients
  trifed predict her2.bundle --site site.yaml --patient P001 --out p001   one new patient
  trifed site init ct/ --study my.yaml --out site          draft a manifest from a folder
  trifed site check site.yaml --study my.yaml              is this hospital ready?
  trifed site extract site.yaml --study my.yaml --out f.csv    radiomics to a table
  trifed site privacy site.yaml                            what private training has spent
  trifed server init my.yaml --out server --address fl.example.org:443   a study's server
  trifed server invite server                              one file for each hospital
  trifed site join site_a.trifed-invitation --site site.yaml   a hospital joins by it
  trifed server start server                               run the study between hospitals
  trifed site start site.yaml                              and a hospital's part of it
  trifed site serve site.yaml                              only what answers there

Made for research; not a medical device."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if all is well, 1 for an error that is told in words, 2 for bad usage."""
    refuse_strangers()
    options = build_parser().parse_args(arguments)
    set_up_logging(verbose=options.verbose)
    from shared.errors import TrifedError

    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except TrifedError as error:
        print(f"trifed: {error.code}\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("trifed: stopped. What was done is saved; go on with --resume.", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Every command with its options; each command's help teaches by example."""
    from client import cli as client
    from server import cli as server
    from simulation import cli as simulation

    parser = argparse.ArgumentParser(
        prog="trifed",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"trifed {version()}")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell more in the log")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    simulation.add_commands(commands)
    server.add_commands(commands)
    client.add_commands(commands)
    return parser


DESCRIPTION = """Train and test one predictive model from tri-phasic contrast CT without any image
leaving a hospital."""


def set_up_logging(*, verbose: bool) -> None:
    """Plain lines with times on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("trifed").setLevel(logging.DEBUG if verbose else logging.INFO)


def refuse_strangers() -> None:
    """Make sure that our packages are ours: their names are common, others may be in the way."""
    from importlib.util import find_spec

    for name in PACKAGES:
        spec = find_spec(name)
        found = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if found != ROOT / name:
            raise SystemExit(
                f"trifed: another package named '{name}' is in the way: {found or 'none found'}.\n"
                "Run from another folder, or take it off PYTHONPATH."
            )


def version() -> str:
    """The installed release."""
    from importlib import metadata

    try:
        return metadata.version("trifed")
    except metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
