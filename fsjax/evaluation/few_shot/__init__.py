"""Few-shot tasks: which, of which classes, scored how, and what the intervals of their accuracies mean."""
