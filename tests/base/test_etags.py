"""If-Match: which headers let a change through."""

import pytest

from isotherm.base.errors import PreconditionFailed
from isotherm.base.etags import check_etag


@pytest.mark.parametrize("header", [None, "*", "tag", '"tag"', 'W/"tag"', '"other", "tag"', ' "tag" '])
def test_a_header_that_names_the_tag_or_none_matches(header: str | None) -> None:
    check_etag(header, "tag")


@pytest.mark.parametrize(("header", "tag"), [('"other"', "tag"), ("", "tag"), ("*", None), ('"tag"', None)])
def test_any_other_is_stale(header: str, tag: str | None) -> None:
    with pytest.raises(PreconditionFailed, match="read it again"):
        check_etag(header, tag)
