from aiodis.consumer.cursor import PartitionCursor


def test_there_is_no_cursor_before_one_was_taken():
    assert PartitionCursor(5).token(0.0, max_age=270) is None


def test_a_cursor_is_used_while_it_is_young():
    cursor = PartitionCursor(5)
    cursor.take("ticket", 100.0)
    assert cursor.token(100.0, max_age=270) == "ticket"
    assert cursor.token(369.9, max_age=270) == "ticket"
    assert cursor.token(370.0, max_age=270) is None
    assert cursor.position == 5


def test_an_empty_cursor_is_none():
    cursor = PartitionCursor(5)
    cursor.take("", 100.0)
    assert cursor.token(100.0, max_age=270) is None


def test_the_cursor_that_came_with_records_points_behind_them():
    cursor = PartitionCursor(5)
    cursor.take("old", 100.0)
    cursor.advance(8, "new", 300.0)
    assert cursor.position == 8
    assert cursor.token(500.0, max_age=270) == "new"


def test_records_that_came_without_a_cursor_leave_the_old_one_unused():
    cursor = PartitionCursor(5)
    cursor.take("old", 100.0)
    cursor.advance(8, "", 101.0)
    assert cursor.position == 8
    assert cursor.token(101.0, max_age=270) is None


def test_a_refused_cursor_is_forgotten_and_the_place_kept():
    cursor = PartitionCursor(5)
    cursor.take("ticket", 100.0)
    generation = cursor.generation
    cursor.drop()
    assert cursor.token(100.0, max_age=270) is None
    assert (cursor.position, cursor.generation) == (5, generation)


def test_a_seek_forgets_the_cursor_and_begins_a_new_generation():
    cursor = PartitionCursor(5)
    cursor.take("ticket", 100.0)
    generation = cursor.generation
    cursor.seek(2)
    assert cursor.token(100.0, max_age=270) is None
    assert (cursor.position, cursor.generation) == (2, generation + 1)
    cursor.seek(2)  # to the same place: what was asked for before is old all the same
    assert cursor.generation == generation + 2


def test_going_on_is_no_new_generation():
    cursor = PartitionCursor(5)
    generation = cursor.generation
    cursor.take("a", 0.0)
    cursor.advance(6, "b", 1.0)
    cursor.drop()
    assert cursor.generation == generation
