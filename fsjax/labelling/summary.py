"""What was labelled, in words."""

from typing import TYPE_CHECKING, Any

from fsjax.errors import one_line

if TYPE_CHECKING:
    from fsjax.labelling.labels import Labelled
    from fsjax.labelling.queries import Labels

_NAMED = 10


def summary(labelled: "Labelled") -> str:
    """A few lines about a `fsjax.labelling.Labelled`."""
    lines = [*doubt_in_words(labelled), support_in_words(labelled), *copies_in_words(labelled.support)]
    lines += [*head_in_words(labelled), *held_out_in_words(labelled)]
    if labelled.threshold is not None:
        lines.append(f"none of these: below {labelled.threshold}")
    counts = ", ".join(f"{one_line(name)} {count}" for name, count in labelled.counts.items())
    labels = sum(row.readable for row in labelled.rows)
    lines.append(f"{labels} picture{'s' * (labels != 1)} labelled: {counts}")
    same = sum(bool(row.note) for row in labelled.rows if row.readable)
    if same:
        lines.append(f"{same} of them {'are' if same > 1 else 'is'} among the support pictures too")
    lines += left_out_in_words(labelled, ("picture", "of the support cannot be read", labelled.support.unreadable))
    return "\n".join(lines)


def left_out_in_words(labelled: "Labels", *more: tuple[str, str, list[Any]]) -> list[str]:
    """What was not labelled, and why.

    Args:
      labelled: a `fsjax.labelling.queries.Labels`.
      *more: kinds of what could not be read besides: "picture", what of it, and which.
    """
    lines = []
    if labelled.passed_over:
        lines.append(f"{files(labelled.passed_over)} passed over: no image by the suffix, or no file")
    for kind, what, unreadable in (
        ("picture", "to label cannot be read", labelled.unreadable),
        ("folder", "to label cannot be opened", labelled.closed),
        *more,
    ):
        if unreadable:
            lines.append(f"{len(unreadable)} {kind}{'s' * (len(unreadable) > 1)} {what}:")
            lines += [f"  {one_line(one.name)}: {one_line(one.reason)}" for one in unreadable[:_NAMED]]
            if len(unreadable) > _NAMED:
                lines.append(f"  and {len(unreadable) - _NAMED} more")
    return lines


def support_in_words(labelled: "Labelled") -> str:
    """How many labelled pictures there are."""
    support = labelled.support
    counts = ", ".join(
        f"{one_line(name)} {count}" for name, count in zip(support.class_names, support.counts, strict=True)
    )
    others = (
        f"; {files(support.passed_over)} passed over: no image by the suffix, or no file" if support.passed_over else ""
    )
    total = len(support.labels)
    return f"{total} support pictures of {len(support.class_names)} classes: {counts}{others}"


def doubt_in_words(labelled: "Labelled") -> list[str]:
    """What speaks against the labels; it comes first."""
    verdict = labelled.classifier.verdict
    return [f"warning: {verdict.doubt}"] if verdict is not None and verdict.doubt else []


def head_in_words(labelled: "Labelled") -> list[str]:
    """What classifies, and why."""
    classifier = labelled.classifier
    if labelled.implants:
        return []
    name = classifier.head
    if len(classifier.tried) > 1 and classifier.held_out is not None:
        tested = int(classifier.held_out.tested.sum())
        tried = ", ".join(f"{head} {right}" for head, right in classifier.tried.items())
        return [f"head: {name}, the best on {tested} support pictures left out ({tried}; of several the surest)"]
    if not classifier.tried:
        return [f"head: {name}; with one picture of each class heads cannot be compared"]
    return [f"head: {name}"]


def copies_in_words(support: Any) -> list[str]:
    """What support pictures are there twice, in a class or in several."""
    lines, copies = [], len(support.labels) - sum(support.different)
    if copies:
        copy = "is a copy" if copies == 1 else "are copies"
        lines.append(
            f"{copies} of them {copy} of another of the class, the same to the network: copies are left out together, "
            "and count once"
        )
    groups = support.contradictions
    if groups:
        is_in = "picture is" if len(groups) == 1 else "pictures are"
        named = "; ".join(" = ".join(one_line(support.names[i]) for i in group) for group in groups[:_NAMED])
        more = f"; and {len(groups) - _NAMED} more" if len(groups) > _NAMED else ""
        lines.append(f"warning: {len(groups)} {is_in} in several classes, remove what is wrong: {named}{more}")
    return lines


def held_out_in_words(labelled: "Labelled") -> list[str]:
    """How well the support pictures tell each other apart, and what the probabilities rest on."""
    held_out = labelled.classifier.held_out
    if held_out is None:
        few = "too few support pictures to train implants without one" if labelled.implants else "one picture per class"
        few += ", copies not counted" if labelled.support.different != labelled.support.counts else ""
        return [f"{few}: nothing can be left out, and the probabilities are by the head's own scale"]
    tested, right = int(held_out.tested.sum()), held_out.right
    how = "left out in turn, with implants trained anew," if labelled.implants else "left out one by one"
    return [
        f"of {tested} support pictures {how} {right} are labelled rightly ({100 * right / tested:.1f} %); the "
        "probabilities, which are among these classes alone, are fitted on that"
    ]


def files(count: int) -> str:
    """A number of files."""
    return f"{count} file{'s' * (count != 1)}"
