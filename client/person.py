"""Who sits at this machine, as its system knows them: for what must name a person."""

import getpass
import os


def user_name() -> str:
    """The name of the user that this process runs as; its number where it has none.

    Taken from the system's list of users, not from the environment, which anybody may set.
    """
    try:
        import pwd
    except ImportError:
        return getpass.getuser()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
