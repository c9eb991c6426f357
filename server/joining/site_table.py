"""`trifed server sites`: whom the study expects, who was invited, and whose key is accepted."""

from rich.table import Table

from server.joining.folder import ServerFolder
from server.joining.invite import invitation_of
from shared.fingerprints import grouped
from shared.join_answer import node_fingerprint


def site_table(folder: ServerFolder) -> Table:
    """A row for each site of the study."""
    keys = {name: folder.accepted(name) for name in folder.everybody}
    n = sum(key is not None for key in keys.values())
    table = Table(title=f"{folder.study.name}: {n} of {len(keys)} sites accepted")
    for column in ("site", "role", "invited", "accepted key"):
        table.add_column(column)
    for name, role in folder.everybody.items():
        key = keys[name]
        shown = "no" if key is None else grouped(node_fingerprint(key.public_key))
        table.add_row(name, role if name in folder.roles else "guest", invited(folder, name), shown)
    return table


def invited(folder: ServerFolder, site: str) -> str:
    """Whether a site's invitation is written, and still says what is so."""
    file = folder.invitation_file(site)
    if not file.exists():
        return "no"
    return "yes" if file.read_bytes() == invitation_of(folder, site) else "outdated"
