"""One self-contained HTML page of one or several runs (`fsjax.report.page`), and papers' tables."""
