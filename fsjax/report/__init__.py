"""One self-contained HTML page of one or several runs (`fsjax.report.page`), and papers' tables.

Internal: no part of the public interface.
"""
