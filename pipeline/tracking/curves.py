"""The curves of many runs in a few queries; MLflow's own client takes one per run and metric."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pandas as pd

from pipeline.tracking import client
from pipeline.tracking.metrics import EARLIER
from pipeline.tracking.outages import patiently

ENDPOINT = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"  # of the MLflow UI
MOST_RUNS, MOST_POINTS = 100, 25_000  # that it is asked for, and that it answers with

Point = tuple[str, int, str, float]  # run, epoch, metric, value


def curves(run_ids: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """A row per run and epoch with the metrics' values, the last ones where logged twice."""
    from mlflow.store.db.db_types import DATABASE_ENGINES

    has_database = client.tracking_uri().startswith(tuple(DATABASE_ENGINES))
    earlier = {EARLIER[name]: name for name in metrics if name in EARLIER}
    read = _from_database if has_database else _from_server
    points = read(run_ids, [*metrics, *earlier])
    long = pd.DataFrame(points, columns=["run_id", "epoch", "metric", "value"])
    long["metric"] = long["metric"].replace(earlier)
    last = long.drop_duplicates(["run_id", "epoch", "metric"], keep="last")
    return last.pivot(index=["run_id", "epoch"], columns="metric", values="value").reset_index()


def _from_database(run_ids: Sequence[str], metrics: Sequence[str]) -> list[Point]:
    import sqlalchemy
    from mlflow.store.db.utils import create_sqlalchemy_engine
    from mlflow.store.tracking.dbmodels.models import SqlMetric

    columns = (SqlMetric.run_uuid, SqlMetric.step, SqlMetric.key, SqlMetric.value)
    query: sqlalchemy.Select = (
        sqlalchemy.select(*columns)
        .where(SqlMetric.key.in_(metrics), ~SqlMetric.is_nan)
        .order_by(SqlMetric.timestamp)
    )
    engine = create_sqlalchemy_engine(client.tracking_uri())
    points: list[Point] = []
    with engine.connect() as connection:
        for some in _parts(run_ids, 500):
            found = connection.execute(query.where(SqlMetric.run_uuid.in_(some)))
            points += [(run, epoch, metric, value) for run, epoch, metric, value in found]
    engine.dispose()
    return points


def _from_server(run_ids: Sequence[str], metrics: Sequence[str]) -> list[Point]:
    with ThreadPoolExecutor(max_workers=8) as pool:
        parts = product(_parts(run_ids, MOST_RUNS), metrics)
        answers = pool.map(lambda part: patiently(_answer, *part), parts)
        return [point for answer in answers for point in answer]


def _answer(run_ids: Sequence[str], metric: str) -> list[Point]:
    """A metric's curves in some runs, by time; halved where they may be longer than an answer."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    asked = {"run_id": run_ids, "metric_key": metric, "max_results": MOST_POINTS}
    server = get_default_host_creds(client.tracking_uri())
    response = http_request(server, ENDPOINT, "GET", params=asked)
    found = verify_rest_response(response, ENDPOINT).json()["metrics"]
    if len(found) < MOST_POINTS:
        return [(one["run_id"], one["step"], metric, one["value"]) for one in found]
    if len(run_ids) > 1:
        half = len(run_ids) // 2
        return [*_answer(run_ids[:half], metric), *_answer(run_ids[half:], metric)]
    whole = client.metric_histories(run_ids[0], [metric])[metric]
    return [(run_ids[0], epoch, metric, value) for epoch, value in whole.items()]


def _parts(run_ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (run_ids[start : start + size] for start in range(0, len(run_ids), size))
