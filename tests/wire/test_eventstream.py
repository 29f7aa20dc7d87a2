"""The event stream encoding: against botocore's decoder, in parts of any size, and what is none."""

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import IsothermError
from isotherm.wire.eventstream import Event, EventDecoder, encode_event

payloads = st.lists(st.binary(max_size=300), max_size=5)


@given(payloads)
def test_botocore_reads_what_is_written(bodies: list[bytes]) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(encode_event("PayloadChunk", "text/plain", body) for body in bodies))
    read = list(buffer)
    assert [message.payload for message in read] == bodies
    for message in read:
        assert message.headers == {
            ":event-type": "PayloadChunk",
            ":content-type": "text/plain",
            ":message-type": "event",
        }


@given(payloads, st.integers(1, 50))
def test_parts_of_any_size_are_put_together(bodies: list[bytes], size: int) -> None:
    data = b"".join(encode_event("A", "b/c", body) for body in bodies)
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    decoder = EventDecoder()
    assert [event for part in parts for event in decoder.feed(part)] == [Event("A", body) for body in bodies]


def test_what_is_cut_off_is_no_event() -> None:
    assert list(EventDecoder().feed(encode_event("A", "b/c", b"payload")[:-1])) == []


@pytest.mark.parametrize("harm", [lambda m: b"x" + m[1:], lambda m: m[:-9] + b"?" + m[-8:]])
def test_what_is_damaged_is_refused(harm: object) -> None:
    message = harm(encode_event("A", "b/c", b"payload"))  # type: ignore[operator]  # one of the functions above
    with pytest.raises(IsothermError):
        list(EventDecoder().feed(message))
