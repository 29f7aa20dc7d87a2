"""Boot messages cross a descriptor as JSON and come out equal."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.settings import Settings
from isotherm.wire.boot import ControlBoot, HostBoot


@given(st.lists(st.integers(3, 1000), max_size=4), st.text(max_size=20))
def test_boot_messages_round_trip(descriptors: list[int], url: str) -> None:
    host = HostBoot(
        data_dir="/d", supervisor_fd=3, api_fds=descriptors, content_fds=descriptors, link_path="/d/run/link.sock",
        api_path="/d/run/api.sock", url=url, content_url=url, settings=Settings(port=0),
    )  # fmt: skip
    control = ControlBoot(
        data_dir="/d", api_fd=3, link_fd=4, ready_fd=5, url=url, content_url=url, settings=Settings(region="eu")
    )
    assert msgspec.json.decode(msgspec.json.encode(host), type=HostBoot) == host
    assert msgspec.json.decode(msgspec.json.encode(control), type=ControlBoot) == control
