"""Data sets decoded once, and kept.

Internal: `fsjax.data` has what is public.
"""
