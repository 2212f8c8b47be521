"""Batches and episodes: what a step draws, how images are varied, and tf.data that makes them.

Internal: `fsjax.data` has what is public.
"""
