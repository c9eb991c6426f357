"""What private training has spent at this hospital, kept where nothing throws it away.

`privacy-ledger.json` is a book: it stands beside the site file, with a copy in the cache folder.
Each entry is added before the training that it pays for. What both copies lack, the server's
history may give back.
"""

from client.book import Book
from shared.errors import LedgerError
from shared.privacy import Spending

NAME = "privacy-ledger.json"


class Ledger(Book[Spending]):
    """One hospital's bookings; every call reads the files anew."""

    name, noun, word = NAME, "ledger", "spending"
    kind, error = Spending, LedgerError
    unbelievable = (
        "Put a backup in its place. Without one, what was spent is "
        "known to the servers of the studies alone; whoever decides that in your hospital "
        "may remove the file, and the next run of a study brings its part back."
    )
    unwritable = "nothing is trained that is not booked"


render, parse = Ledger.render, Ledger.parse
