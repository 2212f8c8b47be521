"""What was labelled, in words."""

from typing import Any

_NAMED = 10


def summary(labelled: Any) -> str:
    """A few lines about a `fsjax.labelling.Labelled`."""
    lines = [support_in_words(labelled), *held_out_in_words(labelled)]
    if labelled.threshold is not None:
        lines.append(f"none of these: below {labelled.threshold}")
    counts = ", ".join(f"{printable(name)} {count}" for name, count in labelled.counts.items())
    labels = sum(row.readable for row in labelled.rows)
    lines.append(f"{labels} picture{'s' * (labels != 1)} labelled: {counts}")
    same = sum(bool(row.note) for row in labelled.rows if row.readable)
    if same:
        lines.append(f"{same} of them {'are' if same > 1 else 'is'} among the support pictures too")
    if labelled.passed_over:
        lines.append(f"{files(labelled.passed_over)} passed over: no image by the suffix")
    for what, unreadable in (("to label", labelled.unreadable), ("of the support", labelled.support.unreadable)):
        if unreadable:
            lines.append(f"{len(unreadable)} picture{'s' * (len(unreadable) > 1)} {what} cannot be read:")
            lines += [f"  {printable(one.name)}: {printable(one.reason)}" for one in unreadable[:_NAMED]]
            if len(unreadable) > _NAMED:
                lines.append(f"  and {len(unreadable) - _NAMED} more")
    return "\n".join(lines)


def support_in_words(labelled: Any) -> str:
    """How many labelled pictures there are."""
    support = labelled.support
    counts = ", ".join(
        f"{printable(name)} {count}" for name, count in zip(support.class_names, support.counts, strict=True)
    )
    others = f"; {files(support.passed_over)} passed over: no image by the suffix" if support.passed_over else ""
    total = len(support.labels)
    return f"{total} support pictures of {len(support.class_names)} classes: {counts}{others}"


def held_out_in_words(labelled: Any) -> list[str]:
    """How well the support pictures tell each other apart, and what the probabilities rest on."""
    held_out = labelled.classifier.held_out
    if held_out is None:
        few = "too few support pictures to train implants without one" if labelled.implants else "one picture a class"
        return [f"{few}: nothing can be left out, and the probabilities are by the method's own scale"]
    tested, right = int(held_out.tested.sum()), held_out.right
    how = "left out in turn, with implants trained anew," if labelled.implants else "left out one by one"
    return [
        f"of {tested} support pictures {how} {right} are labelled rightly ({100 * right / tested:.1f} %); the "
        "probabilities, which are among these classes alone, are fitted on that"
    ]


def files(count: int) -> str:
    """A number of files."""
    return f"{count} file{'s' * (count != 1)}"


def printable(text: str) -> str:
    """A text of unknown origin for a terminal or a page: what does not print is escaped, also bytes of no encoding."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
