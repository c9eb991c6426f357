"""Where the SuperLink keeps what messages hold: large content in files, the rest in its database.

Flower writes each piece of a message into its database, while whoever else writes there waits, and
takes it out again soon after. The content of weights costs far less as files beside it, which most
often are gone before the disk has seen them. Names, and who needs what, stay in the database.

A file is not flushed. What an earlier process left, perhaps before a power cut, is compared with
its hash at the start; damaged content counts as never sent, and its question is asked again.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flwr.supercore.inflatable.inflatable_object import get_object_id as _id_of
from flwr.supercore.inflatable.inflatable_utils import validate_object_content
from flwr.supercore.object_store import object_store_factory
from flwr.supercore.object_store.sql_object_store import SqlObjectStore

IN_FILE = b"in a file"
"""What stands in the database in the place of content that is in a file; and what the study's
process, on this machine, sends in the place of content that it has laid there."""
LARGE_BYTES = 65_536
FOLDER = "objects"
HASH = re.compile(r"[0-9a-f]{64}")
"""What an object's id is; what a site calls an object may be anything."""


class FiledObjects(SqlObjectStore):
    """Flower's store of objects, but for large content; see `SqlObjectStore` there.

    Args:
        database_path: Of the database; the files lie in a folder beside it.
    """

    def __init__(self, database_path: str) -> None:
        super().__init__(database_path, verify=False)
        self._folder = files_of(Path(database_path))
        self._deleting = threading.local()
        self._aside = threading.local()

    def initialize(self, log_queries: bool = False, **engine_kwargs: Any) -> list[str]:
        """Open the database, and remove files that it does not speak of, or that are damaged."""
        tables = super().initialize(log_queries, **engine_kwargs)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            if path.name not in self or _id_of(path.read_bytes()) != path.name:
                path.unlink(missing_ok=True)
        return tables

    def put(self, object_id: str, object_content: bytes) -> None:
        """Take an object's content.

        Raises:
            ValueError: If it is not what the object's id says.
        """
        if object_content == IN_FILE:
            self._take_laid(object_id)
            return
        if len(object_content) < LARGE_BYTES:
            _check(object_id, object_content)
            super().put(object_id, object_content)
            return
        with self.laid_aside(object_id, object_content) as beside:
            beside.replace(self._folder / object_id)
        super().put(object_id, IN_FILE)

    def _take_laid(self, object_id: str) -> None:
        """Take content that lies in the folder already.

        Whoever says that it does can but tell the truth: it was laid there under its own hash.
        """
        try:
            if HASH.fullmatch(object_id) is None:
                raise FileNotFoundError(object_id)
            laid(self._folder, object_id).replace(self._folder / object_id)
        except OSError as error:
            raise ValueError("a piece that was said to lie here does not") from error
        super().put(object_id, IN_FILE)

    @contextmanager
    def laid_aside(self, object_id: str, object_content: bytes) -> Iterator[Path]:
        """Large content in a file of its own, for `put` in the same thread; gone afterwards.

        Raises:
            ValueError: If it is not what the object's id says.
        """
        beside = self._folder / f"{object_id}.{threading.get_ident()}"
        if getattr(self._aside, "path", None) == beside:
            yield beside
            return
        _check(object_id, object_content)
        beside.write_bytes(object_content)
        self._aside.path = beside
        try:
            yield beside
        finally:
            self._aside.path = None
            beside.unlink(missing_ok=True)

    def get(self, object_id: str) -> bytes | None:
        """An object's content; none while it is not here, None if nothing is known of it."""
        content = super().get(object_id)
        if content != IN_FILE:
            return content
        try:
            return (self._folder / object_id).read_bytes()
        except FileNotFoundError:
            self._lose(object_id)
            return None

    def delete(self, object_id: str) -> None:
        """Forget an object, and what only it needs."""
        with self._outermost() as deleted:
            super().delete(object_id)
            deleted.add(object_id)

    def delete_objects_in_run(self, run_id: int) -> None:
        """Forget all objects of a run."""
        with self._outermost():
            super().delete_objects_in_run(run_id)

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)

    @contextmanager
    def _outermost(self) -> Iterator[set[str]]:
        """Where ids are noted; their files go when the outermost deletion has come to its end."""
        outer: set[str] | None = getattr(self._deleting, "ids", None)
        if outer is not None:
            yield outer
            return
        ids: set[str] = set()
        self._deleting.ids = ids
        try:
            yield ids
        finally:
            self._deleting.ids = None
        for object_id in ids:
            path = self._folder / object_id
            if path.exists() and object_id not in self:
                path.unlink(missing_ok=True)

    def _lose(self, object_id: str) -> None:
        """Note that an object's content is not here, so that it is sent again."""
        self.query(
            "UPDATE objects SET content = :nothing, is_available = 0 WHERE object_id = :id",
            {"nothing": b"", "id": object_id},
        )


def files_of(database: Path) -> Path:
    """The folder of the files, beside the database."""
    return database.resolve().with_name(FOLDER)


def laid(folder: Path, object_id: str) -> Path:
    """The file in which the study's process hands over a large piece."""
    return folder / f"{object_id}.laid"


def _check(object_id: str, content: bytes) -> None:
    """Refuse content that is not what its id says."""
    if _id_of(content) != object_id:
        raise ValueError(f"Object ID {object_id} does not match content hash")
    validate_object_content(content=content)


def place_objects() -> None:
    """Put this store in the place of Flower's own."""
    object_store_factory.SqlObjectStore = FiledObjects  # type: ignore[attr-defined,assignment]
