"""Labels for people's own pictures by a few labelled ones: a classifier of one task, a table and a page."""

from fsjax.labelling.calibration import Threshold
from fsjax.labelling.classifier import Classified, Classifier, fit_classifier, implants_of
from fsjax.labelling.heads import AUTO, HEADS, PROTOTYPES, check_head
from fsjax.labelling.labels import Labelled, label
from fsjax.labelling.network import Network
from fsjax.labelling.output import writable_folder, write_together
from fsjax.labelling.own_classes import OwnLabels, label_own, own_page
from fsjax.labelling.page import predictions_page
from fsjax.labelling.queries import MEGAPIXELS, Prediction
from fsjax.labelling.rejection import NONE_OF_THESE
from fsjax.labelling.table import as_csv

__all__ = [
    "AUTO",
    "HEADS",
    "MEGAPIXELS",
    "NONE_OF_THESE",
    "PROTOTYPES",
    "Classified",
    "Classifier",
    "Labelled",
    "Network",
    "OwnLabels",
    "Prediction",
    "Threshold",
    "as_csv",
    "check_head",
    "fit_classifier",
    "implants_of",
    "label",
    "label_own",
    "own_page",
    "predictions_page",
    "writable_folder",
    "write_together",
]
