"""AWS's control APIs: requests and answers by botocore's service models, verbs by the rooms below."""
