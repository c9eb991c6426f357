"""Large content lies in files beside the database, and nothing is handed out that is not whole."""

import hashlib

import pytest
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import object_store_factory

from server.deploy.objects import FOLDER, IN_FILE, FiledObjects, laid, place_objects

RUN = 7


@pytest.fixture
def store(tmp_path):
    return opened(tmp_path)


def opened(folder):
    """The store of a SuperLink that has just started."""
    store = FiledObjects(str(folder / "state.db"))
    store.initialize()
    return store


def content(n=200_000, *, of=1):
    """A message's objects by their ids, and their tree."""
    array = Array("uint8", (n,), "numpy.ndarray", bytes([of]) * n)
    whole = RecordDict({"arrays": ArrayRecord({"a": array})})
    objects = {name: part.deflate() for name, part in get_all_nested_objects(whole).items()}
    return get_object_tree(whole), objects


def kept(store, tree, objects):
    """Take all of a message, and tell which of its objects are large."""
    assert set(store.preregister(RUN, tree)) == set(objects)
    for name, part in objects.items():
        store.put(name, part)
    return [name for name, part in objects.items() if len(part) > 65_536]


def files(store):
    return sorted(path.name for path in store._folder.iterdir())


def test_what_comes_is_handed_out_again_from_the_database_or_from_a_file(store):
    tree, objects = content()
    large = kept(store, tree, objects)
    assert {name: store.get(name) for name in objects} == objects
    assert files(store) == large
    assert super(FiledObjects, store).get(large[0]) == IN_FILE


def test_content_that_is_not_what_its_name_says_is_refused(store):
    tree, objects = content()
    store.preregister(RUN, tree)
    for name in objects:
        with pytest.raises(ValueError, match="does not match"):
            store.put(name, objects[name] + b"x")
        assert store.get(name) == b""
    assert files(store) == []


def test_a_file_goes_with_the_last_message_that_needs_it(store):
    tree, objects = content()
    kept(store, tree, objects)
    store.delete(tree.object_id)
    assert files(store) == []
    assert len(store) == 0
    large = kept(store, tree, objects)
    assert all(store.get(name) == objects[name] for name in large)


def test_what_another_message_needs_stays(store):
    array = Array("uint8", (200_000,), "numpy.ndarray", bytes(200_000))
    trees = []
    for name in ("a", "b"):
        whole = RecordDict({name: ArrayRecord({"x": array})})
        objects = {n: part.deflate() for n, part in get_all_nested_objects(whole).items()}
        trees.append(get_object_tree(whole))
        for missing in store.preregister(RUN, trees[-1]):
            store.put(missing, objects[missing])
    store.delete(trees[0].object_id)
    assert len(files(store)) == 1
    store.delete(trees[1].object_id)
    assert files(store) == []


def test_the_files_of_a_run_go_with_it(store):
    kept(store, *content(of=1))
    kept(store, *content(of=2))
    assert len(files(store)) == 2
    store.delete_objects_in_run(RUN)
    assert files(store) == []


def test_a_superlink_that_was_killed_hands_out_what_it_had(store, tmp_path):
    tree, objects = content()
    large = kept(store, tree, objects)
    (tmp_path / FOLDER / f"{large[0]}.123").write_bytes(b"half writ")
    again = opened(tmp_path)
    assert files(again) == large
    assert {name: again.get(name) for name in objects} == objects


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(bytes(200_100))])
def test_what_a_power_cut_damaged_is_never_handed_out_and_is_sent_again(tmp_path, damage, store):
    tree, objects = content()
    (large,) = kept(store, tree, objects)
    damage(tmp_path / FOLDER / large)
    again = opened(tmp_path)
    assert again.get(large) is None
    assert again.preregister(RUN, tree) == [large]
    again.put(large, objects[large])
    assert again.get(large) == objects[large]


def test_an_object_is_known_by_the_hash_of_its_content(store):
    tree, objects = content()
    kept(store, tree, objects)
    (file,) = store._folder.iterdir()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name


def test_flower_makes_its_store_by_this_name(monkeypatch, tmp_path):
    monkeypatch.setattr(object_store_factory, "SqlObjectStore", object_store_factory.SqlObjectStore)
    place_objects()
    factory = object_store_factory.ObjectStoreFactory(str(tmp_path / "state.db"))
    assert isinstance(factory.store(), FiledObjects), "flwr moved this"


def test_what_the_study_has_laid_in_the_folder_is_taken_from_there(store):
    tree, objects = content()
    store.preregister(RUN, tree)
    (large,) = (name for name, part in objects.items() if len(part) > 65_536)
    laid(store._folder, large).write_bytes(objects[large])
    store.put(large, IN_FILE)
    assert (files(store), store.get(large)) == ([large], objects[large])


@pytest.mark.parametrize("name", ["ab" * 32, "../kept", "", "ab" * 31])
def test_whoever_says_that_something_lies_there_moves_no_other_file(store, name):
    beside = store._folder.parent / "kept.laid"
    beside.write_bytes(b"kept")
    with pytest.raises(ValueError, match="does not"):
        store.put(name, IN_FILE)
    assert (beside.read_bytes(), files(store)) == (b"kept", [])


def test_what_was_laid_and_never_told_of_is_gone_at_the_next_start(store, tmp_path):
    laid(store._folder, "ab" * 32).write_bytes(b"x")
    assert files(opened(tmp_path)) == []
