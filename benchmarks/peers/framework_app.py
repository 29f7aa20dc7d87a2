"""The echo function for functions-framework, as its documentation writes one."""

import functions_framework
from flask import jsonify


@functions_framework.http
def echo(request):
    return jsonify(request.get_json())
