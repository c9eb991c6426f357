"""The optional parts of trifed, and how they are installed."""


def how_to_install(extra: str) -> str:
    """The command that installs one, and where it is given."""
    command = f'pip install --no-build-isolation -c constraints.txt -e ".[{extra}]"'
    return f"{command} in the folder of trifed"
