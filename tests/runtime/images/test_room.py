from __future__ import annotations

from threading import Thread

from flawmap.runtime.images.room import Room


def in_thread(room: Room, number: int, size: int) -> Thread:
    thread = Thread(target=room.take, args=(number, size), daemon=True)
    thread.start()
    thread.join(0.2)
    return thread


def ends(thread: Thread) -> bool:
    thread.join(30)
    return not thread.is_alive()


def test_threads_wait_until_there_is_room() -> None:
    room = Room(100)
    room.take(0, 60)
    waiting = in_thread(room, 1, 60)
    assert waiting.is_alive()
    room.give_back(0)
    assert ends(waiting)


def test_the_oldest_has_room_however_large_it_is() -> None:
    room = Room(100)
    room.take(1, 90)
    room.take(0, 5000)
    waiting = in_thread(room, 2, 50)
    room.give_back(0)
    assert waiting.is_alive()
    room.give_back(1)
    assert ends(waiting)


def test_who_takes_less_than_before_never_waits() -> None:
    room = Room(100)
    room.take(0, 90)
    room.take(1, 10)
    assert ends(in_thread(room, 1, 5))
    room.take(0, 40)
    assert ends(in_thread(room, 2, 55))


def test_closing_lets_all_end() -> None:
    room = Room(100)
    assert room.take(0, 90)
    waiting = in_thread(room, 1, 90)
    room.close()
    assert ends(waiting)
    assert not room.take(2, 1)
