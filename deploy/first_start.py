"""What a new installation lacks: buckets and an account. Run again, it changes nothing.

python deploy/first_start.py buckets artifacts checkpoints
python deploy/first_start.py account nightly
"""

import os
import sys


def make_buckets(*names: str) -> None:
    """Make the buckets that are not there yet."""
    import boto3

    store = boto3.client("s3")
    there = {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
    for name in sorted({*names} - there):
        store.create_bucket(Bucket=name)


def make_account(name: str) -> None:
    """Make an account that may work in MLflow's first experiment; its password is ACCOUNT_PASSWORD.

    Of one that is there the password is set anew.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.server import get_app_client

    accounts = get_app_client("basic-auth", os.environ["MLFLOW_TRACKING_URI"])
    password = os.environ["ACCOUNT_PASSWORD"]
    try:
        accounts.create_user(name, password)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        accounts.update_user_password(name, password)
    accounts.grant_user_permission(name, "experiment", "0", "EDIT")


if __name__ == "__main__":
    {"buckets": make_buckets, "account": make_account}[sys.argv[1]](*sys.argv[2:])
