"""Links between the pages lead somewhere, in the repository as on the site."""

import pytest
from pages import ROOT, anchors, links, pages

LINKS = sorted(set(links()))


def test_there_are_links_to_test():
    assert len(LINKS) > 50
    assert any(anchor for *_, anchor in LINKS)


@pytest.mark.parametrize(("page", "target", "place", "anchor"), LINKS, ids=lambda value: value or "-")
def test_link(page, target, place, anchor):
    assert (ROOT / place).exists(), f"{page} links to {target}"
    if anchor:
        assert anchor in anchors(pages()[place]), f"{page} links to {target}"


def test_pages_of_bundles_stay_in_their_folder():
    """An installed package has the bundle's folder, and nothing of docs/."""
    for page, target, place, _ in LINKS:
        if page.startswith("bundles/"):
            assert place.startswith(page.removesuffix("/README.md")), f"{page} links to {target}"


def test_anchors_are_those_of_headings_outside_of_code():
    text = "# A, b\n\n```bash\n# c\n```\n\n## `d_e` f-g\n"
    assert anchors(text) == {"a-b", "d_e-f-g"}
