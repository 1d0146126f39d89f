"""Numbers to figures: plain arrays, images and dicts in, files out.

This room trains and predicts nothing. Every function writes one file and returns its path; none opens a
window or touches matplotlib's global state, so that they may be called from any thread and beside any other
use of it.
"""

from neocog.visualize.calibration import reliability_diagram
from neocog.visualize.confusion import confusion_matrix
from neocog.visualize.curves import range_test, training_curves
from neocog.visualize.ilsvrc import ilsvrc_results
from neocog.visualize.images import predictions, worst_mistakes
from neocog.visualize.report import ReportFacts, accuracy_verdict, write_report

__all__ = [
    "ReportFacts",
    "accuracy_verdict",
    "confusion_matrix",
    "ilsvrc_results",
    "predictions",
    "range_test",
    "reliability_diagram",
    "training_curves",
    "worst_mistakes",
    "write_report",
]
