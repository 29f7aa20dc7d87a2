"""The progress book: history for late readers, nothing lost between history and stream, bounded."""

from isotherm.bus.progress import Finished, ProgressBook, ProgressStep


def step(name: str) -> ProgressStep:
    return ProgressStep(step=name, state="done")


async def test_a_late_reader_gets_the_history_and_then_what_comes() -> None:
    book = ProgressBook()
    book.record("rev_1", step("unpack"))
    history, rest = book.follow("rev_1")
    book.record("rev_1", Finished(state="ready", url="http://x"))
    with rest:
        assert history == [step("unpack")]
        assert await rest.get(1) == Finished(state="ready", url="http://x")


async def test_the_oldest_revision_and_the_oldest_steps_give_way() -> None:
    book = ProgressBook(max_revisions=2, max_steps=2)
    for revision in ("rev_1", "rev_2", "rev_3"):
        for name in ("a", "b", "c"):
            book.record(revision, step(name))
    assert book.follow("rev_1")[0] == []
    assert book.follow("rev_3")[0] == [step("b"), step("c")]
