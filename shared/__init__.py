"""What both sides must agree on: settings, errors, statistics that pool, messages.

Every other package imports this one first. Flower, Ray and MLflow read once, when they are
imported, whether they may call their makers; so that they never do, the answer is given here.
"""

import os

SILENCE = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
os.environ.update(SILENCE)
