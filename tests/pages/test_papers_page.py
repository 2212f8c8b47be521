"""`fsjax report --paper NAME --out FILE.html` in a browser."""

import pytest

from fsjax.report.papers import PAPERS, show


@pytest.mark.parametrize("width", [1280, 390])
def test_a_papers_page(check_page, tmp_path, width):
    show("dc", [], tmp_path / "dc.html")
    page = check_page(tmp_path / "dc.html", width=width)
    # Every table as printed, and the commands as the terminal has them.
    for table in PAPERS["dc"].tables:
        shown = page.locator("table", has=page.get_by_text(f"{table.title}, as printed", exact=True))
        assert shown.locator("tbody tr").count() == len(table.lines)
        assert shown.locator("td.number").all_inner_texts() == [
            text for line in table.lines for text in line[table.labels :]
        ]
    code = page.locator("pre").all_inner_texts()
    assert any("fsjax train dc_mini:gap --workdir=runs/gap_mini" in text for text in code)
