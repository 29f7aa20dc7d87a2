"""A process as one would start it by hand: scikit-learn imported, a handler, waiting for a line on its input."""

import sys

import sklearn.linear_model


def handler(event):
    return {"model": sklearn.linear_model.LogisticRegression.__name__, "event": event}


handler({})
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.readline()
