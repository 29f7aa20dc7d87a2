"""The probe in a module that imports scikit-learn, as a model's handler does."""

import sklearn.linear_model
from probe import handler as probe

model = sklearn.linear_model.LogisticRegression()


def handler(event, context):
    return probe(event, context)
