"""Flower's SuperExec at the coordinator: it starts the ServerApp when a run is submitted.

Run as a module by `trifed server start`; the arguments are those of `flower-superexec`.
"""

from flwr.supercore.cli import flower_superexec

from shared.supervision import end_with_parent


def main() -> None:
    """Serve."""
    end_with_parent()
    flower_superexec()


if __name__ == "__main__":
    main()
